"""Unsloth on one job: `python -m benchmarks.peers.unsloth JOB`, in Unsloth's own environment.

Options are those of `benchmarks/peers/trl.py`; the environment variable UNSLOTH_CPU_COMPILE turns
compilation on. It is run from its package, and is no part of this project.
"""

from unsloth import FastLanguageModel  # isort: skip  # it wants to be first

import torch
from datasets import Dataset
from trl import DPOConfig, SFTConfig, SFTTrainer

from benchmarks.job import given, read_tokens
from benchmarks.meter import tell
from benchmarks.peers.trl import DpoOfTokens, common_settings, measured

ALL_LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main() -> None:
    job = given()
    torch.set_num_threads(job.threads)
    model, tokenizer = FastLanguageModel.from_pretrained(
        job.model,
        max_seq_length=1024,
        load_in_4bit=False,
        dtype=torch.bfloat16 if job.precision == "bf16" else torch.float32,
        use_gradient_checkpointing=False,
    )
    model = FastLanguageModel.get_peft_model(
        model,
        r=job.rank,
        lora_alpha=2 * job.rank,
        lora_dropout=0,
        bias="none",
        use_gradient_checkpointing=False,
        target_modules=ALL_LINEAR,
        random_state=job.seed,
    )
    settings = {k: v for k, v in common_settings(job).items() if k != "use_cpu"}
    is_dpo = job.method == "dpo"
    trainer = (DpoOfTokens if is_dpo else SFTTrainer)(
        model=model,
        processing_class=tokenizer,
        train_dataset=Dataset.from_list(read_tokens(job)),
        args=(DPOConfig if is_dpo else SFTConfig)(**settings),
    )
    tell(measured(job, trainer))


if __name__ == "__main__":
    main()
