"""Answers from workers: requests and tokens travel over a connection that the worker opened."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import aclosing
from dataclasses import dataclass, field

import structlog

from tunesmith.domain.assignments import (
    Asked,
    EmbedRequest,
    News,
    NoMoreRequests,
    SampleCancel,
    SampleOutput,
    SamplePart,
    SampleRequest,
)
from tunesmith.domain.errors import Unavailable

log = structlog.get_logger()

MAX_REQUESTS_AT_ONCE = 1024  # on one worker; more are turned away
ANSWERS_AT_ONCE = 16  # that a worker writes; those beyond wait for their turn
_LOST = "worker_lost"
_CLOSING = "server_stops"
_REASONS = {
    _LOST: "The worker that was answering has gone; try again.",
    _CLOSING: "The server is being stopped; try again when it is back.",
}


@dataclass(slots=True)
class Connection:
    """One worker: what is still to be sent to it, and who waits for its answers."""

    worker: str
    outgoing: asyncio.Queue[Asked] = field(default_factory=asyncio.Queue)
    waiting: dict[str, asyncio.Queue[SampleOutput]] = field(default_factory=dict)
    base_models: set[str] = field(default_factory=set)  # asked before, so probably resident
    is_leaving: bool = False

    def deliver(self, output: SampleOutput) -> None:
        if output.request_id in self.waiting:
            self.waiting[output.request_id].put_nowait(output)


class Hub:
    """The `Sampler` of the house. All of it runs on the event loop, so nothing needs a lock."""

    def __init__(self, wait_seconds: float = 30.0) -> None:
        self._connections: dict[str, Connection] = {}
        self._arrival = asyncio.Event()
        self._wait_seconds = wait_seconds
        self._is_closed = False

    @property
    def num_workers(self) -> int:
        return len(self._connections)

    @property
    def is_busy(self) -> bool:
        return all(len(c.waiting) >= ANSWERS_AT_ONCE for c in self._taking())

    def connect(self, worker: str) -> Connection:
        """A worker is there; an earlier connection of the same name is dead."""
        self.disconnect(self._connections.get(worker))
        connection = Connection(worker)
        self._connections[worker] = connection
        self._arrival.set()
        log.info("worker connected", worker=worker)
        return connection

    def disconnect(self, connection: Connection | None) -> None:
        if connection is None or self._connections.get(connection.worker) is not connection:
            return
        del self._connections[connection.worker]
        self._note_departure()
        _fail_all(connection, _LOST)
        log.info("worker disconnected", worker=connection.worker)

    def dismiss(self, connection: Connection) -> None:
        """A worker is leaving: what it has been asked it answers, others get the rest."""
        connection.is_leaving = True
        connection.outgoing.put_nowait(NoMoreRequests(no_more_requests=True))
        self._note_departure()
        log.info("worker leaves", worker=connection.worker, answers=len(connection.waiting))

    def announce(self, news: Iterable[News]) -> None:
        """Workers ask now and then; this lets them ask at once."""
        for one in news:
            for connection in self._taking():
                connection.outgoing.put_nowait(one)

    def close(self) -> None:
        """Whoever waits for an answer, or asks from now on, is told that the server stops."""
        self._is_closed = True
        self._arrival.set()
        for connection in self._connections.values():
            _fail_all(connection, _CLOSING)

    def sample(self, request: SampleRequest) -> AsyncGenerator[SampleOutput, None]:
        return self._ask(request)

    async def embed(self, request: EmbedRequest) -> SampleOutput:
        async with aclosing(self._ask(request)) as outputs:
            return await anext(outputs)

    async def _ask(
        self, request: SampleRequest | EmbedRequest
    ) -> AsyncGenerator[SampleOutput, None]:
        connection = await self._choose(request.base_model.name)
        outputs: asyncio.Queue[SampleOutput] = asyncio.Queue()
        connection.waiting[request.request_id] = outputs
        connection.outgoing.put_nowait(request)
        is_ended = False
        try:
            while not is_ended:
                output = await outputs.get()
                if output.code in _REASONS:
                    is_ended = output.code == _LOST
                    raise Unavailable(_REASONS[output.code])
                is_ended = output.is_last
                yield output
        finally:
            del connection.waiting[request.request_id]
            if not is_ended:
                connection.outgoing.put_nowait(SampleCancel(request_id=request.request_id))

    async def _choose(self, base_model: str) -> Connection:
        """The least busy worker, and rather one that has the base model resident."""
        try:
            async with asyncio.timeout(self._wait_seconds):
                # Who arrived may be gone before we wake.
                while not self._taking() and not self._is_closed:
                    await self._arrival.wait()
        except TimeoutError:
            message = "No worker is connected; start one with `tunesmith worker`."
            raise Unavailable(message) from None
        if self._is_closed:
            raise Unavailable(_REASONS[_CLOSING])
        connection = min(
            self._taking(),
            key=lambda c: (base_model not in c.base_models, len(c.waiting)),
        )
        if len(connection.waiting) >= MAX_REQUESTS_AT_ONCE:
            raise Unavailable("Too many requests are waiting for an answer; try again later.")
        connection.base_models.add(base_model)
        return connection

    def _taking(self) -> list[Connection]:
        return [c for c in self._connections.values() if not c.is_leaving]

    def _note_departure(self) -> None:
        if not self._taking():
            self._arrival.clear()


def _fail_all(connection: Connection, code: str) -> None:
    for request_id in connection.waiting:
        failed = SampleOutput(request_id=request_id, part=SamplePart.FAILED, code=code)
        connection.deliver(failed)
