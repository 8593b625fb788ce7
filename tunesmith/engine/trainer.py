"""The runs that train together on one base model, each as if it were alone."""

import traceback
from collections.abc import Callable, Iterator
from functools import partial

import structlog

from tunesmith.engine.errors import BadExample, EngineError, OutOfMemory
from tunesmith.engine.events import (
    Evaluating,
    Finished,
    Started,
    StepDone,
    Stopped,
    TrainEvent,
)
from tunesmith.engine.fair_share import FairShare
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.messages import TOO_MANY_RUNS, RunEvent, RunFailed
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import Answer, Wanted, answered
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import training

log = structlog.get_logger()

Told = RunEvent | RunFailed

MAX_RUNS = 16
MAX_PASS_TOKENS = 2048
_ADVICE = (
    " Weights, gradients and moments of the run are too much as it is: take a lower rank or a "
    "smaller model, train fewer jobs at once, or on a machine with more memory."
)
_LIGHT_EVENTS = (StepDone, Evaluating)  # after which a run soon wants its next pass


class Trainer:
    """Runs join and leave between passes; what goes wrong in one of them ends that one alone.

    A pass carries at most `max_pass_tokens` packed tokens of several runs; a run's own batch may
    have more, and then goes alone. With 0 no pass is shared: a run's weights are then, to the bit,
    those that it would have without company.
    """

    def __init__(
        self,
        model: BaseModel,
        *,
        max_runs: int = MAX_RUNS,
        max_pass_tokens: int = MAX_PASS_TOKENS,
    ) -> None:
        self._model = model
        self._max_runs = max_runs
        self._max_pass_tokens = max_pass_tokens
        self._runs: dict[str, _OpenRun] = {}
        self._shares = FairShare()

    @property
    def is_idle(self) -> bool:
        return not self._runs

    def open(self, spec: TrainSpec) -> RunFailed | None:
        """A new run, unless there is no room for it."""
        if spec.run_id in self._runs:
            message = "A run of this id is open."
            return RunFailed(run_id=spec.run_id, code="run_is_open", message=message)
        if len(self._runs) >= self._max_runs:
            message = f"{self._max_runs} runs are open; no more than that train together."
            return RunFailed(run_id=spec.run_id, code=TOO_MANY_RUNS, message=message)
        self._runs[spec.run_id] = _OpenRun(self._model, spec)
        return None

    def stop(self, run_id: str) -> None:
        """The run ends after its step; that it is over is fine."""
        if run_id in self._runs:
            self._runs[run_id].is_to_stop = True

    def abandon(self, run_id: str) -> None:
        """The run ends at once; that it is over is fine."""
        if run_id in self._runs:
            self._close(self._runs[run_id])

    def turn(self) -> Iterator[Told]:
        """One pass, and before it what runs do without the model, but only two lengthy things: one
        of those that train, and one of those that begin, so that nobody waits long to begin.
        """
        yield from self._go_on(are_opening=False)
        yield from self._go_on(are_opening=True)
        yield from self._pass()

    def _go_on(self, *, are_opening: bool) -> Iterator[Told]:
        """Let the runs go on that want no pass yet, until one has done something lengthy.

        It comes behind its like the next time.
        """
        for run in [run for run in self._runs.values() if run.is_opening is are_opening]:
            while run.is_open and run.wanted is None:
                told = self._told_by(run, run.go_on)
                if told is None:
                    continue
                yield told
                if not (isinstance(told, RunEvent) and isinstance(told.event, _LIGHT_EVENTS)):
                    self._put_last(run)
                    return

    def _pass(self) -> Iterator[Told]:
        """Serve those whose turn it is with one pass through the model."""
        waiting = {run.run_id: run.wanted for run in self._runs.values() if run.wanted is not None}
        if not waiting:
            return
        chosen = self._chosen(waiting)
        self._shares.charge({i: wanted.num_tokens for i, wanted in chosen.items()}, waiting)
        for run_id, answer in zip(chosen, self._answers(list(chosen.values())), strict=True):
            run = self._runs[run_id]
            told = self._told_by(run, partial(run.take, answer))
            if told is not None:
                yield told

    def _chosen(self, waiting: dict[str, Wanted]) -> dict[str, Wanted]:
        """Whose turn it is, and of the others who can join and fits in."""
        first, *others = self._shares.in_order(waiting)
        chosen = {first: waiting[first]}
        room = self._max_pass_tokens - waiting[first].num_tokens
        for run_id in others:
            wanted = waiting[run_id]
            if wanted.num_tokens <= room and wanted.can_join(waiting[first]):
                chosen[run_id] = wanted
                room -= wanted.num_tokens
        return chosen

    def _answers(self, wanted: list[Wanted]) -> Iterator[Answer | Exception]:
        """What fails together is tried one by one: then it fails for its own run alone."""
        if len(wanted) > 1:
            try:
                yield from answered(self._model, wanted)
                return
            except OutOfMemory:
                self._max_pass_tokens = sum(one.num_tokens for one in wanted) // 2
                log.warning("shared passes were too large", max_tokens=self._max_pass_tokens)
            except Exception as error:
                log.warning("shared pass failed", reason=f"{type(error).__name__}: {error}")
        for one in wanted:
            try:
                yield answered(self._model, [one])[0]
            except Exception as error:
                yield error

    def _told_by(self, run: "_OpenRun", proceed: Callable[[], TrainEvent | Wanted]) -> Told | None:
        """What a run says when it proceeds; None where it wants a pass."""
        try:
            with out_of_memory_named(_ADVICE):
                said = proceed()
        except Exception as error:
            self._close(run)
            return _failure(run.run_id, error)
        if isinstance(said, Wanted):
            return None
        if isinstance(said, Finished | Stopped):
            self._close(run)
        return RunEvent(run_id=run.run_id, event=said)

    def _put_last(self, run: "_OpenRun") -> None:
        if self._runs.pop(run.run_id, None) is not None:
            self._runs[run.run_id] = run

    def _close(self, run: "_OpenRun") -> None:
        del self._runs[run.run_id]
        self._shares.forget(run.run_id)
        run.close()


class _OpenRun:
    def __init__(self, model: BaseModel, spec: TrainSpec) -> None:
        self.run_id = spec.run_id
        self.is_to_stop = False
        self.is_open = True
        self.is_opening = True
        self.wanted: Wanted | None = None
        self._training = training(model, spec, lambda: self.is_to_stop)

    def go_on(self) -> TrainEvent | Wanted:
        return self._noted(next(self._training))

    def take(self, answer: Answer | Exception) -> TrainEvent | Wanted:
        """Go on with what was wanted."""
        self.wanted = None
        if isinstance(answer, Exception):
            return self._noted(self._training.throw(answer))
        return self._noted(self._training.send(answer))

    def close(self) -> None:
        self.is_open = False
        self._training.close()

    def _noted(self, said: TrainEvent | Wanted) -> TrainEvent | Wanted:
        if isinstance(said, Wanted):
            self.wanted = said
        if isinstance(said, Started):
            self.is_opening = False
        return said


def _failure(run_id: str, error: Exception) -> RunFailed:
    if isinstance(error, BadExample):
        return RunFailed(
            run_id=run_id,
            code=error.code,
            message=error.message,
            line=error.line,
            file=error.file,
        )
    if not isinstance(error, EngineError):  # a defect of ours or of a library
        # As text: structlog would put the local variables beside it, and users' rows with them.
        trace = "".join(traceback.format_exception(error))
        log.error("run failed", run=run_id, traceback=trace)
        error = EngineError(f"The engine failed ({type(error).__name__}: {error}).")
    return RunFailed(run_id=run_id, code=error.code, message=error.message)
