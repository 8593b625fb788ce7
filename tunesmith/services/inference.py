"""Answers and embeddings from base and tuned models."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any
from uuid import uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import AdapterSource, EmbedRequest, SampleRequest
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.models import TunedModel
from tunesmith.services import models
from tunesmith.services.context import Context

MAX_TOTAL_LENGTH = 32 * 1024 * 1024  # in characters, of all the prompts of a call


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw the tokens of an answer; the fields mean what `SampleRequest` says."""

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int | None = None
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    repetition_penalty: float = 1.0
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logit_bias: dict[int, float] = field(default_factory=dict)
    top_logprobs: int | None = None
    echo: bool = False
    json_schema: dict[str, Any] | None = None


class ToolUse(Enum):
    FORBIDDEN = "forbidden"
    FREE = "free"
    REQUIRED = "required"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolChoice:
    """Whether tools are called, and which: all of them, or those that are named."""

    use: ToolUse = ToolUse.FREE
    names: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What a model may call. `definitions` are as in `SampleRequest.tools`."""

    definitions: list[dict[str, Any]]
    choice: ToolChoice = ToolChoice()
    in_parallel: bool = True

    def offered(self) -> list[dict[str, Any]]:
        """All that may be called; where a call is required all are shown, as in training."""
        names = self.choice.names
        if self.choice.use is ToolUse.FORBIDDEN:
            return []
        if self.choice.use is ToolUse.REQUIRED or names is None:
            return self.definitions
        return [tool for tool in self.definitions if _name(tool) in names]

    def required(self) -> tuple[str, ...]:
        if self.choice.use is not ToolUse.REQUIRED:
            return ()
        return self.choice.names or tuple(map(_name, self.definitions))


NO_TOOLS = Tools(definitions=[])


def chat_requests(
    ctx: Context,
    model: BaseModel | TunedModel,
    messages: list[dict[str, Any]],
    sampling: Sampling,
    num_choices: int,
    tools: Tools = NO_TOOLS,
) -> list[SampleRequest]:
    """One request for each choice of a chat completion."""
    request = replace(
        _request(ctx, model, sampling),
        messages=messages,
        tools=tools.offered() or None,
        required_tools=tools.required(),
        parallel_tool_calls=tools.in_parallel,
    )
    return _choices([request], num_choices)


def text_requests(
    ctx: Context,
    model: BaseModel | TunedModel,
    prompts: list[str | list[int]],
    sampling: Sampling,
    num_choices: int,
) -> list[SampleRequest]:
    """The choices of each prompt, prompt by prompt; a prompt is text or token ids."""
    request = _request(ctx, model, sampling)
    requests = [
        replace(request, prompt=prompt)
        if isinstance(prompt, str)
        else replace(request, prompt_token_ids=prompt)
        for prompt in prompts
    ]
    return _choices(requests, num_choices)


def embed_requests(
    ctx: Context, model: BaseModel | TunedModel, inputs: Iterable[str | list[int]]
) -> list[EmbedRequest]:
    """One request for each text, or list of token ids."""
    ctx.require(Scope.INFERENCE)
    base, adapter = _weights(ctx, model)
    return [
        EmbedRequest(
            request_id=uuid4().hex,
            base_model=base,
            adapter=adapter,
            text=given if isinstance(given, str) else None,
            token_ids=None if isinstance(given, str) else given,
        )
        for given in inputs
    ]


def unit_vector(embedding: tuple[float, ...], dimensions: int | None) -> list[float]:
    """The first so many dimensions of an embedding, or all of them, scaled to length 1."""
    if dimensions is not None and dimensions > len(embedding):
        raise InvalidRequest(
            f"The embeddings of this model have {len(embedding)} dimensions; ask for as many "
            "or fewer.",
            param="dimensions",
        )
    kept = embedding[:dimensions]
    length = math.hypot(*kept) or 1.0
    return [value / length for value in kept]


def _request(ctx: Context, model: BaseModel | TunedModel, sampling: Sampling) -> SampleRequest:
    ctx.require(Scope.INFERENCE)
    base, adapter = _weights(ctx, model)
    return SampleRequest(
        request_id="",
        base_model=base,
        adapter=adapter,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        repetition_penalty=sampling.repetition_penalty,
        stop=sampling.stop,
        seed=sampling.seed,
        logit_bias=sampling.logit_bias,
        top_logprobs=sampling.top_logprobs,
        echo=sampling.echo,
        json_schema=sampling.json_schema,
    )


def _weights(ctx: Context, model: BaseModel | TunedModel) -> tuple[BaseModel, AdapterSource | None]:
    if isinstance(model, BaseModel):
        return model, None
    base = ctx.store.models.find_base(model.base_model)
    if base is None:
        raise NotFound("withdrawn base model", model.base_model, param="model")
    if model.is_whole:
        return models.as_base(model, base), None
    return base, AdapterSource(id=model.id.hex, artifacts=model.artifacts)


def _choices(requests: list[SampleRequest], num_choices: int) -> list[SampleRequest]:
    """With a seed the choices still differ from each other, and repeat from call to call."""
    if num_choices > 1:  # each is sent to a worker with the whole of its prompt
        length = sum(len(repr(request)) for request in requests) * num_choices
        if length > MAX_TOTAL_LENGTH:
            raise InvalidRequest(
                "So many choices are too many for so long a prompt; ask for fewer.", param="n"
            )
    return [
        replace(
            request,
            request_id=uuid4().hex,
            seed=None if request.seed is None else request.seed + number,
        )
        for request in requests
        for number in range(num_choices)
    ]


def _name(tool: dict[str, Any]) -> str:
    return str(tool["function"]["name"])
