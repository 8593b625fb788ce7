"""Wire <-> domain: what all kinds of answers have in common."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from typing import Any
from uuid import uuid4

from tunesmith.dialects.openai import schemas_answers as schemas
from tunesmith.dialects.openai.translate import model_name, outer_id, seconds
from tunesmith.domain.assignments import SampleOutput
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.models import TunedModel
from tunesmith.services.inference import Sampling, ToolUse

LEAST_LOGPROB = -9999.0  # what the original says of the very unlikely
TOOL_USES = {
    "none": ToolUse.FORBIDDEN,
    "auto": ToolUse.FREE,
    "required": ToolUse.REQUIRED,
    "function": ToolUse.REQUIRED,
}
_VERSION = version("tunesmith")


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """What an answer and all of its chunks begin with."""

    id: str
    created: int
    model: str

    @property
    def fingerprint(self) -> str:
        """Changes where the same seed may give another answer: with the model and the version."""
        return "fp_" + sha256(f"{_VERSION} {self.model}".encode()).hexdigest()[:10]


def head(prefix: str, model: BaseModel | TunedModel, now: datetime) -> Head:
    return Head(id=new_id(prefix), created=seconds(now), model=model_name(model))


def new_id(prefix: str) -> str:
    return outer_id(prefix, uuid4())


def sampling(
    body: schemas.CreateChoices,
    *,
    max_tokens: int | None,
    top_logprobs: int | None,
    echo: bool = False,
    json_schema: dict[str, Any] | None = None,
) -> Sampling:
    return Sampling(
        max_tokens=max_tokens,
        temperature=1.0 if body.temperature is None else body.temperature,
        top_p=1.0 if body.top_p is None else body.top_p,
        frequency_penalty=body.frequency_penalty or 0.0,
        presence_penalty=body.presence_penalty or 0.0,
        stop=body.stop,
        seed=body.seed,
        logit_bias=body.logit_bias,
        top_logprobs=top_logprobs,
        echo=echo,
        json_schema=json_schema,
    )


def logprob(value: float) -> float:
    """JSON has no infinity."""
    return max(value, LEAST_LOGPROB)


def token_counts(ends: Sequence[SampleOutput], num_per_prompt: int) -> tuple[int, int]:
    """Of the prompts and of the answers; the answers to a prompt share it."""
    prompt_tokens = sum(end.prompt_tokens for end in ends[::num_per_prompt])
    return prompt_tokens, sum(end.completion_tokens for end in ends)
