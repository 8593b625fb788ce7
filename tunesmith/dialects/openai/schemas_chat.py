"""The wire: chat completions and completions."""

from collections.abc import Collection, Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, Field, PlainValidator, model_validator

from tunesmith.dialects.openai.schemas import Request
from tunesmith.domain.errors import InvalidRequest

MAX_CHOICES = 8  # the original allows 128; each is an answer of its own here
MAX_TEXTS = 128  # prompts times choices
MAX_STOPS = 4


def _joined_text(content: Any) -> Any:
    """Text parts in one string."""
    if not isinstance(content, list):
        return content
    for part in content:
        kind = part.get("type") if isinstance(part, dict) else None
        if kind != "text":
            raise InvalidRequest(
                f"Parts of type {kind!r} are not available yet in `messages`; send text parts.",
                param="messages",
            )
        if not isinstance(part.get("text"), str):
            raise InvalidRequest("A part of type 'text' needs a `text`.", param="messages")
    return "".join(part["text"] for part in content)


def _stops(stop: Any) -> tuple[str, ...]:
    if stop is None:
        return ()
    stops = [stop] if isinstance(stop, str) else stop
    is_list = isinstance(stops, list) and all(isinstance(text, str) for text in stops)
    if not is_list or len(stops) > MAX_STOPS:
        raise ValueError(f"must be a string or a list of at most {MAX_STOPS} strings")
    return tuple(text for text in stops if text)


def _prompts(prompt: Any) -> list[str | list[int]]:
    """Text, token ids, or a list of either."""
    prompts = prompt if isinstance(prompt, list) and not _is_prompt(prompt) else [prompt]
    if not prompts or not all(map(_is_prompt, prompts)):
        raise ValueError("must be a string, a list of token ids, or a list of either")
    return prompts


def _is_prompt(value: Any) -> bool:
    is_token_ids = isinstance(value, list) and bool(value) and all(map(_is_token_id, value))
    return isinstance(value, str) or is_token_ids


def _is_token_id(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


Content = Annotated[
    str | None,
    BeforeValidator(_joined_text, json_schema_input_type=str | list[dict[str, Any]] | None),
]
Stops = Annotated[
    tuple[str, ...], PlainValidator(_stops, json_schema_input_type=str | list[str] | None)
]
Prompts = Annotated[
    list[str | list[int]],
    PlainValidator(_prompts, json_schema_input_type=str | list[str] | list[int] | list[list[int]]),
]


class StreamOptions(Request):
    IGNORED: ClassVar[frozenset[str]] = frozenset({"include_obfuscation"})

    include_usage: bool | None = None


class CreateAnswer(Request):
    """What both kinds of request say about how to draw the tokens."""

    model: str
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    n: int | None = Field(None, ge=1, le=MAX_CHOICES)
    max_tokens: int | None = Field(None, ge=1)
    stop: Stops = ()
    seed: int | None = Field(None, ge=-(2**63), lt=2**63)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @property
    def includes_usage(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class ChatMessage(Request):
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {"audio": (), "function_call": ()}
    IGNORED: ClassVar[frozenset[str]] = frozenset({"annotations", "refusal"})

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Content = None
    name: str | None = None
    tool_call_id: str | None = None
    tool_calls: list[dict[str, Any]] | None = None

    @model_validator(mode="after")
    def _has_content(self) -> Self:
        if self.content is None and self.role != "assistant":
            raise InvalidRequest(
                f"A message of role {self.role!r} needs a `content`.", param="messages"
            )
        return self


class CreateChatCompletion(CreateAnswer):
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {
        "audio": (),
        "function_call": ("none", "auto"),
        "functions": ([],),
        "logit_bias": ({},),
        "logprobs": (False,),
        "modalities": (["text"], []),
        "prediction": (),
        "response_format": ({"type": "text"},),
        "tool_choice": ("none", "auto"),
        "tools": ([],),
        "top_logprobs": (0,),
        "web_search_options": (),
    }
    IGNORED: ClassVar[frozenset[str]] = frozenset(
        {
            "metadata",
            "moderation",
            "parallel_tool_calls",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "reasoning_effort",
            "safety_identifier",
            "service_tier",
            "store",
            "user",
            "verbosity",
        }
    )

    messages: list[ChatMessage] = Field(min_length=1)
    max_completion_tokens: int | None = Field(None, ge=1)


class CreateCompletion(CreateAnswer):
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {
        "logit_bias": ({},),
        "logprobs": (),
        "suffix": ("",),
    }
    IGNORED: ClassVar[frozenset[str]] = frozenset({"user"})

    prompt: Prompts
    echo: bool | None = None
    best_of: int | None = None

    @model_validator(mode="after")
    def _can_be_honoured(self) -> Self:
        num_choices = self.n or 1
        if self.best_of is not None and self.best_of != num_choices:
            raise InvalidRequest(
                "`best_of` is not available yet; leave it out, or make it `n`.", param="best_of"
            )
        if len(self.prompt) * num_choices > MAX_TEXTS:
            raise InvalidRequest(f"At most {MAX_TEXTS} answers are given at once.", param="n")
        if self.echo and not all(isinstance(prompt, str) for prompt in self.prompt):
            raise InvalidRequest("`echo` is for prompts of text, not token ids.", param="echo")
        return self


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


FinishReason = Literal["stop", "length"]


class AnswerMessage(BaseModel):
    role: Literal["assistant"] = "assistant"
    content: str
    refusal: None = None


class ChatChoice(BaseModel):
    index: int
    message: AnswerMessage
    logprobs: None = None
    finish_reason: FinishReason


class ChatCompletion(BaseModel):
    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage


class TextChoice(BaseModel):
    text: str
    index: int
    logprobs: None = None
    finish_reason: FinishReason


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: Usage
