"""Wire <-> domain: chat completions, whole or in chunks."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from tunesmith.dialects.openai import errors
from tunesmith.dialects.openai import schemas_chat as schemas
from tunesmith.dialects.openai import schemas_chat_objects as objects
from tunesmith.dialects.openai.translate_answers import (
    TOOL_USES,
    Head,
    logprob,
    new_id,
    sampling,
    token_counts,
)
from tunesmith.domain import assignments
from tunesmith.domain.assignments import SampleOutput, SamplePart
from tunesmith.domain.errors import TunesmithError
from tunesmith.services.inference import Sampling, ToolChoice, Tools, ToolUse
from tunesmith.wire import streams
from tunesmith.wire.streams import Answer, Frame


def messages(body: schemas.CreateChatCompletion) -> list[dict[str, Any]]:
    """In today's form: an older `function_call` becomes a tool call, and is numbered for that."""
    plain: list[dict[str, Any]] = []
    call_id = "call_0"
    for number, message in enumerate(body.messages):
        fields = message.model_dump(exclude_none=True)
        fields["content"] = message.content if message.content is not None else message.refusal
        fields.pop("refusal", None)
        called = fields.pop("function_call", None)
        calls = fields.pop("tool_calls", [])
        if called is not None:
            call_id = f"call_{number}"
            calls.append({"id": call_id, "type": "function", "function": called})
        if calls:
            fields["tool_calls"] = calls
        if message.role == "function":
            fields |= {"role": "tool", "tool_call_id": call_id}
        plain.append(fields)
    return plain


def chat_sampling(body: schemas.CreateChatCompletion) -> Sampling:
    return sampling(
        body,
        max_tokens=body.max_completion_tokens or body.max_tokens,
        top_logprobs=(body.top_logprobs or 0) if body.logprobs else None,
        json_schema=body.schema_to_keep,
    )


def tools(body: schemas.CreateChatCompletion) -> Tools:
    return Tools(
        definitions=body.definitions,
        choice=_function_choice(body) if body.uses_functions else _tool_choice(body),
        in_parallel=body.parallel_tool_calls is not False and not body.uses_functions,
    )


def _tool_choice(body: schemas.CreateChatCompletion) -> ToolChoice:
    chosen = body.tool_choice
    if chosen is None:
        return ToolChoice()
    mode = chosen.allowed_tools.mode if chosen.allowed_tools else chosen.type
    return ToolChoice(use=TOOL_USES[mode], names=chosen.names)


def _function_choice(body: schemas.CreateChatCompletion) -> ToolChoice:
    chosen = body.function_call
    if chosen is None:
        return ToolChoice()
    if chosen.name is not None:
        return ToolChoice(use=ToolUse.REQUIRED, names=(chosen.name,))
    return ToolChoice(use=TOOL_USES[chosen.mode or "auto"])


def chat_completion(
    head: Head, body: schemas.CreateChatCompletion, answers: Sequence[Answer]
) -> objects.ChatCompletion:
    choices = [
        objects.ChatChoice(
            index=index,
            message=_message(body, answer),
            logprobs=_logprobs(body, answer.logprobs),
            finish_reason=_finish_reason(body, answer.end),
        )
        for index, answer in enumerate(answers)
    ]
    return objects.ChatCompletion(
        id=head.id,
        created=head.created,
        model=head.model,
        choices=choices,
        usage=_usage([answer.end for answer in answers]),
        system_fingerprint=head.fingerprint,
    )


def _message(body: schemas.CreateChatCompletion, answer: Answer) -> objects.AnswerMessage:
    if not answer.tool_calls:
        return objects.AnswerMessage(content=answer.text)
    calls = [
        objects.FunctionCall(name=call.name, arguments=call.arguments) for call in answer.tool_calls
    ]
    content = answer.text or None
    if body.uses_functions:
        return objects.AnswerMessage(content=content, function_call=calls[0])
    tool_calls = [objects.ToolCall(id=new_id("call_"), function=call) for call in calls]
    return objects.AnswerMessage(content=content, tool_calls=tool_calls)


def _logprobs(
    body: schemas.CreateChatCompletion, tokens: Iterable[assignments.TokenLogprob]
) -> objects.ChoiceLogprobs | None:
    if not body.logprobs:
        return None
    return objects.ChoiceLogprobs(content=list(map(_token_logprob, tokens)))


def _token_logprob(of: assignments.TokenLogprob) -> objects.TokenLogprob:
    return objects.TokenLogprob(
        token=of.token,
        bytes=list(of.token_bytes),
        logprob=logprob(of.logprob or 0.0),
        top_logprobs=[
            objects.TopLogprob(
                token=top.token, bytes=list(top.token_bytes), logprob=logprob(top.logprob)
            )
            for top in of.top
        ],
    )


def _finish_reason(body: schemas.CreateChatCompletion, end: SampleOutput) -> objects.FinishReason:
    match end.finish_reason:
        case "length":
            return "length"
        case "tool_calls":
            return "function_call" if body.uses_functions else "tool_calls"
        case _:
            return "stop"


def _usage(ends: Sequence[SampleOutput]) -> objects.Usage:
    prompt_tokens, completion_tokens = token_counts(ends, len(ends))
    return objects.Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )


class ChatFrames:
    """The chunks of a streamed chat completion; usage, where wanted, is in the last alone."""

    def __init__(self, head: Head, body: schemas.CreateChatCompletion) -> None:
        self._body = body
        self._ends: dict[int, SampleOutput] = {}
        self._head: dict[str, Any] = {
            "id": head.id,
            "object": "chat.completion.chunk",
            "created": head.created,
            "model": head.model,
            "service_tier": "default",
            "system_fingerprint": head.fingerprint,
        }

    def opening(self) -> Iterator[Frame]:
        for index in range(self._body.num_choices):
            yield self._chunk(index, {"role": "assistant", "content": "", "refusal": None})

    def part(self, index: int, output: SampleOutput) -> Iterator[Frame]:
        if output.text or (output.logprobs and self._body.logprobs):
            logprobs = _logprobs(self._body, output.logprobs)
            yield self._chunk(index, {"content": output.text}, logprobs=logprobs)
        if output.tool_call is not None:
            for delta in self._call_deltas(output.tool_call):
                yield self._chunk(index, delta)
        if output.part is SamplePart.DONE:
            self._ends[index] = output
            yield self._chunk(index, {}, finish_reason=_finish_reason(self._body, output))

    def closing(self) -> Iterator[Frame]:
        if self._body.includes_usage:
            usage = _usage(list(self._ends.values())).model_dump()
            yield {**self._head, "choices": [], "usage": usage}
        yield streams.DONE

    def failure(self, error: TunesmithError) -> Iterator[Frame]:
        yield errors.frame(error)

    def _call_deltas(self, call: assignments.ToolCall) -> Iterator[dict[str, Any]]:
        """What is called comes first, with what second."""
        if self._body.uses_functions:
            if call.index == 0:
                yield {"function_call": {"name": call.name, "arguments": ""}}
                yield {"function_call": {"arguments": call.arguments}}
            return
        called = {"name": call.name, "arguments": ""}
        named = {"id": new_id("call_"), "type": "function", "function": called}
        yield {"tool_calls": [{"index": call.index, **named}]}
        yield {"tool_calls": [{"index": call.index, "function": {"arguments": call.arguments}}]}

    def _chunk(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        logprobs: objects.ChoiceLogprobs | None = None,
        finish_reason: str | None = None,
    ) -> Frame:
        choice = {
            "index": index,
            "delta": delta,
            "logprobs": None if logprobs is None else logprobs.model_dump(),
            "finish_reason": finish_reason,
        }
        frame = {**self._head, "choices": [choice]}
        return {**frame, "usage": None} if self._body.includes_usage else frame
