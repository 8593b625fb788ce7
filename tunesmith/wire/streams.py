"""Answers as they come: merged, collected, or sent on as server-sent events."""

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import structlog
from fastapi import Request
from fastapi.responses import StreamingResponse

from tunesmith.domain.assignments import (
    SampleOutput,
    SamplePart,
    SampleRequest,
    TokenLogprob,
    ToolCall,
)
from tunesmith.domain.errors import InvalidRequest, TunesmithError, Unavailable
from tunesmith.services.metering import Meter
from tunesmith.services.ports import Sampler

log = structlog.get_logger()

KEEP_ALIVE_SECONDS = 15.0  # proxies and clients give up on a connection that is silent for long
KEEP_ALIVE = b": keep-alive\n\n"
DONE: Literal["[DONE]"] = "[DONE]"

Result = TypeVar("Result")
Piece = tuple[int, SampleOutput]  # of an answer, and which request's it is
Part = Piece | None  # None: nothing came for a while
Frame = dict[str, Any] | Literal["[DONE]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    text: str
    logprobs: tuple[TokenLogprob, ...]
    num_echoed: int  # of the log-probabilities: those of the prompt's tokens
    tool_calls: tuple[ToolCall, ...]
    end: SampleOutput


@dataclass(frozen=True, slots=True, kw_only=True)
class Blame:
    """What an endpoint calls the fields that a worker may find at fault."""

    prompt: str
    schema: str | None = None


class Frames(Protocol):
    """How an endpoint says the parts of its answers; a frame with a `type` is a named event."""

    def opening(self) -> Iterable[Frame]: ...
    def part(self, index: int, output: SampleOutput) -> Iterable[Frame]: ...
    def closing(self) -> Iterable[Frame]: ...
    def failure(self, error: TunesmithError) -> Iterable[Frame]: ...


def failure(output: SampleOutput, blame: Blame) -> TunesmithError:
    """Why there is no answer, from the worker's words."""
    message = output.message or "The answer failed."
    if output.code == "prompt_too_long":
        return InvalidRequest(message, param=blame.prompt, code=output.code)
    if output.code == "bad_conversation":
        return InvalidRequest(message, param=blame.prompt)
    if output.code == "bad_schema":
        return InvalidRequest(message, param=blame.schema)
    if output.code == "bad_logit_bias":
        return InvalidRequest(message, param="logit_bias")
    if output.code == "unsupported_model":
        return InvalidRequest(message, param="model")
    if output.code in ("unavailable", "adapter_not_loaded"):
        return Unavailable(message)
    return TunesmithError(message, code=output.code)


async def merged(
    sampler: Sampler, requests: Sequence[SampleRequest], blame: Blame, meter: Meter
) -> AsyncGenerator[Part, None]:
    """The parts of all answers as they come. The first failure ends and cancels them all."""
    arrived: asyncio.Queue[tuple[int, SampleOutput | Exception | None]] = asyncio.Queue()
    tasks = [
        asyncio.create_task(_pass_on(sampler, request, index, arrived))
        for index, request in enumerate(requests)
    ]
    try:
        num_open = len(tasks)
        while num_open:
            try:
                async with asyncio.timeout(KEEP_ALIVE_SECONDS):
                    index, output = await arrived.get()
            except TimeoutError:
                yield None
                continue
            if isinstance(output, Exception):
                raise output
            if output is None:
                num_open -= 1
            elif output.part is SamplePart.FAILED:
                raise failure(output, blame)
            else:
                meter.see(index, output)
                yield index, output
    finally:
        meter.close()
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
    outputs: list[list[SampleOutput]] = [[] for _ in range(num_answers)]
    async with aclosing(parts):
        async for part in parts:
            if part is not None:
                outputs[part[0]].append(part[1])
    return list(map(_answer, outputs))


def _answer(outputs: Sequence[SampleOutput]) -> Answer:
    return Answer(
        text="".join(output.text for output in outputs),
        logprobs=tuple(token for output in outputs for token in output.logprobs),
        # An echo comes before there is a token of the answer.
        num_echoed=sum(len(o.logprobs) for o in outputs if not o.completion_tokens),
        tool_calls=tuple(output.tool_call for output in outputs if output.tool_call is not None),
        end=outputs[-1],
    )


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
    """An event stream; what fails soon, before the first part, is an ordinary error still."""
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
            for frame in frames.opening():
                yield _event(frame)
            for event in _part_events(first, frames):
                yield event
            async for part in parts:
                for event in _part_events(part, frames):
                    yield event
            for frame in frames.closing():
                yield _event(frame)
    except TunesmithError as error:
        for frame in frames.failure(error):
            yield _event(frame)
    except Exception:
        log.exception("stream failed")
        hidden = TunesmithError("The server had an error while answering.", code="server_error")
        for frame in frames.failure(hidden):
            yield _event(frame)


def _part_events(part: Part, frames: Frames) -> Iterator[bytes]:
    if part is None:
        yield KEEP_ALIVE
    else:
        yield from map(_event, frames.part(*part))


def _event(frame: Frame) -> bytes:
    if isinstance(frame, str):
        return f"data: {frame}\n\n".encode()
    name = f"event: {frame['type']}\n" if "type" in frame else ""
    return f"{name}data: {json.dumps(frame, separators=(',', ':'))}\n\n".encode()
