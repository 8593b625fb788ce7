"""A host process, from its worker's side: commands in, what it tells out."""

import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from tunesmith.domain.errors import TunesmithError, Unavailable
from tunesmith.engine.events import (
    Embedded,
    Finished,
    SampleDone,
    SampleEvent,
    SampleFailed,
    Started,
    TextDelta,
    ToolCalled,
)
from tunesmith.engine.messages import (
    TOO_MANY_RUNS,
    AdapterFailed,
    CancelSample,
    Command,
    Embed,
    HostFailed,
    HostReady,
    LoadAdapter,
    RunEvent,
    RunFailed,
    Sample,
    UnloadAdapter,
    decode,
    encode,
)
from tunesmith.worker.ports import HostProcess

log = structlog.get_logger()

MAX_ADAPTERS = 64  # resident at once on one host; the longest unused one makes room
_START_SECONDS = 900.0  # until a base model must be resident


class ModelRefused(TunesmithError):
    """The engine does not take this base model; trying again will not help."""


class HostLost(Exception):
    """The host process is gone; `reason` says how."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


RunQueue = queue.Queue[RunEvent | RunFailed | HostLost]
OnAnswer = Callable[[SampleEvent], None]


class Host:
    """One host process: sends it commands, and hands out what it tells.

    `ready` is there once `wait_until_ready` has come back.
    """

    ready: HostReady

    def __init__(self, process: HostProcess, base_model: str, on_answer: OnAnswer) -> None:
        self.base_model = base_model
        self.used_at = time.monotonic()
        self.max_runs: int | None = None  # not known until it turns one away
        self.has_finished_one = False  # of its runs
        self._process = process
        self._on_answer = on_answer
        self._lock = threading.Lock()
        self._runs: dict[str, RunQueue] = {}
        self._training: set[str] = set()  # those that have begun
        self._accompanied: set[str] = set()  # those of them that were ever not alone
        self._answering: dict[str, str] = {}  # request id -> adapter id, empty for the base
        self._adapters: dict[str, None] = {}  # in order of their last use
        self._ready: queue.Queue[HostReady | HostFailed | HostLost] = queue.Queue()
        self._lost: HostLost | None = None
        threading.Thread(target=self._listen, daemon=True, name=f"host {base_model}").start()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Raises `ModelRefused` or `Unavailable` where the base model cannot be had."""
        try:
            told = self._ready.get(timeout=_START_SECONDS)
        except queue.Empty:
            self.kill()
            raise Unavailable(f"{self.base_model} took too long to load.") from None
        if isinstance(told, HostFailed):
            raise ModelRefused(told.message, code=told.code)
        if isinstance(told, HostLost):
            raise Unavailable(f"The host of {self.base_model} ended: {told.reason}.")
        self.ready = told
        log.info(
            "host ready",
            base_model=self.base_model,
            device=told.device,
            dtype=told.dtype,
            seconds=round(told.load_seconds, 1),
        )

    @property
    def is_alive(self) -> bool:
        return self._lost is None

    @property
    def lacked_memory(self) -> bool:
        """Whether the system ended it for that."""
        return self._lost is not None and self._process.lacked_memory

    @property
    def is_busy(self) -> bool:
        return bool(self._runs or self._answering)

    def send(self, command: Command) -> None:
        """To a host that has gone a command is nothing: whoever waits hears of the loss."""
        try:
            with self._lock:
                self._process.send(encode(command))
        except OSError:
            log.warning("host gone", base_model=self.base_model)

    def follow(self, run_id: str) -> RunQueue:
        """Where everything about a run arrives, ended by the host's loss at the latest."""
        told: RunQueue = queue.Queue()
        self._runs[run_id] = told
        if self._lost is not None:
            told.put(self._lost)
        return told

    def unfollow(self, run_id: str) -> None:
        self._runs.pop(run_id, None)
        self._training.discard(run_id)
        self._accompanied.discard(run_id)

    def was_accompanied(self, run_id: str) -> bool:
        """Whether another run has ever been trained beside this one."""
        return run_id in self._accompanied

    def answer(self, asked: Sample | Embed) -> None:
        spec = asked.spec
        self._answering[spec.request_id] = spec.adapter_id or ""
        self.used_at = time.monotonic()
        self.send(asked)
        if self._lost is not None:
            self._fail_answers(self._lost)

    def cancel(self, request_id: str) -> None:
        if self._answering.pop(request_id, None) is not None:
            self.send(CancelSample(request_id=request_id))

    def cancel_all(self) -> None:
        for request_id in list(self._answering):
            self.cancel(request_id)

    def ensure_adapter(self, adapter_id: str, fetch: Callable[[], Path]) -> None:
        """Have an adapter resident; `fetch` brings its folder if it is not."""
        if adapter_id not in self._adapters:
            self._make_room()
            self.send(LoadAdapter(adapter_id=adapter_id, path=fetch()))
        self._adapters.pop(adapter_id, None)
        self._adapters[adapter_id] = None

    def kill(self) -> None:
        self._process.kill()

    def _make_room(self) -> None:
        in_use = set(self._answering.values())
        for adapter_id in list(self._adapters):
            if len(self._adapters) < MAX_ADAPTERS:
                return
            if adapter_id not in in_use:
                del self._adapters[adapter_id]
                self.send(UnloadAdapter(adapter_id=adapter_id))

    def _listen(self) -> None:
        try:
            for line in self._process.read():
                self._hand_out(decode(line))
        except (ValueError, KeyError, TypeError):  # such as the half line of a host that was killed
            log.exception("host speaks gibberish", base_model=self.base_model)
            self._process.kill()
        lost = HostLost(self._process.wait())
        self._lost = lost
        self._ready.put(lost)
        for told in list(self._runs.values()):
            told.put(lost)
        self._fail_answers(lost)

    def _hand_out(self, told: object) -> None:
        match told:
            case RunEvent() | RunFailed():
                self._note(told)
                if told.run_id in self._runs:
                    self._runs[told.run_id].put(told)
            case TextDelta() | ToolCalled():
                self._on_answer(told)
            case Embedded() | SampleDone() | SampleFailed():
                self._answering.pop(told.request_id, None)
                self._on_answer(told)
            case HostReady() | HostFailed():
                self._ready.put(told)
            case AdapterFailed():
                log.warning("adapter refused", adapter=told.adapter_id, reason=told.message)
                self._adapters.pop(told.adapter_id, None)
            case _:
                raise TypeError(f"A host says no {type(told).__name__}.")

    def _note(self, told: RunEvent | RunFailed) -> None:
        match told:
            case RunFailed(code=code) if code == TOO_MANY_RUNS:
                self.max_runs = max(1, len(self._runs) - 1)
            case RunEvent(event=Finished()):
                self.has_finished_one = True
            case RunEvent(run_id=run_id, event=Started()) if run_id in self._runs:
                self._training.add(run_id)
                if len(self._training) > 1:
                    self._accompanied |= self._training

    def _fail_answers(self, lost: HostLost) -> None:
        for request_id in list(self._answering):
            self._answering.pop(request_id, None)
            message = f"The host that was answering ended ({lost.reason}); try again."
            failed = SampleFailed(request_id=request_id, code="host_lost", message=message)
            self._on_answer(failed)
