"""Passes through the model: what runs ask for, and one forward and backward for several of them."""

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor

from tunesmith.engine import forward, joining
from tunesmith.engine.lora import Route
from tunesmith.engine.loss import Predicted
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.model import BaseModel
from tunesmith.engine.packing import PackedBatch
from tunesmith.engine.rounding import rounded


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wanted:
    """A batch that a run wants to go through the model, and through an adapter (None: without).

    Where there is a `loss` of what comes out, its gradient is added to the adapter's, or to the
    base's own where that is what is trained. `weights` is a context in which the base has others.
    """

    batch: PackedBatch
    route: Route | None
    loss: Callable[[Predicted], Tensor] | None = None
    weights: Callable[[], AbstractContextManager[None]] = nullcontext

    @property
    def num_tokens(self) -> int:
        return len(self.batch.token_ids)

    def can_join(self, other: "Wanted") -> bool:
        """Whether one pass can serve both."""
        are_separate = self.batch.is_separate or other.batch.is_separate
        return not are_separate and (self.loss is None) == (other.loss is None)


@dataclass(frozen=True, slots=True)
class Answer:
    """`seconds` is the run's share of the pass, by tokens."""

    predicted: Predicted
    seconds: float


Event = TypeVar("Event")
Result = TypeVar("Result")


def answered(model: BaseModel, wanted: Sequence[Wanted]) -> list[Answer]:
    """One forward for all, and one backward of the sum of their losses, where they have any.

    The runs share nothing but the base: no token's result depends on another run's tokens, and
    no adapter's gradient on another run's loss, so a value that is no number stays with its run.
    When anything is raised, such as OutOfMemory, all is as before.
    """
    began_at = time.monotonic()
    batches = [_of_good_size(model, one.batch) for one in wanted]
    routes = joining.joined_routes(batches, [one.route for one in wanted])
    joined = joining.joined(batches)
    losses = [one.loss for one in wanted if one.loss is not None]
    learning = _learning(model, routes) if losses else []
    try:
        with out_of_memory_named(), torch.set_grad_enabled(bool(losses)):
            with ExitStack() as stack:
                stack.enter_context(model.adapters.routed(routes))
                for one in wanted:
                    stack.enter_context(one.weights())
                together = forward.predicted(model, _of_good_size(model, joined))
            parts = joining.split(together, batches)
            if losses:
                summed = sum(loss(part) for loss, part in zip(losses, parts, strict=True))
                summed.backward()  # type: ignore[union-attr]
    except Exception:
        for state in learning:
            state.restore()
        raise
    seconds_a_token = (time.monotonic() - began_at) / sum(one.num_tokens for one in wanted)
    return [
        Answer(Predicted(part.logprobs.detach(), part.is_correct), one.num_tokens * seconds_a_token)
        for one, part in zip(wanted, parts, strict=True)
    ]


def _of_good_size(model: BaseModel, batch: PackedBatch) -> PackedBatch:
    is_rounded = model.shortcuts.round_sizes and model.device.type == "cpu"
    return rounded(batch) if is_rounded else batch


def alone(
    model: BaseModel, asking: Generator[Event | Wanted, Answer, Result]
) -> Generator[Event, None, Result]:
    """Give a run each pass that it wants, and hand on what it tells."""
    try:
        said = next(asking)
        while True:
            if not isinstance(said, Wanted):
                yield said
                said = next(asking)
                continue
            try:
                [answer] = answered(model, [said])
            except Exception as error:
                said = asking.throw(error)
            else:
                said = asking.send(answer)
    except StopIteration as end:
        result: Result = end.value
        return result
    finally:
        asking.close()


def _learning(model: BaseModel, routes: Sequence[Route]) -> list["_Learning"]:
    if model.whole is not None:
        return [_Learning.now(model.whole.flat)]
    return [_Learning.now(model.adapters[r.adapter_id].flat, r.dropout) for r in routes]


@dataclass(frozen=True, slots=True, eq=False)
class _Learning:
    """What a pass changes of weights in training."""

    gradient: Tensor
    gradient_before: Tensor
    dropout: torch.Generator | None
    dropout_before: Tensor | None

    @classmethod
    def now(cls, weights: Tensor, dropout: torch.Generator | None = None) -> "_Learning":
        gradient = weights.grad
        assert gradient is not None
        return cls(gradient, gradient.clone(), dropout, dropout.get_state() if dropout else None)

    def restore(self) -> None:
        self.gradient.copy_(self.gradient_before)
        if self.dropout is not None and self.dropout_before is not None:
            self.dropout.set_state(self.dropout_before)
