"""Wire <-> domain: running a text model, whole or in pieces."""

import json
from collections.abc import Iterator
from typing import Any

from tunesmith.dialects.cloudflare import errors
from tunesmith.dialects.cloudflare import schemas_run as schemas
from tunesmith.domain import assignments
from tunesmith.domain.assignments import SampleOutput, SamplePart
from tunesmith.domain.errors import InvalidRequest, TunesmithError
from tunesmith.services.inference import Sampling, ToolChoice, Tools, ToolUse
from tunesmith.wire import streams
from tunesmith.wire.json_body import check_json
from tunesmith.wire.streams import Answer, Frame

TOOL_USES = {
    "none": ToolUse.FORBIDDEN,
    "auto": ToolUse.FREE,
    "any": ToolUse.REQUIRED,
    "required": ToolUse.REQUIRED,
    "function": ToolUse.REQUIRED,
}


def raw_prompt(body: schemas.RunText) -> str:
    """What the model reads where no template is applied."""
    if body.prompt is not None:
        return body.prompt
    return "\n".join(message.content or "" for message in body.messages or ())


def messages(body: schemas.RunText) -> list[dict[str, Any]]:
    """For the chat template; a prompt is what a user says."""
    if body.prompt is not None:
        return [{"role": "user", "content": body.prompt}]
    return [_message(message, number) for number, message in enumerate(body.messages or ())]


def _message(message: schemas.Message, number: int) -> dict[str, Any]:
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.name is not None:
        fields["name"] = message.name
    if message.tool_call_id is not None:
        fields["tool_call_id"] = message.tool_call_id
    if message.tool_calls:
        fields["tool_calls"] = [
            {
                "id": call.id or f"call_{number}_{index}",
                "type": "function",
                "function": {"name": call.called.name, "arguments": call.called.arguments_text},
            }
            for index, call in enumerate(message.tool_calls)
        ]
    return fields


def sampling(body: schemas.RunText) -> Sampling:
    return Sampling(
        max_tokens=body.max_tokens or schemas.DEFAULT_MAX_TOKENS,
        temperature=_or(body.temperature, schemas.DEFAULT_TEMPERATURE),
        top_p=_or(body.top_p, 1.0),
        top_k=body.top_k,
        frequency_penalty=_or(body.frequency_penalty, 0.0),
        presence_penalty=_or(body.presence_penalty, 0.0),
        repetition_penalty=body.repetition_penalty or 1.0,
        stop=body.stops,
        seed=body.seed,
        json_schema=body.schema_to_keep,
    )


def tools(body: schemas.RunText) -> Tools:
    chosen = body.tool_choice
    if chosen is None:
        return Tools(definitions=body.definitions)
    names = None if chosen.function is None else (chosen.function.name,)
    choice = ToolChoice(use=TOOL_USES[chosen.type], names=names)
    return Tools(definitions=body.definitions, choice=choice)


def text_answer(body: schemas.RunText, answer: Answer) -> schemas.TextAnswer:
    usage = _usage(answer.end)
    if answer.tool_calls:
        calls = [_tool_call(call) for call in answer.tool_calls]
        return schemas.CallingAnswer(response=answer.text, usage=usage, tool_calls=calls)
    is_text = body.schema_to_keep is None
    return schemas.TextAnswer(
        response=answer.text if is_text else _parsed(answer.text), usage=usage
    )


def _or(value: float | None, default: float) -> float:
    return default if value is None else value


def _parsed(text: str) -> Any:
    try:
        value = json.loads(text)
        check_json(value, "response_format")
    except (ValueError, RecursionError, InvalidRequest) as error:
        raise InvalidRequest(
            "JSON Mode couldn't be met: the answer is no whole JSON; a higher `max_tokens` may "
            "help.",
            param="response_format",
        ) from error
    return value


def _tool_call(call: assignments.ToolCall) -> schemas.ToolCall:
    arguments = _parsed(call.arguments)
    return schemas.ToolCall(
        name=call.name, arguments=arguments if isinstance(arguments, dict) else {}
    )


def _usage(end: SampleOutput) -> schemas.Usage:
    return schemas.Usage(
        prompt_tokens=end.prompt_tokens,
        completion_tokens=end.completion_tokens,
        total_tokens=end.prompt_tokens + end.completion_tokens,
    )


class TextFrames:
    """The events of a streamed answer, which have no envelope; the usage is in the last."""

    def __init__(self) -> None:
        self._end: SampleOutput | None = None

    def opening(self) -> Iterator[Frame]:
        yield from ()

    def part(self, index: int, output: SampleOutput) -> Iterator[Frame]:
        if output.text:
            yield {"response": output.text}
        if output.tool_call is not None:
            yield {"response": "", "tool_calls": [_tool_call(output.tool_call).model_dump()]}
        if output.part is SamplePart.DONE:
            self._end = output

    def closing(self) -> Iterator[Frame]:
        assert self._end is not None
        yield {"response": "", "usage": _usage(self._end).model_dump()}
        yield streams.DONE

    def failure(self, error: TunesmithError) -> Iterator[Frame]:
        yield errors.frame(error)
