"""The wire: completions of plain text."""

from collections.abc import Collection, Mapping
from typing import Any, ClassVar, Literal, Self

from pydantic import BaseModel, Field, model_validator

from tunesmith.dialects.openai.schemas_answers import CreateChoices, Texts
from tunesmith.domain.errors import InvalidRequest

MAX_ANSWERS = 128  # prompts times choices
MAX_LOGPROBS = 5
MAX_BEST_OF = 20
DEFAULT_TOKENS = 16


class CreateCompletion(CreateChoices):
    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {"suffix": ("",)}
    IGNORED: ClassVar[frozenset[str]] = frozenset({"user"})

    prompt: Texts
    max_tokens: int | None = Field(
        None, ge=0, description=f"{DEFAULT_TOKENS} unless given; 0 is for `echo` alone"
    )
    echo: bool | None = Field(None, description="the prompt stands before its answer")
    logprobs: int | None = Field(None, ge=0, le=MAX_LOGPROBS)
    best_of: int | None = Field(
        None, ge=1, le=MAX_BEST_OF, description="so many are drawn; the `n` likeliest are shown"
    )

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        if self.best_of is not None and self.best_of < self.num_choices:
            raise InvalidRequest("`best_of` must not be less than `n`.", param="best_of")
        if self.best_of is not None and self.best_of > self.num_choices and self.stream:
            raise InvalidRequest("`best_of` cannot be streamed.", param="best_of")
        if len(self.prompt) * self.num_drawn > MAX_ANSWERS:
            raise InvalidRequest(f"At most {MAX_ANSWERS} answers are given at once.", param="n")
        if self.max_tokens == 0 and not self.echo:
            raise InvalidRequest("`max_tokens` 0 is for `echo: true`.", param="max_tokens")
        return self

    @property
    def num_drawn(self) -> int:
        """For each prompt; the best `n` of them are shown."""
        return self.best_of or self.num_choices


class TextUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


FinishReason = Literal["stop", "length"]


class TextLogprobs(BaseModel):
    """Lists of equal length. The first token of an echoed prompt has nothing to follow: null."""

    tokens: list[str]
    token_logprobs: list[float | None]
    top_logprobs: list[dict[str, float] | None]
    text_offset: list[int]


class TextChoice(BaseModel):
    text: str
    index: int
    logprobs: TextLogprobs | None = None
    finish_reason: FinishReason


class Completion(BaseModel):
    id: str
    object: Literal["text_completion"] = "text_completion"
    created: int
    model: str
    choices: list[TextChoice]
    usage: TextUsage
    system_fingerprint: str
