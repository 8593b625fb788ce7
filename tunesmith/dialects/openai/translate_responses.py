"""Wire <-> domain: the Responses API, whole or as events."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunesmith.dialects.openai import schemas_response_objects as objects
from tunesmith.dialects.openai import schemas_responses as schemas
from tunesmith.dialects.openai.schemas_answers import Part
from tunesmith.dialects.openai.streams import Answer, Frame
from tunesmith.dialects.openai.translate import seconds
from tunesmith.dialects.openai.translate_answers import Head, logprob, new_id
from tunesmith.domain.assignments import SampleOutput, SamplePart, TokenLogprob, ToolCall
from tunesmith.domain.errors import InvalidRequest, QuotaExceeded, TunesmithError
from tunesmith.services.inference import Sampling, ToolChoice, Tools, ToolUse

Item = objects.OutputMessage | objects.OutputCall

_USES = {
    "none": ToolUse.FORBIDDEN,
    "auto": ToolUse.FREE,
    "required": ToolUse.REQUIRED,
    "function": ToolUse.REQUIRED,
}


def messages(body: schemas.CreateResponse) -> list[dict[str, Any]]:
    """The conversation: what the model said and called in one turn is one message."""
    plain: list[dict[str, Any]] = []
    if body.instructions:
        plain.append({"role": "system", "content": body.instructions})
    for item in body.input:
        match item.type:
            case "function_call":
                if not plain or plain[-1]["role"] != "assistant":
                    plain.append({"role": "assistant", "content": None})
                plain[-1].setdefault("tool_calls", []).append(_called(item))
            case "function_call_output":
                plain.append({"role": "tool", "tool_call_id": item.call_id, "content": item.output})
            case _:
                plain.append({"role": item.role, "content": item.content})
    return plain


def _called(item: schemas.InputItem) -> dict[str, Any]:
    function = {"name": item.name, "arguments": item.arguments}
    return {"id": item.call_id, "type": "function", "function": function}


def sampling(body: schemas.CreateResponse) -> Sampling:
    return Sampling(
        max_tokens=body.max_output_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        top_logprobs=(body.top_logprobs or 0) if body.wants_logprobs else None,
        json_schema=body.schema_to_keep,
    )


def tools(body: schemas.CreateResponse) -> Tools:
    chosen = body.tool_choice
    if chosen is None:
        choice = ToolChoice()
    else:
        choice = ToolChoice(use=_USES[chosen.mode or chosen.type], names=chosen.names)
    return Tools(
        definitions=body.definitions,
        choice=choice,
        in_parallel=body.parallel_tool_calls is not False,
    )


class Draft:
    """A response in the making: all that does not change, and what is there so far."""

    def __init__(
        self, head: Head, body: schemas.CreateResponse, now: Callable[[], datetime]
    ) -> None:
        self._head = head
        self._body = body
        self._now = now
        self.items: list[Item] = []

    def in_progress(self) -> objects.Response:
        return self._response(status="in_progress")

    def ended(self, end: SampleOutput) -> objects.Response:
        usage = objects.ResponseUsage(
            input_tokens=end.prompt_tokens,
            output_tokens=end.completion_tokens,
            total_tokens=end.prompt_tokens + end.completion_tokens,
        )
        if end.finish_reason == "length":
            details = objects.IncompleteDetails()
            return self._response(status="incomplete", incomplete_details=details, usage=usage)
        at = seconds(self._now())
        return self._response(status="completed", completed_at=at, usage=usage)

    def failed(self, error: TunesmithError) -> objects.Response:
        said = objects.ResponseError(code=_error_code(error), message=error.message)
        return self._response(status="failed", error=said)

    def _response(self, **fields: Any) -> objects.Response:
        body = self._body
        return objects.Response(
            id=self._head.id,
            created_at=self._head.created,
            model=self._head.model,
            instructions=body.instructions,
            max_output_tokens=body.max_output_tokens,
            output=list(self.items),
            parallel_tool_calls=body.parallel_tool_calls is not False,
            temperature=1.0 if body.temperature is None else body.temperature,
            text={"format": _sent_format(body)},
            tool_choice=_sent_choice(body),
            tools=[_sent(tool) for tool in body.tools or ()],
            top_logprobs=body.top_logprobs or 0,
            top_p=1.0 if body.top_p is None else body.top_p,
            metadata=body.metadata or {},
            **fields,
        )


def response(draft: Draft, answer: Answer) -> objects.Response:
    if answer.text or not answer.tool_calls:
        message = Message(pieces=[answer.text])
        message.logprobs += _logprobs(answer.logprobs)
        draft.items.append(message.item(_status(answer.end)))
    draft.items += map(_call_item, answer.tool_calls)
    return draft.ended(answer.end)


@dataclass(slots=True)
class Message:
    """A message that is still being written."""

    id: str = field(default_factory=lambda: new_id("msg_"))
    pieces: list[str] = field(default_factory=list)
    logprobs: list[objects.ResponseLogprob] = field(default_factory=list)

    def content(self) -> objects.OutputText:
        return objects.OutputText(text="".join(self.pieces), logprobs=list(self.logprobs))

    def item(self, status: objects.ItemStatus) -> objects.OutputMessage:
        return objects.OutputMessage(id=self.id, status=status, content=[self.content()])


class ResponseFrames:
    """The events of a streamed response, numbered from 0."""

    def __init__(self, draft: Draft) -> None:
        self._draft = draft
        self._num_events = 0
        self._message: Message | None = None
        self._end: SampleOutput | None = None

    def opening(self) -> Iterator[Frame]:
        yield self._event("response.created", response=self._draft.in_progress())
        yield self._event("response.in_progress", response=self._draft.in_progress())

    def part(self, index: int, output: SampleOutput) -> Iterator[Frame]:
        if output.text or output.logprobs:
            yield from self._write(output)
        if output.tool_call is not None:
            yield from self._finish_message("completed")
            yield from self._call(output.tool_call)
        if output.part is SamplePart.DONE:
            self._end = output
            if self._message is None and not self._draft.items:
                yield from self._begin_message()
            yield from self._finish_message(_status(output))

    def closing(self) -> Iterator[Frame]:
        assert self._end is not None
        whole = self._draft.ended(self._end)
        yield self._event(f"response.{whole.status}", response=whole)

    def failure(self, error: TunesmithError) -> Iterator[Frame]:
        if self._message is not None:
            self._draft.items.append(self._message.item("incomplete"))
        yield self._event("response.failed", response=self._draft.failed(error))

    def _write(self, output: SampleOutput) -> Iterator[Frame]:
        yield from self._begin_message()
        assert self._message is not None
        logprobs = _logprobs(output.logprobs)
        self._message.pieces.append(output.text)
        self._message.logprobs += logprobs
        yield self._text_event("response.output_text.delta", delta=output.text, logprobs=logprobs)

    def _begin_message(self) -> Iterator[Frame]:
        if self._message is not None:
            return
        self._message = Message()
        item = objects.OutputMessage(id=self._message.id, status="in_progress", content=[])
        yield self._item_event("response.output_item.added", item)
        yield self._text_event("response.content_part.added", part=self._message.content())

    def _finish_message(self, status: objects.ItemStatus) -> Iterator[Frame]:
        if self._message is None:
            return
        content, item = self._message.content(), self._message.item(status)
        yield self._text_event(
            "response.output_text.done", text=content.text, logprobs=content.logprobs
        )
        yield self._text_event("response.content_part.done", part=content)
        yield self._item_event("response.output_item.done", item)
        self._message = None
        self._draft.items.append(item)

    def _call(self, call: ToolCall) -> Iterator[Frame]:
        item = _call_item(call)
        begun = item.model_copy(update={"arguments": "", "status": "in_progress"})
        yield self._item_event("response.output_item.added", begun)
        place = {"item_id": item.id, "output_index": len(self._draft.items)}
        yield self._event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._event(
            "response.function_call_arguments.done",
            **place,
            name=call.name,
            arguments=call.arguments,
        )
        yield self._item_event("response.output_item.done", item)
        self._draft.items.append(item)

    def _item_event(self, kind: str, item: Item) -> Frame:
        return self._event(kind, output_index=len(self._draft.items), item=item)

    def _text_event(self, kind: str, **fields: Any) -> Frame:
        assert self._message is not None
        place = {"item_id": self._message.id, "output_index": len(self._draft.items)}
        return self._event(kind, **place, content_index=0, **fields)

    def _event(self, kind: str, **fields: Any) -> Frame:
        number = self._num_events
        self._num_events += 1
        plain = {name: _plain(value) for name, value in fields.items()}
        return {"type": kind, "sequence_number": number, **plain}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.model_dump() if hasattr(value, "model_dump") else value


def _call_item(call: ToolCall) -> objects.OutputCall:
    return objects.OutputCall(
        id=new_id("fc_"),
        call_id=new_id("call_"),
        name=call.name,
        arguments=call.arguments,
        status="completed",
    )


def _logprobs(tokens: Iterable[TokenLogprob]) -> list[objects.ResponseLogprob]:
    return [
        objects.ResponseLogprob(
            token=token.token,
            bytes=list(token.token_bytes),
            logprob=logprob(token.logprob or 0.0),
            top_logprobs=[
                objects.ResponseTopLogprob(
                    token=top.token, bytes=list(top.token_bytes), logprob=logprob(top.logprob)
                )
                for top in token.top
            ],
        )
        for token in tokens
    ]


def _status(end: SampleOutput) -> objects.ItemStatus:
    return "incomplete" if end.finish_reason == "length" else "completed"


def _error_code(error: TunesmithError) -> Any:
    if isinstance(error, InvalidRequest):
        return "invalid_prompt"
    return "rate_limit_exceeded" if isinstance(error, QuotaExceeded) else "server_error"


def _sent(part: Part) -> dict[str, Any]:
    sent: dict[str, Any] = part.model_dump(by_alias=True, exclude_none=True)
    return sent


def _sent_format(body: schemas.CreateResponse) -> dict[str, Any]:
    given = body.text.format if body.text else None
    return {"type": "text"} if given is None else _sent(given)


def _sent_choice(body: schemas.CreateResponse) -> str | dict[str, Any]:
    given = body.tool_choice
    if given is None:
        return "auto"
    return _sent(given) if given.type in ("function", "allowed_tools") else given.type
