"""Wire <-> domain: what is asked of a model, and its answers, whole or in chunks."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

from tunesmith.dialects.openai import schemas_chat as schemas
from tunesmith.dialects.openai.streams import Answer, Frame
from tunesmith.dialects.openai.translate import model_name, outer_id, seconds
from tunesmith.domain.assignments import SampleOutput, SamplePart
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.models import TunedModel
from tunesmith.services.inference import Sampling

DEFAULT_TEXT_TOKENS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an answer and all of its chunks begin with."""

    id: str
    created: int
    model: str


def head(prefix: str, model: BaseModel | TunedModel, now: datetime) -> Head:
    return Head(id=outer_id(prefix, uuid4()), created=seconds(now), model=model_name(model))


def messages(body: schemas.CreateChatCompletion) -> list[dict[str, Any]]:
    return [
        {**message.model_dump(exclude_none=True), "content": message.content}
        for message in body.messages
    ]


def chat_sampling(body: schemas.CreateChatCompletion) -> Sampling:
    return _sampling(body, body.max_completion_tokens or body.max_tokens)


def text_sampling(body: schemas.CreateCompletion) -> Sampling:
    return _sampling(body, body.max_tokens or DEFAULT_TEXT_TOKENS)


def _sampling(body: schemas.CreateAnswer, max_tokens: int | None) -> Sampling:
    return Sampling(
        max_tokens=max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        stop=body.stop,
        seed=body.seed,
    )


def chat_completion(head: Head, answers: Sequence[Answer]) -> schemas.ChatCompletion:
    choices = [
        schemas.ChatChoice(
            index=index,
            message=schemas.AnswerMessage(content=answer.text),
            finish_reason=_finish_reason(answer.end),
        )
        for index, answer in enumerate(answers)
    ]
    usage = _usage([answer.end for answer in answers], len(answers))
    return schemas.ChatCompletion(
        id=head.id, created=head.created, model=head.model, choices=choices, usage=usage
    )


def completion(
    head: Head, body: schemas.CreateCompletion, answers: Sequence[Answer]
) -> schemas.Completion:
    choices = [
        schemas.TextChoice(
            index=index,
            text=echo_of(body, index) + answer.text,
            finish_reason=_finish_reason(answer.end),
        )
        for index, answer in enumerate(answers)
    ]
    usage = _usage([answer.end for answer in answers], body.n or 1)
    return schemas.Completion(
        id=head.id, created=head.created, model=head.model, choices=choices, usage=usage
    )


def echo_of(body: schemas.CreateCompletion, index: int) -> str:
    """What a choice's text begins with where the prompt is wanted back."""
    prompt = body.prompt[index // (body.n or 1)]
    return prompt if body.echo and isinstance(prompt, str) else ""


class ChatFrames:
    """The chunks of a streamed chat completion."""

    def __init__(self, head: Head, body: schemas.CreateChatCompletion) -> None:
        self._chunks = _Chunks(head, "chat.completion.chunk", body.includes_usage)
        self._num_choices = body.n or 1

    def opening(self) -> Iterator[Frame]:
        for index in range(self._num_choices):
            delta = {"role": "assistant", "content": "", "refusal": None}
            yield self._chunks.chunk(_chat_choice(index, delta, None))

    def part(self, index: int, output: SampleOutput) -> Iterator[Frame]:
        if output.text:
            yield self._chunks.chunk(_chat_choice(index, {"content": output.text}, None))
        if output.part is SamplePart.DONE:
            self._chunks.ends[index] = output
            yield self._chunks.chunk(_chat_choice(index, {}, _finish_reason(output)))

    def closing(self) -> Iterator[Frame]:
        return self._chunks.closing(self._num_choices)


class TextFrames:
    """The chunks of a streamed completion."""

    def __init__(self, head: Head, body: schemas.CreateCompletion) -> None:
        self._chunks = _Chunks(head, "text_completion", body.includes_usage)
        self._body = body

    def opening(self) -> Iterator[Frame]:
        num_choices = self._body.n or 1
        for index in range(len(self._body.prompt) * num_choices if self._body.echo else 0):
            yield self._chunks.chunk(_text_choice(index, echo_of(self._body, index), None))

    def part(self, index: int, output: SampleOutput) -> Iterator[Frame]:
        if output.part is SamplePart.DONE:
            self._chunks.ends[index] = output
            yield self._chunks.chunk(_text_choice(index, output.text, _finish_reason(output)))
        elif output.text:
            yield self._chunks.chunk(_text_choice(index, output.text, None))

    def closing(self) -> Iterator[Frame]:
        return self._chunks.closing(self._body.n or 1)


class _Chunks:
    """What is alike in all streams. Where usage was asked for, it is null in all chunks but one."""

    def __init__(self, head: Head, kind: str, includes_usage: bool) -> None:
        self.ends: dict[int, SampleOutput] = {}
        self._includes_usage = includes_usage
        self._head = {
            "id": head.id, "object": kind, "created": head.created, "model": head.model
        }  # fmt: skip

    def chunk(self, choice: dict[str, Any]) -> Frame:
        frame = {**self._head, "choices": [choice]}
        return {**frame, "usage": None} if self._includes_usage else frame

    def closing(self, num_choices: int) -> Iterator[Frame]:
        if self._includes_usage:
            ends = [self.ends[index] for index in sorted(self.ends)]
            usage = _usage(ends, num_choices).model_dump()
            yield {**self._head, "choices": [], "usage": usage}


def _chat_choice(index: int, delta: dict[str, Any], finish_reason: str | None) -> dict[str, Any]:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _text_choice(index: int, text: str, finish_reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": index, "logprobs": None, "finish_reason": finish_reason}


def _finish_reason(end: SampleOutput) -> schemas.FinishReason:
    return "length" if end.finish_reason == "length" else "stop"


def _usage(ends: Sequence[SampleOutput], num_choices: int) -> schemas.Usage:
    """The choices of a prompt share it."""
    prompt_tokens = sum(end.prompt_tokens for end in ends[::num_choices])
    completion_tokens = sum(end.completion_tokens for end in ends)
    return schemas.Usage(
        prompt_tokens=prompt_tokens,
        completion_tokens=completion_tokens,
        total_tokens=prompt_tokens + completion_tokens,
    )
