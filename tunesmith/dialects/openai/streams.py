"""Answers as they come: merged, collected, or sent on as server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import structlog
from fastapi import Request
from fastapi.responses import StreamingResponse

from tunesmith.dialects.openai import errors
from tunesmith.domain.assignments import SampleOutput, SamplePart, SampleRequest
from tunesmith.domain.errors import InvalidRequest, TunesmithError
from tunesmith.http import status_of
from tunesmith.services.ports import Sampler

log = structlog.get_logger()

Result = TypeVar("Result")
Part = tuple[int, SampleOutput]  # a piece of an answer, and which request's it is
Frame = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    text: str
    end: SampleOutput


class Frames(Protocol):
    """How a dialect's endpoint says the parts of its answers."""

    def opening(self) -> Iterable[Frame]: ...
    def part(self, index: int, output: SampleOutput) -> Iterable[Frame]: ...
    def closing(self) -> Iterable[Frame]: ...


async def merged(sampler: Sampler, requests: Sequence[SampleRequest]) -> AsyncGenerator[Part, None]:
    """The parts of all answers as they come. The first failure ends and cancels them all."""
    arrived: asyncio.Queue[tuple[int, SampleOutput | Exception | None]] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_pass_on(sampler, request, index, arrived))
        for index, request in enumerate(requests)
    ]
    try:
        num_open = len(tasks)
        while num_open:
            index, output = await arrived.get()
            if isinstance(output, Exception):
                raise output
            if output is None:
                num_open -= 1
            elif output.part is SamplePart.FAILED:
                param = "prompt" if requests[index].messages is None else "messages"
                raise errors.of_failed_answer(output, param)
            else:
                yield index, output
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _pass_on(
    sampler: Sampler,
    request: SampleRequest,
    index: int,
    arrived: asyncio.Queue[tuple[int, SampleOutput | Exception | None]],
) -> None:
    """Cancelling this while it waits for a part closes the sampler's iterator."""
    try:
        async for output in sampler.sample(request):
            arrived.put_nowait((index, output))
        arrived.put_nowait((index, None))
    except Exception as error:  # for whoever reads the queue, who would wait for ever otherwise
        arrived.put_nowait((index, error))


async def collected(parts: AsyncGenerator[Part, None], num_answers: int) -> list[Answer]:
    texts: list[list[str]] = [[] for _ in range(num_answers)]
    ends: dict[int, SampleOutput] = {}
    async with aclosing(parts):
        async for index, output in parts:
            texts[index].append(output.text)
            if output.part is SamplePart.DONE:
                ends[index] = output
    return [Answer(text="".join(text), end=ends[index]) for index, text in enumerate(texts)]


async def unless_left(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What `work` returns; it is cancelled when the client leaves."""
    working = asyncio.create_task(work)
    leaving = asyncio.create_task(_wait_until_left(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise InvalidRequest("The connection was closed before there was an answer.")
    finally:
        for task in (working, leaving):
            task.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _wait_until_left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def respond(
    request: Request, parts: AsyncGenerator[Part, None], frames: Frames
) -> StreamingResponse:
    """An event stream; what fails before the first part is an ordinary error still."""
    first = await unless_left(request, _next(parts))
    return StreamingResponse(
        _events(first, parts, frames),
        media_type="text/event-stream",
        headers={"cache-control": "no-cache", "x-accel-buffering": "no"},
    )


async def _next(parts: AsyncGenerator[Part, None]) -> Part:
    return await anext(parts)


async def _events(
    first: Part, parts: AsyncGenerator[Part, None], frames: Frames
) -> AsyncIterator[bytes]:
    try:
        async with aclosing(parts):
            for frame in (*frames.opening(), *frames.part(*first)):
                yield _event(frame)
            async for index, output in parts:
                for frame in frames.part(index, output):
                    yield _event(frame)
            for frame in frames.closing():
                yield _event(frame)
            yield b"data: [DONE]\n\n"
    except TunesmithError as error:
        yield _event(errors.body(error, status_of(error)))
    except Exception:
        log.exception("stream failed")
        hidden = TunesmithError("The server had an error while answering.", code="server_error")
        yield _event(errors.body(hidden, 500))


def _event(frame: Frame) -> bytes:
    return f"data: {json.dumps(frame, separators=(',', ':'))}\n\n".encode()
