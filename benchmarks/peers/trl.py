"""TRL's trainers on one job: `python -m benchmarks.peers.trl JOB`, in TRL's own environment.

Options: `batch` and `accumulation` (rows in a forward, forwards in a step), `sampling` (as
transformers names it), `packing` (rows of that many tokens).
"""

from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

from benchmarks.job import Job, given, read_tokens
from benchmarks.meter import Meter, tell
from benchmarks.peers.counting import Counter


class DpoOfTokens(DPOTrainer):  # type: ignore[misc]
    """The rows are tokens already."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def main() -> None:
    job = given()
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    is_dpo = job.method == "dpo"
    tokenizer = AutoTokenizer.from_pretrained(job.model)
    dtype = torch.bfloat16 if job.precision == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(job.model, dtype=dtype, attn_implementation="sdpa")
    lora = LoraConfig(
        r=job.rank,
        lora_alpha=2 * job.rank,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    settings = common_settings(job)
    trainer = (DpoOfTokens if is_dpo else SFTTrainer)(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(read_tokens(job)),
        args=(DPOConfig if is_dpo else SFTConfig)(**settings),
        peft_config=lora,
    )
    tell(measured(job, trainer))


def common_settings(job: Job) -> dict[str, Any]:
    options = job.options
    settings: dict[str, Any] = {
        "output_dir": job.output,
        "use_cpu": job.device == "cpu",
        "bf16": job.precision == "bf16",
        "optim": "adamw_torch_fused",
        "learning_rate": job.learning_rate,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 1.0,
        "seed": job.seed,
        "per_device_train_batch_size": options["batch"],
        "gradient_accumulation_steps": options["accumulation"],
        "train_sampling_strategy": options.get("sampling", "sequential"),
        "num_train_epochs": 1,
        "max_length": None,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "save_strategy": "no",
        "report_to": [],
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    if options.get("packing"):
        settings |= {"packing": True, "packing_strategy": "bfd", "max_length": options["packing"]}
    return settings


def measured(job: Job, trainer: Any) -> dict[str, Any]:
    """Train, save the adapter as a user would, and say what it took."""
    meter = Meter(job)
    counter = Counter(meter, trainer, job.options["accumulation"], is_dpo=job.method == "dpo")
    trainer.add_callback(counter)
    trainer.train()
    trainer.save_model(str(job.adapter))
    losses = [float(log["loss"]) for log in trainer.state.log_history if "loss" in log]
    peak = {"device_peak_bytes": torch.cuda.max_memory_allocated()} if job.device == "cuda" else {}
    return meter.result(losses, **peak)


if __name__ == "__main__":
    main()
