"""The loss of a run's adapter on rows that it does not learn from."""

from collections.abc import Generator

import torch

from tunesmith.engine.events import Evaluating
from tunesmith.engine.examples import Row
from tunesmith.engine.loss import Figures, Totals
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.run import Run


def evaluate(run: Run, rows: list[Row]) -> Generator[Evaluating, None, Figures]:
    """Yields between batches, so that others get the device; returns the figures."""
    batches = run.evaluation_batches(rows)
    totals = Totals()
    for done, batch in enumerate(batches):
        if done:
            yield Evaluating(step=run.step, num_batches_done=done, num_batches=len(batches))
        with torch.no_grad(), out_of_memory_named():
            totals += run.objective.summed(run.model, batch, run.answering_route)[1]
    return totals.means()
