"""How many rows of a mixed batch say what they say alone: to this engine, and to stock PEFT."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch

from benchmarks.serving.subjects import Names, prompts, spec, written
from tunesmith.engine.events import SampleEvent, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler

Tokens = list[tuple[int, ...]]  # the bytes of each


def equal_rows(model: BaseModel, peft: Any, names: Names, num_tokens: int) -> tuple[int, int]:
    """Of the rows that are answered together; to say so the precision has to be fp32."""
    rows = prompts(len(names))
    together = _answers(model, names, rows, num_tokens, one_by_one=False)
    alone = _answers(model, names, rows, num_tokens, one_by_one=True)
    stock = [
        [model.vocabulary.token(token_id)[1] for token_id in _stock(peft, name, row, num_tokens)]
        for name, row in zip(names, rows, strict=True)
    ]
    return _num_equal(together, alone), _num_equal(together, stock)


def _answers(
    model: BaseModel, names: Names, rows: list[list[int]], num_tokens: int, *, one_by_one: bool
) -> list[Tokens]:
    sampler = Sampler(model, max_prefix_bytes=0)
    events: list[SampleEvent] = []
    for number, (name, row) in enumerate(zip(names, rows, strict=True)):
        # Log-probabilities come with the bytes of each token, half characters included.
        sampler.submit(replace(spec(number, row, name, num_tokens), top_logprobs=0))
        if one_by_one:
            events += _drained(sampler)
    events += _drained(sampler)
    told: list[Tokens] = [[] for _ in rows]
    for event in events:
        if isinstance(event, TextDelta):
            told[int(event.request_id)] += [token.token_bytes for token in event.logprobs]
    return told


def _drained(sampler: Sampler) -> Iterator[SampleEvent]:
    while not sampler.is_idle:
        yield from sampler.step()


def _stock(peft: Any, name: str | None, row: list[int], num_tokens: int) -> list[int]:
    token_ids = torch.tensor([row])
    mask = torch.ones_like(token_ids)
    if name is None:
        with peft.disable_adapter():
            found = written(peft, token_ids, mask, num_tokens)
    else:
        peft.set_adapter(name)
        found = written(peft, token_ids, mask, num_tokens)
    ids: list[int] = found[0].tolist()
    return ids


def _num_equal(some: list[Tokens], others: list[Tokens]) -> int:
    return sum(a == b for a, b in zip(some, others, strict=True))
