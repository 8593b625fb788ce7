"""What the steps of a run change, copied, so that the run can go back to it."""

from dataclasses import dataclass, replace
from statistics import median

from torch import Tensor

SPIKE_WINDOW = 20  # steps
RISE_STEPS = 5
_RISE_FACTOR = 1.5
_LEARNT = 0.5  # nats: what happens below is no trouble


@dataclass(frozen=True, slots=True)
class LossHistory:
    """The last steps' losses, what was usual when the run began, and how long all has been wrong.

    A step is troubled where its loss is far above that of every step before, or where it has a loss
    and no gradient: weights that have got out of hand can make the same of everything. Steps that
    were troubled count among those before once one has come that is not: data may be that uneven.
    """

    recent: tuple[float, ...] = ()
    usual_at_first: float | None = None  # the median of the first `SPIKE_WINDOW` losses
    highest: float | None = None  # of all steps, but the troubled ones since the last that was not
    num_troubled: int = 0  # those
    highest_of_troubled: float = 0.0

    def with_next(self, loss: float, grad_norm: float) -> "LossHistory":
        recent = (*self.recent, loss)[-SPIKE_WINDOW:]
        is_first_window = self.usual_at_first is None and len(recent) == SPIKE_WINDOW
        usual_at_first = median(recent) if is_first_window else self.usual_at_first
        noted = replace(self, recent=recent, usual_at_first=usual_at_first)
        if self._is_trouble(loss, grad_norm):
            return replace(
                noted,
                num_troubled=self.num_troubled + 1,
                highest_of_troubled=max(loss, self.highest_of_troubled),
            )
        highest = max(loss, self.highest or 0.0, self.highest_of_troubled)
        return replace(noted, highest=highest, num_troubled=0, highest_of_troubled=0.0)

    def is_spike(self, loss: float, factor: float) -> bool:
        """Above `factor` times what is usual now, and as far above what was usual at first: where
        a loss has become small, one hard example is many times the median and no harm.
        """
        if self.usual_at_first is None:
            return False
        return loss > factor * max(median(self.recent), self.usual_at_first)

    def rises_to(self, loss: float) -> bool:
        """Whether a loss is far above all that was no trouble."""
        return self.highest is not None and loss > _RISE_FACTOR * self.highest

    def _is_trouble(self, loss: float, grad_norm: float) -> bool:
        return loss > _LEARNT and (grad_norm == 0 or self.rises_to(loss))


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """`tensors` are on the CPU: "weights", the generator's state as "generator", and, once there
    was a step, the optimizer's own.
    """

    step: int
    trained_tokens: int
    losses: LossHistory
    best_validation_loss: float
    evaluations_without_better: int
    tensors: dict[str, Tensor]
