"""The textbook loop on one job: transformers and PEFT, a padded batch, logits everywhere."""

import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from benchmarks.job import given, read_tokens
from benchmarks.meter import Meter, tell
from benchmarks.ours import DTYPES
from tests.parity import reference
from tunesmith.engine.examples import Example


def main() -> None:
    job = given()
    torch.set_num_threads(job.threads)
    torch.manual_seed(job.seed)
    base = AutoModelForCausalLM.from_pretrained(job.model, dtype=DTYPES[job.precision])
    lora = LoraConfig(r=job.rank, lora_alpha=2 * job.rank, target_modules="all-linear")
    model = get_peft_model(base.to(job.device), lora)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=job.learning_rate, weight_decay=0.0, fused=True)
    meter = Meter(job)
    examples = [
        Example(row["input_ids"], [label >= 0 for label in row["labels"]])
        for row in read_tokens(job)
    ]
    for start in range(0, len(examples), job.examples_per_step):
        batch = examples[start : start + job.examples_per_step]
        loss = reference.mean_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        num_tokens = sum(len(example.token_ids) for example in batch)
        meter.step_ended(len(batch), num_tokens, loss.item())
    model.save_pretrained(job.adapter)
    tell(meter.result())


if __name__ == "__main__":
    main()
