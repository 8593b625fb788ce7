"""The loss of a run's adapter on rows that it does not learn from."""

from collections.abc import Generator

from tunesmith.engine.events import Evaluating, Healed
from tunesmith.engine.examples import Row
from tunesmith.engine.healing import fitting
from tunesmith.engine.loss import Figures, Totals
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.passes import Answer, Wanted
from tunesmith.engine.run import Run


def evaluate(run: Run, rows: list[Row]) -> Generator[Evaluating | Healed | Wanted, Answer, Figures]:
    """A pass for each batch; returns the figures."""
    batches = run.evaluation_batches(rows)
    totals = Totals()

    def ask(batch: PackedBatch) -> Generator[Wanted, Answer, Totals]:
        yield from run.objective.prepared(batch)
        answer = yield Wanted(batch=batch, route=run.answering_route)
        return run.objective.summed(answer.predicted, batch)[1]

    for done, batch in enumerate(batches):
        if done:
            yield Evaluating(step=run.step, num_batches_done=done, num_batches=len(batches))
        totals += yield from fitting(run, batch, ask, run.evaluation_batches)
    return totals.means()
