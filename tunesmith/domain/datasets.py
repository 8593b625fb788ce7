"""Training files: their formats, and the checks that need no tokenizer."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from tunesmith.domain import conversations
from tunesmith.domain.conversations import bad, key_path
from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.rules import Rule

MIN_EXAMPLES = 10
MAX_LINE_BYTES = 16 * 1024 * 1024

TOO_FEW_EXAMPLES = "too_few_examples"
NOT_JSON_LINES = "not_json_lines"
UNKNOWN_FORMAT = "unknown_format"
EXTRA_KEY = "extra_key"
BAD_EXAMPLE = conversations.BAD_EXAMPLE

_CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
_COMPLETION_KEYS = frozenset({"prompt", "completion"})
_INSTRUCTION_KEYS = frozenset({"instruction", "input", "output"})
_TEXT_KEYS = frozenset({"text"})
_INPUT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls"})
# Each output under either of its names: OpenAI's guide and its published schema disagree.
_PREFERRED = ("preferred_output", "preferred_completion")
_NON_PREFERRED = ("non_preferred_output", "non_preferred_completion")
_PREFERENCE_KEYS = frozenset({"input", *_PREFERRED, *_NON_PREFERRED})
Kind = frozenset[str]  # the keys that rows of one format may have
_SURROGATE = re.compile(rb"\\u[dD]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    num_examples: int


def check_training_lines(
    lines: Iterable[bytes], method: Method = Method.SUPERVISED
) -> DatasetSummary:
    """Read a whole training file; raises `InvalidTrainingData` at the first row at fault.

    To learn from examples, rows are conversations (`messages`), pairs of `prompt` and `completion`,
    an `instruction` (which may have an `input`) with its `output`, or plain `text`, one kind in a
    file; to learn from preferences, they are `input` with two answers.
    Blank lines are passed over.
    """
    num_examples = 0
    first_kind: Kind | None = None
    for line, row in parse_lines(lines):
        first_kind = check_row(row, line, method, first_kind)
        num_examples += 1
    return DatasetSummary(num_examples=num_examples)


def check_row(row: dict[str, Any], line: int, method: Method, first_kind: Kind | None) -> Kind:
    """Its kind, which has to be that of the rows before; raises `InvalidTrainingData`."""
    check = _check_preference if method is Method.DPO else _check_example
    try:
        kind = check(row, line)
        if first_kind is not None and kind is not first_kind:
            raise _unknown(
                "The file mixes several formats; all of its lines must have the same.",
                Rule.MIXED_FORMATS,
            )
    except InvalidTrainingData as error:
        error.line = line
        raise
    return kind


def require_enough_examples(summary: DatasetSummary) -> None:
    if summary.num_examples < MIN_EXAMPLES:
        raise InvalidTrainingData(
            f"The file has {summary.num_examples} example(s), "
            f"but must have at least {MIN_EXAMPLES} examples.",
            code=TOO_FEW_EXAMPLES,
            rule=Rule.TOO_FEW_EXAMPLES,
        )


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, cut where they are too long, so that none fills the memory."""
    return iter(partial(file.readline, MAX_LINE_BYTES + 1), b"")


def parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, JSON object) of each line that is not blank."""
    for line, raw in enumerate(lines, start=1):
        if len(raw) > MAX_LINE_BYTES or raw.strip():
            yield line, parse_line(raw, line)


def parse_line(
    raw: bytes,
    line: int,
    to_object: Callable[[list[tuple[str, Any]]], dict[str, Any]] | None = None,
) -> dict[str, Any]:
    """The JSON object of a line that is not blank; raises `InvalidTrainingData`.

    `to_object` makes each object of its keys and values.
    """

    def fault(message: str, rule: Rule) -> InvalidTrainingData:
        return InvalidTrainingData(message, line=line, code=NOT_JSON_LINES, rule=rule)

    if len(raw) > MAX_LINE_BYTES:
        raise fault(f"The line is longer than {MAX_LINE_BYTES:,} bytes.", Rule.LINE_TOO_LONG)
    try:
        text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
        row = json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=to_object)
    except UnicodeDecodeError as error:
        raise fault("The line is not UTF-8 text.", Rule.NOT_UTF8) from error
    except (ValueError, RecursionError) as error:
        raise fault("The line is not valid JSON.", Rule.NOT_JSON) from error
    if not isinstance(row, dict):
        raise fault("The line is not a JSON object.", Rule.NOT_OBJECT)
    if _SURROGATE.search(raw) and not _is_unicode(row):
        raise InvalidTrainingData(
            "The text has half a character (a surrogate without its other half).",
            line=line,
            code=BAD_EXAMPLE,
            rule=Rule.HALF_CHARACTER,
        )
    return row


def _is_unicode(row: dict[str, Any]) -> bool:
    """JSON can escape halves of characters, which can then be neither stored nor tokenised."""
    try:
        json.dumps(row, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return False
    return True


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _check_example(row: dict[str, Any], line: int) -> frozenset[str]:
    if "messages" in row:
        _check_extra_keys(row, _CHAT_KEYS, line)
        messages = conversations.check_messages(row["messages"])
        conversations.check_learned(messages)
        conversations.check_tools(row, messages)
        return _CHAT_KEYS
    if "prompt" in row and "completion" in row:
        _check_extra_keys(row, _COMPLETION_KEYS, line)
        _check_texts(row, "completion")
        return _COMPLETION_KEYS
    if "instruction" in row and "output" in row:
        _check_extra_keys(row, _INSTRUCTION_KEYS, line)
        _check_texts(row, "output")
        return _INSTRUCTION_KEYS
    if "text" in row:
        _check_extra_keys(row, _TEXT_KEYS, line)
        _check_texts(row, "text")
        return _TEXT_KEYS
    if "input" in row:
        raise _unknown(
            "Unexpected file format: these are preferences, which the method dpo learns from; "
            "expected either prompt/completion pairs or chat messages."
        )
    raise _unknown(
        "Unexpected file format, expected either prompt/completion pairs or chat messages."
    )


def _check_preference(row: dict[str, Any], line: int) -> frozenset[str]:
    preferred = next((key for key in _PREFERRED if key in row), _PREFERRED[0])
    non_preferred = next((key for key in _NON_PREFERRED if key in row), _NON_PREFERRED[0])
    for key in ("input", preferred, non_preferred):
        if key not in row:
            raise _unknown(
                f"Example {line} is missing key '{key}'. To learn from preferences, each line "
                "needs input, preferred_output and non_preferred_output."
            )
    _check_extra_keys(row, frozenset({"input", preferred, non_preferred}), line)
    asked = row["input"]
    if not isinstance(asked, dict):
        raise bad("`input` must be an object that holds messages.", "$.input")
    _check_extra_keys(asked, _INPUT_KEYS, line, "input")
    messages = conversations.check_messages(asked.get("messages"), "input.messages")
    answers = [*_answer(row, preferred), *_answer(row, non_preferred)]
    if any(message.get("weight") is not None for message in [*messages, *answers]):
        raise bad(
            "A weight has no meaning in a preference example: both answers are learned from.",
            "$",
            Rule.BAD_WEIGHT,
        )
    conversations.check_tools(asked, [*messages, *answers], "$.input")
    return _PREFERENCE_KEYS


def _answer(row: dict[str, Any], key: str) -> list[dict[str, Any]]:
    try:
        answer = conversations.check_messages(row[key], key)
    except InvalidTrainingData as error:
        raise bad(f"`{key}`: {error.message}", error.path, error.rule) from error
    if len(answer) != 1 or answer[0]["role"] != "assistant":
        raise bad(f"`{key}` must be a list of exactly one assistant message.", f"$.{key}")
    return answer


def _check_extra_keys(
    row: dict[str, Any], allowed: frozenset[str], line: int, holder: str | None = None
) -> None:
    for key in row:
        if key not in allowed:
            where = f"Example {line}" if holder is None else f"The {holder} of example {line}"
            path = ("$" if holder is None else f"$.{holder}") + key_path(key)
            raise InvalidTrainingData(
                f'{where} contains an extra "{key[:64]}".',
                code=EXTRA_KEY,
                rule=Rule.EXTRA_KEY,
                path=path,
            )


def _check_texts(row: dict[str, Any], learned: str) -> None:
    for key, value in row.items():
        if not isinstance(value, str):
            raise bad(f"`{key}` must be text.", f"$.{key}", Rule.NOT_TEXT)
    if not row[learned]:
        raise bad(
            f"`{learned}` is empty, so there is nothing to learn.",
            f"$.{learned}",
            Rule.NOTHING_LEARNED,
        )


def _unknown(message: str, rule: Rule = Rule.UNKNOWN_FORMAT) -> InvalidTrainingData:
    return InvalidTrainingData(message, code=UNKNOWN_FORMAT, rule=rule)
