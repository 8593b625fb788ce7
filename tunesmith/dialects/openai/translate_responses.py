"""Wire <-> domain: the Responses API."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from tunesmith.dialects.openai import schemas_response_objects as objects
from tunesmith.dialects.openai import schemas_responses as schemas
from tunesmith.dialects.openai.schemas_answers import Part
from tunesmith.dialects.openai.translate import seconds
from tunesmith.dialects.openai.translate_answers import TOOL_USES, Head, logprob, new_id
from tunesmith.domain.assignments import SampleOutput, TokenLogprob, ToolCall
from tunesmith.domain.errors import InvalidRequest, QuotaExceeded, TunesmithError
from tunesmith.services.inference import Sampling, ToolChoice, Tools
from tunesmith.wire.streams import Answer

Item = objects.OutputMessage | objects.OutputCall


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
        choice = ToolChoice(use=TOOL_USES[chosen.mode or chosen.type], names=chosen.names)
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
        message.logprobs += logprobs(answer.logprobs)
        draft.items.append(message.item(status_of(answer.end)))
    draft.items += map(call_item, answer.tool_calls)
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


def call_item(call: ToolCall) -> objects.OutputCall:
    return objects.OutputCall(
        id=new_id("fc_"),
        call_id=new_id("call_"),
        name=call.name,
        arguments=call.arguments,
        status="completed",
    )


def logprobs(tokens: Iterable[TokenLogprob]) -> list[objects.ResponseLogprob]:
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


def status_of(end: SampleOutput) -> objects.ItemStatus:
    return "incomplete" if end.finish_reason == "length" else "completed"


def _error_code(error: TunesmithError) -> objects.ErrorCode:
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
