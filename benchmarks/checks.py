"""Whether our result is the plain one: `python -m benchmarks.checks JOB`, in fp32.

The gradient of the first step is compared to that of transformers and PEFT on a padded batch, and
the logits of the trained adapter here to those that stock PEFT gives with it.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from benchmarks import ours
from benchmarks.job import Job, given
from benchmarks.meter import tell
from tests.parity import reference
from tunesmith.engine.events import Finished
from tunesmith.engine.examples import Pair
from tunesmith.engine.lora import Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.run import Run, close_run, open_run
from tunesmith.engine.train import train


def main() -> None:
    job = replace(given(), precision="fp32", device="cpu")
    torch.set_num_threads(job.threads)
    model = ours.load(job)
    tell({"gradient_error": gradient_error(model, job), "logits_error": logits_error(model, job)})


def gradient_error(model: BaseModel, job: Job) -> float:
    """Relative, of the whole gradient, at weights away from their start."""
    run = open_run(model, ours.spec(job))
    try:
        reference.move_away(run)
        folder = Path(job.model)
        return reference.compared(run, folder, lambda m: _plain_loss(m, run, folder)).gradient_error
    finally:
        close_run(run)


def logits_error(model: BaseModel, job: Job) -> float:
    """Relative, of the adapter that a whole run leaves behind."""
    *_, finished = train(model, ours.spec(job), lambda: False)
    assert isinstance(finished, Finished)
    token_ids = torch.arange(100, 200)[None]
    stock = reference.with_adapter(Path(job.model), finished.path)
    model.adapters.load("trained", finished.path)
    with torch.no_grad():
        expected = stock(token_ids).logits
        with model.adapters.routed([Route(adapter_id="trained")]):
            logits = model.network(token_ids).logits
    return float((logits - expected).norm() / expected.norm())


def _plain_loss(model: Any, run: Run, folder: Path) -> torch.Tensor:
    rows = run.batch(1)
    pairs = [row for row in rows if isinstance(row, Pair)]
    if pairs:
        return reference.preference_loss(model, reference.base(folder), pairs, run.spec.beta)
    return reference.mean_loss(model, [example for row in rows for example in row.examples])


if __name__ == "__main__":
    main()
