"""The loss of a run's adapter on rows that it does not learn from."""

from collections.abc import Generator

from tunesmith.engine.events import Evaluating
from tunesmith.engine.examples import Row
from tunesmith.engine.loss import Figures, Totals
from tunesmith.engine.passes import Answer, Wanted
from tunesmith.engine.run import Run


def evaluate(run: Run, rows: list[Row]) -> Generator[Evaluating | Wanted, Answer, Figures]:
    """A pass for each batch; returns the figures."""
    batches = run.evaluation_batches(rows)
    totals = Totals()
    for done, batch in enumerate(batches):
        if done:
            yield Evaluating(step=run.step, num_batches_done=done, num_batches=len(batches))
        yield from run.objective.prepared(batch)
        answer = yield Wanted(batch=batch, route=run.answering_route)
        totals += run.objective.summed(answer.predicted, batch)[1]
    return totals.means()
