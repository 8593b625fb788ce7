"""The engine on one job, as a host runs it: `python -m benchmarks.ours JOB`."""

import importlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks.job import Job, given
from benchmarks.meter import Meter, tell
from tunesmith.engine.events import Finished, StepDone
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.train import train

DTYPES = {"bf16": torch.bfloat16, "fp32": torch.float32}
SEED = 1  # of the order of examples, in which peers get them too


def main() -> None:
    job = given()
    torch.set_num_threads(job.threads)
    _switch(job.options.get("constants", {}))
    model = load(job)
    meter = Meter(job)
    peak: dict[str, Any] = {}
    for event in train(model, spec(job), lambda: False):
        if isinstance(event, StepDone):
            meter.step_ended(job.examples_per_step, event.num_tokens, event.loss)
        elif isinstance(event, Finished):
            event.path.rename(job.adapter)
    if job.device == "cuda":
        peak["device_peak_bytes"] = torch.cuda.max_memory_allocated()
    tell(meter.result(**peak))


def load(job: Job) -> BaseModel:
    model = BaseModel.load(Path(job.model), device=job.device, precision=job.precision)
    model.shortcuts = replace(
        model.shortcuts, **dict.fromkeys(job.options.get("without", []), False)
    )
    return model


def spec(job: Job) -> TrainSpec:
    return TrainSpec(
        run_id="bench",
        training_file=Path(job.rows),
        output_dir=Path(job.output) / "run",
        method=job.method,  # type: ignore[arg-type]
        lora=LoraSpec(rank=job.rank, alpha=2.0 * job.rank),
        num_epochs=1,
        batch_size=job.examples_per_step,
        learning_rate=job.learning_rate,
        warmup_ratio=0.0,
        min_learning_rate_ratio=1.0,
        seed=SEED,
        max_length_tokens=2048,
        **job.options.get("spec", {}),
    )


def _switch(constants: dict[str, Any]) -> None:
    """Set constants of modules, "package.module:NAME", for the rows of the ablation."""
    for name, value in constants.items():
        module, _, attribute = name.partition(":")
        if not hasattr(importlib.import_module(module), attribute):
            raise SystemExit(f"There is no {name} any more.")
        setattr(importlib.import_module(module), attribute, value)


if __name__ == "__main__":
    main()
