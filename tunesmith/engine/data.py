"""A training file -> examples, and the order in which a run meets them."""

import hashlib
import json
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from tunesmith.engine import chat
from tunesmith.engine.chat import Example
from tunesmith.engine.errors import BadConversation, BadExample
from tunesmith.engine.events import Reading

_ROWS_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    examples: list[Example]
    num_truncated: int
    sha256: str  # of the file's bytes

    @property
    def num_tokens(self) -> int:
        return sum(len(example.token_ids) for example in self.examples)

    @property
    def num_supervised_tokens(self) -> int:
        return sum(example.num_supervised_tokens for example in self.examples)


def read(
    path: Path, tokenizer: Any, max_length_tokens: int, *, file: str = "training"
) -> Generator[Reading, None, Dataset]:
    """Read JSON lines of conversations or prompt-completion pairs; raises BadExample.

    Yields now and then: a large file takes minutes, in which others want the device.
    """
    content = path.read_bytes()
    examples = []
    num_truncated = 0
    for line, row in enumerate(content.split(b"\n"), start=1):
        if not row.strip():
            continue
        try:
            example = _encode(row, tokenizer)
            kept = _truncated(example, max_length_tokens)
        except BadConversation as error:
            raise BadExample(error.message, line=line, file=file) from error
        num_truncated += kept is not example
        examples.append(kept)
        if len(examples) % _ROWS_AT_A_TIME == 0:
            yield Reading(num_rows=len(examples))
    if not examples:
        raise BadExample(f"The {file} file holds no examples.", line=1, file=file)
    return Dataset(examples, num_truncated, hashlib.sha256(content).hexdigest())


def _encode(row: bytes, tokenizer: Any) -> Example:
    try:
        value = json.loads(row)
    except ValueError as error:
        raise BadConversation(f"Not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadConversation("A row must be a JSON object.")
    if "messages" in value:
        messages = value["messages"]
        if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
            raise BadConversation("`messages` must be a list of objects.")
        return chat.encode_conversation(tokenizer, messages, value.get("tools"))
    prompt, completion = value.get("prompt"), value.get("completion")
    if not isinstance(prompt, str) or not isinstance(completion, str):
        raise BadConversation("A row needs `messages`, or `prompt` and `completion` as text.")
    return chat.encode_completion(tokenizer, prompt, completion)


def _truncated(example: Example, max_length_tokens: int) -> Example:
    if len(example.token_ids) <= max_length_tokens:
        return example
    kept = Example(
        example.token_ids[:max_length_tokens],
        example.loss_mask[:max_length_tokens],
    )
    if not any(kept.loss_mask):
        raise BadConversation(
            f"All tokens to learn lie beyond the limit of {max_length_tokens} tokens; "
            f"the row has {len(example.token_ids)}."
        )
    return kept


@dataclass(frozen=True, slots=True)
class BatchOrder:
    """Which examples each step takes: a pure function of the step, so resuming needs no state."""

    num_examples: int
    batch_size: int
    num_epochs: int
    seed: int

    @property
    def steps_per_epoch(self) -> int:
        return -(-self.num_examples // self.batch_size)

    @property
    def total_steps(self) -> int:
        return self.steps_per_epoch * self.num_epochs

    def batch(self, step: int) -> tuple[int, ...]:
        """The examples of a step, which counts from 1; an epoch's last batch may be smaller."""
        epoch, position = divmod(step - 1, self.steps_per_epoch)
        start = position * self.batch_size
        return shuffled(self.num_examples, self.seed, epoch)[start : start + self.batch_size]

    def epoch_ended_by(self, step: int) -> int | None:
        epoch, rest = divmod(step, self.steps_per_epoch)
        return epoch if rest == 0 else None


@lru_cache(maxsize=2)
def shuffled(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return tuple(torch.randperm(count, generator=generator).tolist())
