"""Answers from base and tuned models."""

from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import AdapterSource, SampleRequest
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import NotFound
from tunesmith.domain.models import TunedModel
from tunesmith.services.context import Context


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How to draw the tokens of an answer."""

    max_tokens: int | None = None
    temperature: float = 1.0
    top_p: float = 1.0
    frequency_penalty: float = 0.0
    presence_penalty: float = 0.0
    stop: tuple[str, ...] = ()
    seed: int | None = None


def chat_requests(
    ctx: Context,
    model: BaseModel | TunedModel,
    messages: list[dict[str, Any]],
    sampling: Sampling,
    num_choices: int,
) -> list[SampleRequest]:
    """One request for each choice of a chat completion."""
    request = _request(ctx, model, sampling)
    return _choices(replace(request, messages=messages), num_choices)


def text_requests(
    ctx: Context,
    model: BaseModel | TunedModel,
    prompts: list[str | list[int]],
    sampling: Sampling,
    num_choices: int,
) -> list[SampleRequest]:
    """The choices of each prompt, prompt by prompt; a prompt is text or token ids."""
    request = _request(ctx, model, sampling)
    requests = []
    for prompt in prompts:
        filled = (
            replace(request, prompt=prompt)
            if isinstance(prompt, str)
            else replace(request, prompt_token_ids=prompt)
        )
        requests += _choices(filled, num_choices)
    return requests


def _request(ctx: Context, model: BaseModel | TunedModel, sampling: Sampling) -> SampleRequest:
    ctx.require(Scope.INFERENCE)
    if isinstance(model, BaseModel):
        base, adapter = model, None
    else:
        found = ctx.store.models.find_base(model.base_model)
        if found is None:
            raise NotFound("base model", model.base_model)
        base, adapter = found, AdapterSource(id=model.id.hex, artifacts=model.artifacts)
    return SampleRequest(
        request_id="",
        base_model=base,
        adapter=adapter,
        max_tokens=sampling.max_tokens,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        frequency_penalty=sampling.frequency_penalty,
        presence_penalty=sampling.presence_penalty,
        stop=sampling.stop,
        seed=sampling.seed,
    )


def _choices(request: SampleRequest, num_choices: int) -> list[SampleRequest]:
    """With a seed the choices still differ from each other, and repeat from call to call."""
    return [
        replace(
            request,
            request_id=uuid4().hex,
            seed=None if request.seed is None else request.seed + number,
        )
        for number in range(num_choices)
    ]
