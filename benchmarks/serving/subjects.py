"""Who answers: this engine, or stock transformers and PEFT, each with the same eight prompts."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import torch

from benchmarks.serving.models import VOCABULARY
from tunesmith.engine.events import SampleDone, SampleFailed
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import SampleSpec

ROWS = 8  # of a batch
Subject = Callable[[int], int]  # writes so many tokens in each row; returns how many in all
Names = Sequence[str | None]  # of adapters, row by row; None: the base


def prompts(num_rows: int) -> list[list[int]]:
    """Of 16 to 128 tokens; of 64 where there is but one."""
    draw = random.Random(0)
    lengths = [16 * (row + 1) for row in range(num_rows)] if num_rows > 1 else [64]
    return [[draw.randrange(1, VOCABULARY) for _ in range(length)] for length in lengths]


def spec(row: int, prompt: list[int], adapter: str | None, num_tokens: int) -> SampleSpec:
    return SampleSpec(
        request_id=str(row),
        adapter_id=adapter,
        prompt_token_ids=prompt,
        max_tokens=num_tokens,
        temperature=0,
        ignore_end_of_text=True,
    )


def ours(model: BaseModel, names: Names) -> Subject:
    def answer(num_tokens: int) -> int:
        sampler = Sampler(model, max_prefix_bytes=0)
        for row, prompt in enumerate(prompts(len(names))):
            sampler.submit(spec(row, prompt, names[row], num_tokens))
        return drain(sampler)

    return answer


def drain(sampler: Sampler) -> int:
    """All that is asked for is answered; how many tokens were written."""
    written = 0
    while not sampler.is_idle:
        for event in sampler.step():
            if isinstance(event, SampleFailed):
                raise RuntimeError(event.message)
            written += event.completion_tokens if isinstance(event, SampleDone) else 0
    return written


def generate(model: Any, num_rows: int, names: list[str] | None) -> Subject:
    """A static batch, padded on the left."""
    rows = prompts(num_rows)
    width = max(map(len, rows))
    padded = torch.tensor([[0] * (width - len(row)) + row for row in rows])
    mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows])
    more = {} if names is None else {"adapter_names": names}

    def answer(num_tokens: int) -> int:
        return int(written(model, padded, mask, num_tokens, **more).numel())

    return answer


@torch.no_grad()
def written(
    model: Any, token_ids: torch.Tensor, mask: torch.Tensor, num_tokens: int, **more: Any
) -> torch.Tensor:
    """So many tokens behind each row, greedily."""
    output = model.generate(
        input_ids=token_ids,
        attention_mask=mask,
        max_new_tokens=num_tokens,
        min_new_tokens=num_tokens,
        do_sample=False,
        pad_token_id=0,
        **more,
    )
    new: torch.Tensor = output[:, token_ids.shape[1] :]
    return new
