"""What the steps of a run change, copied, so that the run can go back to it."""

from dataclasses import dataclass
from statistics import median

from torch import Tensor

SPIKE_WINDOW = 20  # steps


@dataclass(frozen=True, slots=True)
class LossHistory:
    """The last steps' losses, and what was usual when the run began."""

    recent: tuple[float, ...] = ()
    usual_at_first: float | None = None  # the median of the first `SPIKE_WINDOW` losses

    def with_next(self, loss: float) -> "LossHistory":
        recent = (*self.recent, loss)[-SPIKE_WINDOW:]
        is_first_window = self.usual_at_first is None and len(recent) == SPIKE_WINDOW
        return LossHistory(recent, median(recent) if is_first_window else self.usual_at_first)

    def is_spike(self, loss: float, factor: float) -> bool:
        """Above `factor` times what is usual now, and as far above what was usual at first: where
        a loss has become small, one hard example is many times the median and no harm.
        """
        if self.usual_at_first is None:
            return False
        return loss > factor * max(median(self.recent), self.usual_at_first)


@dataclass(frozen=True, slots=True, eq=False)
class Snapshot:
    """`tensors` are on the CPU: "weights", the generator's state as "generator", and, once there
    was a step, the optimizer's own.
    """

    step: int
    trained_tokens: int
    losses: LossHistory
    tensors: dict[str, Tensor]
