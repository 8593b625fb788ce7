"""A training file -> rows to learn from, and the order in which a run meets them."""

import hashlib
import json
from collections.abc import Callable, Generator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch

from tunesmith.engine import chat, examples, functions
from tunesmith.engine.errors import BadConversation, BadExample
from tunesmith.engine.events import Reading
from tunesmith.engine.examples import Example, Pair, Row
from tunesmith.engine.spec import Method

_ROWS_AT_A_TIME = 100


@dataclass(frozen=True, slots=True)
class Dataset:
    rows: list[Row]
    num_truncated: int
    num_lost_tokens: int  # supervised, and beyond the limit
    sha256: str  # of the file's bytes

    @property
    def num_tokens(self) -> int:
        return sum(map(examples.num_tokens, self.rows))

    @property
    def num_supervised_tokens(self) -> int:
        return sum(map(examples.num_supervised_tokens, self.rows))


def read(
    path: Path,
    tokenizer: Any,
    max_length_tokens: int,
    *,
    method: Method = "supervised",
    file: str = "training",
) -> Generator[Reading, None, Dataset]:
    """Read JSON lines: one of the formats of examples, or preferences for DPO.

    Yields now and then: a large file takes minutes, in which others want the device. Raises
    BadExample.
    """
    content = path.read_bytes()
    rows: list[Row] = []
    num_truncated = num_lost = 0
    encode = _ENCODERS[method]
    for line, raw in enumerate(content.split(b"\n"), start=1):
        if not raw.strip():
            continue
        try:
            row = encode(_parsed(raw), tokenizer)
            kept = _truncated_row(row, max_length_tokens)
        except BadConversation as error:
            raise BadExample(error.message, line=line, file=file) from error
        num_truncated += examples.num_tokens(kept) < examples.num_tokens(row)
        num_lost += examples.num_supervised_tokens(row) - examples.num_supervised_tokens(kept)
        rows.append(kept)
        if len(rows) % _ROWS_AT_A_TIME == 0:
            yield Reading(num_rows=len(rows))
    if not rows:
        raise BadExample(f"The {file} file holds no examples.", line=1, file=file)
    return Dataset(rows, num_truncated, num_lost, hashlib.sha256(content).hexdigest())


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise BadConversation(f"Not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadConversation("A row must be a JSON object.")
    return value


def _encode_example(value: dict[str, Any], tokenizer: Any) -> Example:
    if "messages" in value:
        tools = value.get("tools") or functions.as_tools(value.get("functions"))
        return chat.encode_conversation(tokenizer, _messages(value, "messages"), tools)
    if "instruction" in value:
        return chat.encode_conversation(tokenizer, _instruction(value))
    if "text" in value:
        (text,) = _texts(value, "text")
        return chat.encode_completion(tokenizer, "", text)
    prompt, completion = _texts(value, "prompt", "completion")
    return chat.encode_completion(tokenizer, prompt, completion)


def _instruction(value: dict[str, Any]) -> list[chat.Message]:
    """As it will be asked: in a conversation, with what the instruction is about below it."""
    instruction, about, output = _texts({"input": "", **value}, "instruction", "input", "output")
    asked = f"{instruction}\n\n{about}" if about else instruction
    return [{"role": "user", "content": asked}, {"role": "assistant", "content": output}]


def _texts(value: dict[str, Any], *keys: str) -> list[str]:
    texts = [value.get(key) for key in keys]
    if not all(isinstance(text, str) for text in texts):
        raise BadConversation(
            "A row needs `messages`, or as text: `prompt` and `completion`, `instruction` and "
            "`output`, or `text`."
        )
    return cast(list[str], texts)


def _encode_pair(value: dict[str, Any], tokenizer: Any) -> Pair:
    """Learned from are the two answers alone, not what the assistant said before them."""
    asked = value.get("input")
    if not isinstance(asked, dict):
        raise BadConversation("A row needs `input` as an object.")
    before = [
        {**message, "weight": 0} if message.get("role") == "assistant" else message
        for message in _messages(asked, "messages")
    ]

    def encode(*spellings: str) -> Example:
        key = next((key for key in spellings if key in value), spellings[0])
        answer = _messages(value, key)
        if len(answer) != 1 or answer[0].get("role") != "assistant":
            raise BadConversation(f"`{key}` must be a list of one assistant message.")
        return chat.encode_conversation(tokenizer, [*before, *answer], asked.get("tools"))

    chosen = encode("preferred_output", "preferred_completion")
    return Pair(chosen, encode("non_preferred_output", "non_preferred_completion"))


def _messages(value: dict[str, Any], key: str) -> list[chat.Message]:
    messages = value.get(key)
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise BadConversation(f"`{key}` must be a list of objects.")
    return messages


_ENCODERS: dict[Method, Callable[[dict[str, Any], Any], Row]] = {
    "supervised": _encode_example,
    "dpo": _encode_pair,
}


def _truncated_row(row: Row, max_length_tokens: int) -> Row:
    if isinstance(row, Example):
        return _truncated(row, max_length_tokens)
    chosen, rejected = (_truncated(example, max_length_tokens) for example in row.examples)
    return Pair(chosen, rejected)


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


@lru_cache(maxsize=16)  # one for each of the runs that train together
def shuffled(count: int, seed: int, epoch: int) -> tuple[int, ...]:
    generator = torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
    return tuple(torch.randperm(count, generator=generator).tolist())
