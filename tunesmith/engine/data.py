"""A training file -> rows to learn from, and the order in which a run meets them."""

import hashlib
import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import torch

from tunesmith.engine import chat, examples, functions
from tunesmith.engine.errors import BadConversation, BadExample
from tunesmith.engine.events import Reading
from tunesmith.engine.examples import Example, Pair, Row, Turns
from tunesmith.engine.rendering import Message
from tunesmith.engine.spec import Method

ROWS_AT_A_TIME = 100  # between two breathing points


class Dataset:
    """The rows of a file, each of which is tokenised when it is first needed.

    `read_on` goes through the file in order, for as long as the run leaves time. Raises BadExample
    wherever a row is read.
    """

    def __init__(
        self, content: bytes, encode: Callable[[dict[str, Any]], Row], limit: int, file: str
    ) -> None:
        """`limit` is how many tokens of an example are kept; `file` is what errors call it."""
        self.sha256 = hashlib.sha256(content).hexdigest()
        numbered = enumerate(content.split(b"\n"), start=1)
        self._lines = [(line, raw) for line, raw in numbered if raw.strip()]
        if not self._lines:
            raise BadExample(f"The {file} file holds no examples.", line=1, file=file)
        self._encode = encode
        self._limit = limit
        self._file = file
        self._rows: list[Row | None] = [None] * len(self._lines)
        self._num_in_order = 0  # so many from the first on have been read
        self._mask = MaskDigest()  # of these
        self.num_truncated = 0
        self.num_lost_tokens = 0  # supervised, and beyond the limit
        self.num_texts_more = 0  # than rows, as answers have texts of their own

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, index: int) -> Row:
        row = self._rows[index]
        if row is None:
            row = self._rows[index] = self._read(index)
        return row

    @property
    def rows(self) -> list[Row]:
        return [self[index] for index in range(len(self))]

    @property
    def rows_met(self) -> list[Row | None]:
        """None where a row has not been read yet."""
        return list(self._rows)

    @property
    def is_read(self) -> bool:
        return self._num_in_order == len(self)

    def read_on(self) -> Reading:
        """The next rows in order."""
        end = min(self._num_in_order + ROWS_AT_A_TIME, len(self))
        for index in range(self._num_in_order, end):
            self._mask.add(self[index])
        self._num_in_order = end
        return Reading(num_rows=end)

    @property
    def mask_sha256(self) -> str:
        """Of the rows that were read in order: all of them, once the file `is_read`."""
        return self._mask.hexdigest()

    @property
    def num_tokens(self) -> int:
        return sum(map(examples.num_tokens, self.rows))

    @property
    def num_supervised_tokens(self) -> int:
        return sum(map(examples.num_supervised_tokens, self.rows))

    def _read(self, index: int) -> Row:
        line, raw = self._lines[index]
        try:
            row = self._encode(_parsed(raw))
            kept = _truncated_row(row, self._limit)
        except BadConversation as error:
            for earlier in range(self._num_in_order, index):  # the first at fault is to be told
                self[earlier]
            raise BadExample(error.message, line=line, file=self._file) from error
        self.num_truncated += examples.num_tokens(kept) < examples.num_tokens(row)
        lost = examples.num_supervised_tokens(row) - examples.num_supervised_tokens(kept)
        self.num_lost_tokens += lost
        if isinstance(kept, Turns):
            self.num_texts_more += len(kept.examples) - 1
        return kept


def open_file(
    path: Path,
    tokenizer: Any,
    max_length_tokens: int,
    *,
    method: Method = "supervised",
    file: str = "training",
) -> Dataset:
    """JSON lines: one of the formats of examples, or preferences for DPO."""
    encode = _ENCODERS[method]
    content = path.read_bytes()
    return Dataset(content, lambda value: encode(value, tokenizer), max_length_tokens, file)


class MaskDigest:
    """The mask certificate: SHA-256 over which tokens of which rows are learned.

    Of each text, in the file's order (of a row with several in that of its answers, of preferences
    the preferred one first): the number of its tokens and their ids, as 32 bits each, least byte
    first; then a byte for each, 1 where it carries loss.
    """

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, row: Row) -> None:
        for example in row.examples:
            numbers = [len(example.token_ids), *example.token_ids]
            self._digest.update(struct.pack(f"<{len(numbers)}I", *numbers))
            self._digest.update(bytes(example.loss_mask))

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


def encode_line(
    raw: bytes, tokenizer: Any, max_length_tokens: int, method: Method | None = None
) -> tuple[Row, Row]:
    """A row, whole and as far as it is kept. Without a method its form tells it."""
    value = _parsed(raw)
    is_preference = isinstance(value.get("input"), dict)
    row = _ENCODERS[method or ("dpo" if is_preference else "supervised")](value, tokenizer)
    return row, _truncated_row(row, max_length_tokens)


def _parsed(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw)
    except ValueError as error:
        raise BadConversation(f"Not valid JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BadConversation("A row must be a JSON object.")
    return value


def _encode_example(value: dict[str, Any], tokenizer: Any) -> Row:
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


def _instruction(value: dict[str, Any]) -> list[Message]:
    """As it will be asked: in a conversation, with what the instruction is about below it."""
    instruction, about, output = _texts({"input": "", **value}, "instruction", "input", "output")
    if not output:
        raise BadConversation("The output is empty: there is nothing to learn.")
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
    before = _messages(asked, "messages")
    if "functions" in asked:
        raise BadConversation("`input` takes `tools`, not the older `functions`.")

    def encode(*spellings: str) -> Example:
        key = next((key for key in spellings if key in value), spellings[0])
        answer = _messages(value, key)
        if len(answer) != 1 or answer[0].get("role") != "assistant":
            raise BadConversation(f"`{key}` must be a list of one assistant message.")
        if any(message.get("weight") is not None for message in [*before, *answer]):
            raise BadConversation("A preference has no `weight`: both answers are learned from.")
        return chat.encode_answer(tokenizer, [*before, *answer], asked.get("tools"))

    chosen = encode("preferred_output", "preferred_completion")
    return Pair(chosen, encode("non_preferred_output", "non_preferred_completion"))


def _messages(value: dict[str, Any], key: str) -> list[Message]:
    messages = value.get(key)
    if not isinstance(messages, list) or not all(isinstance(m, dict) for m in messages):
        raise BadConversation(f"`{key}` must be a list of objects.")
    return messages


_ENCODERS: dict[Method, Callable[[dict[str, Any], Any], Row]] = {
    "supervised": _encode_example,
    "dpo": _encode_pair,
}


def _truncated_row(row: Row, max_length_tokens: int) -> Row:
    """Answers that lie beyond the limit are left out; a preference needs both of its own."""
    if all(len(example.token_ids) <= max_length_tokens for example in row.examples):
        return row
    kept = [_truncated(example, max_length_tokens) for example in row.examples]
    learned = [example for example in kept if any(example.loss_mask)]
    if not learned or (isinstance(row, Pair) and len(learned) < len(kept)):
        which = "one of its answers has" if learned else "the row has"
        raise BadConversation(
            f"All tokens to learn lie beyond the limit of {max_length_tokens} tokens; "
            f"{which} {max(len(example.token_ids) for example in row.examples)}."
        )
    if not isinstance(row, Pair):
        return learned[0] if len(learned) == 1 else Turns(tuple(learned))
    if kept[0] == kept[1] and row.chosen != row.rejected:
        raise BadConversation(
            f"The two answers differ beyond the limit of {max_length_tokens} tokens alone."
        )
    chosen, rejected = kept
    return Pair(chosen, rejected)


def _truncated(example: Example, max_length_tokens: int) -> Example:
    return Example(example.token_ids[:max_length_tokens], example.loss_mask[:max_length_tokens])


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
