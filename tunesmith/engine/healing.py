"""What a run does about a step that goes wrong, before it gives up."""

from collections.abc import Callable, Generator, Sequence

from tunesmith.engine.errors import Diverged, OutOfMemory
from tunesmith.engine.events import Healed
from tunesmith.engine.examples import Row
from tunesmith.engine.loss import Totals
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.passes import Answer, Wanted
from tunesmith.engine.run import Run
from tunesmith.engine.snapshot import RISE_STEPS, SPIKE_WINDOW, LossHistory


class LossSpiked(Diverged):
    pass


def fitting(
    run: Run,
    batch: PackedBatch,
    serve: Callable[[PackedBatch], Generator[Wanted, Answer, Totals]],
    pack: Callable[[Sequence[Row]], list[PackedBatch]],
) -> Generator[Wanted | Healed, Answer, Totals]:
    """Serve a batch; where it does not fit into memory, its rows in smaller ones.

    The run keeps to the smaller size. Raises OutOfMemory where a row does not fit by itself.
    """
    if len(batch.token_ids) <= run.micro_batch_tokens or len(batch.rows) == 1:
        try:
            return (yield from serve(batch))
        except OutOfMemory as error:
            healed = _with_smaller_batches(run, batch, error)
        yield healed  # outside of `except`: the error holds on to what the pass had in memory
    totals = Totals()
    for part in pack(batch.rows):
        totals += yield from fitting(run, part, serve, pack)
    return totals


def _with_smaller_batches(run: Run, batch: PackedBatch, error: OutOfMemory) -> Healed:
    num_tokens = len(batch.token_ids)
    if len(batch.rows) == 1:
        raise OutOfMemory(
            f"{error.message} An example of {num_tokens} tokens does not fit even by itself: "
            "shorten it, or train on a device with more memory."
        )
    run.micro_batch_tokens = num_tokens // 2
    return Healed(
        step=run.step,
        kind="smaller_batches",
        message=f"{error.message} From step {run.step + 1} on, passes have at most "
        f"{run.micro_batch_tokens} tokens; steps are as large as before.",
    )


def check_loss(run: Run, loss: float, losses: LossHistory) -> None:
    """Before the update; `losses` are the run's with this one, which is finite.

    Raises Diverged where all has been wrong for some steps: for many, or half the run, once
    nothing is left to try. Raises LossSpiked, but once for a step: what comes again is the data's
    own.
    """
    factor, step = run.spec.loss_spike_factor, run.step + 1
    if factor is None:
        return
    has_tries = run.rollbacks < run.spec.max_rollbacks
    if losses.num_troubled >= (RISE_STEPS if has_tries else _most_troubled(run)):
        trouble = (
            "far above that of all steps before"
            if losses.rises_to(loss)
            else "without a gradient: the weights have got out of hand"
        )
        raise Diverged(
            f"The loss has been {trouble} for {losses.num_troubled} steps, and is {loss:.4g} in "
            f"step {step}."
        )
    if has_tries and step not in run.spikes and run.losses.is_spike(loss, factor):
        raise LossSpiked(
            f"The loss of step {step} is {loss:.4g}, more than {factor:g} times what is usual."
        )


def _most_troubled(run: Run) -> int:
    return min(SPIKE_WINDOW, max(RISE_STEPS, run.order.total_steps // 2))


def rolled_back(run: Run, error: Diverged) -> Healed:
    """Back to the last good step, with a lower rate; raises Diverged where that was tried."""
    most = run.spec.max_rollbacks
    if run.rollbacks == most:
        raise Diverged(f"{error.message} Try a lower learning rate.") from error
    if isinstance(error, LossSpiked):
        run.spikes.append(run.step + 1)
    run.rollbacks += 1
    run.go_back(run.last_good)
    factor = run.spec.rollback_learning_rate_factor
    return Healed(
        step=run.step,
        kind="rolled_back",
        message=f"{error.message} The training went back to step {run.step} and goes on with "
        f"{factor:g} times the learning rate ({run.rollbacks} of {most} tries).",
    )
