"""What the answers to one request take, counted as they come."""

from tunesmith.domain.assignments import SampleOutput, SamplePart
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.models import TunedModel
from tunesmith.domain.quotas import day_of
from tunesmith.domain.usage import Account, Spent
from tunesmith.services.consumption import Consumption
from tunesmith.services.context import Context


class Meter:
    """A prompt counts once for all of its answers; an answer that nobody waits for counts as far
    as it came."""

    def __init__(self, consumption: Consumption, account: Account, answers_per_prompt: int) -> None:
        self._consumption = consumption
        self._account = account
        self._answers_per_prompt = answers_per_prompt
        self._prompt_tokens: dict[int, int] = {}
        self._completion_tokens: dict[int, int] = {}

    def see(self, index: int, output: SampleOutput) -> None:
        """A piece of the answer of that place, in the order of the requests to workers."""
        if output.part in (SamplePart.DONE, SamplePart.EMBEDDING):
            self._prompt_tokens[index] = output.prompt_tokens
            self._completion_tokens[index] = output.completion_tokens
        else:
            so_far = self._completion_tokens.get(index, 0)
            self._completion_tokens[index] = so_far + output.completion_tokens

    def close(self) -> None:
        """What failed before anything came is not counted."""
        if not self._completion_tokens:
            return
        prompts = self._prompt_tokens.items()
        spent = Spent(
            requests=1,
            prompt_tokens=sum(n for i, n in prompts if i % self._answers_per_prompt == 0),
            completion_tokens=sum(self._completion_tokens.values()),
        )
        self._consumption.note(self._account, spent)


def meter(ctx: Context, model: BaseModel | TunedModel, *, answers_per_prompt: int = 1) -> Meter:
    account = Account(
        organization_id=ctx.owner,
        day=day_of(ctx.now()),
        key_id=ctx.key.id,
        base_model=model.name if isinstance(model, BaseModel) else model.base_model,
        short_id="" if isinstance(model, BaseModel) else model.short_id,
    )
    return Meter(ctx.house.consumption, account, answers_per_prompt)
