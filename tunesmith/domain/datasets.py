"""Training files: their formats, and the checks that need no tokenizer."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, BinaryIO

from tunesmith.domain.errors import InvalidTrainingData

MIN_EXAMPLES = 10
MAX_LINE_BYTES = 16 * 1024 * 1024

TOO_FEW_EXAMPLES = "too_few_examples"
NOT_JSON_LINES = "not_json_lines"
UNKNOWN_FORMAT = "unknown_format"
EXTRA_KEY = "extra_key"
BAD_EXAMPLE = "bad_example"

_CHAT_KEYS = frozenset({"messages", "tools", "parallel_tool_calls", "functions"})
_COMPLETION_KEYS = frozenset({"prompt", "completion"})
_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_SURROGATE = re.compile(rb"\\u[dD]")


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSummary:
    num_examples: int


def check_training_lines(lines: Iterable[bytes]) -> DatasetSummary:
    """Read a whole training file; raises `InvalidTrainingData` at the first row at fault.

    Rows are conversations (`messages`) or pairs of `prompt` and `completion`, one kind in a file.
    Blank lines are passed over.
    """
    num_examples = 0
    first_kind: frozenset[str] | None = None
    for line, row in parse_lines(lines):
        kind = _check_row(row, line)
        if first_kind is not None and kind is not first_kind:
            raise InvalidTrainingData(
                "The file mixes conversations and prompt/completion pairs; use one kind.",
                line=line,
                code=UNKNOWN_FORMAT,
            )
        first_kind = kind
        num_examples += 1
    return DatasetSummary(num_examples=num_examples)


def require_enough_examples(summary: DatasetSummary) -> None:
    if summary.num_examples < MIN_EXAMPLES:
        raise InvalidTrainingData(
            f"The file has {summary.num_examples} example(s), "
            f"but must have at least {MIN_EXAMPLES} examples.",
            code=TOO_FEW_EXAMPLES,
        )


def read_lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file, cut where they are too long, so that none fills the memory."""
    return iter(partial(file.readline, MAX_LINE_BYTES + 1), b"")


def parse_lines(lines: Iterable[bytes]) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number from 1, JSON object) of each line that is not blank."""
    for line, raw in enumerate(lines, start=1):
        if len(raw) > MAX_LINE_BYTES:
            raise InvalidTrainingData(
                f"The line is longer than {MAX_LINE_BYTES:,} bytes.", line=line, code=NOT_JSON_LINES
            )
        if not raw.strip():
            continue
        yield line, _parse_line(raw, line)


def _parse_line(raw: bytes, line: int) -> dict[str, Any]:
    try:
        text = raw.decode("utf-8-sig" if line == 1 else "utf-8")
        row = json.loads(text, parse_constant=_refuse_constant)
    except UnicodeDecodeError as error:
        raise InvalidTrainingData(
            "The line is not UTF-8 text.", line=line, code=NOT_JSON_LINES
        ) from error
    except (ValueError, RecursionError) as error:
        raise InvalidTrainingData(
            "The line is not valid JSON.", line=line, code=NOT_JSON_LINES
        ) from error
    if not isinstance(row, dict):
        raise InvalidTrainingData("The line is not a JSON object.", line=line, code=NOT_JSON_LINES)
    if _SURROGATE.search(raw) and not _is_unicode(row):
        raise _bad("The text has half a character (a surrogate without its other half).", line)
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


def _check_row(row: dict[str, Any], line: int) -> frozenset[str]:
    if "messages" in row:
        _check_extra_keys(row, _CHAT_KEYS, line)
        _check_conversation(row["messages"], line)
        return _CHAT_KEYS
    if "prompt" in row and "completion" in row:
        _check_extra_keys(row, _COMPLETION_KEYS, line)
        _check_pair(row, line)
        return _COMPLETION_KEYS
    raise InvalidTrainingData(
        "Unexpected file format, expected either prompt/completion pairs or chat messages.",
        line=line,
        code=UNKNOWN_FORMAT,
    )


def _check_extra_keys(row: dict[str, Any], allowed: frozenset[str], line: int) -> None:
    for key in row:
        if key not in allowed:
            raise InvalidTrainingData(
                f'The example contains an extra "{key[:64]}".', line=line, code=EXTRA_KEY
            )


def _check_conversation(messages: Any, line: int) -> None:
    if not isinstance(messages, list) or not messages:
        raise _bad("`messages` must be a list of at least one message.", line)
    for position, message in enumerate(messages, start=1):
        _check_message(message, position, line)
    if not any(message["role"] == "assistant" for message in messages):
        raise _bad("There is no message with the role assistant to learn from.", line)


def _check_message(message: Any, position: int, line: int) -> None:
    if not isinstance(message, dict):
        raise _bad(f"Message {position} is not an object.", line)
    role = message.get("role")
    if role not in _ROLES:
        raise _bad(f"Message {position} has no known role (it says {str(role)[:64]!r}).", line)
    weight = message.get("weight")
    if weight is not None and (role != "assistant" or weight not in (0, 1)):
        raise _bad(f"Message {position}: weight is 0 or 1, on assistant messages only.", line)
    content = message.get("content")
    if content is None:
        if role == "assistant" and (message.get("tool_calls") or message.get("function_call")):
            return
        raise _bad(f"Message {position} has no content.", line)
    if not isinstance(content, str | list):
        raise _bad(f"Message {position}: content must be text or a list of parts.", line)
    if isinstance(content, list) and not all(map(_is_text_part, content)):
        raise _bad(f"Message {position}: only parts of type text can be trained on.", line)


def _is_text_part(part: Any) -> bool:
    return (
        isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)
    )


def _check_pair(row: dict[str, Any], line: int) -> None:
    for key in ("prompt", "completion"):
        if not isinstance(row[key], str):
            raise _bad(f"`{key}` must be text.", line)
    if not row["completion"]:
        raise _bad("`completion` is empty, so there is nothing to learn.", line)


def _bad(message: str, line: int) -> InvalidTrainingData:
    return InvalidTrainingData(message, line=line, code=BAD_EXAMPLE)
