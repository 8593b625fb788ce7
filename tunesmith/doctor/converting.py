"""Rows of other formats as conversations."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from enum import StrEnum
from typing import Any

from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.rules import Rule

Row = dict[str, Any]

_ASKED = ("prompt", "question", "instruction", "input", "text", "query")
_ANSWERED = ("completion", "answer", "response", "output", "label", "category", "target")
_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "system": "system",
}


class Source(StrEnum):
    AUTO = "auto"
    CSV = "csv"
    PROMPT_COMPLETION = "prompt-completion"
    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"


def conversations(
    lines: Iterable[str],
    source: Source,
    *,
    columns: tuple[str, str] | None = None,
    system: str | None = None,
) -> Iterator[Row]:
    """Chat rows, one for each row of the source.

    `columns` name what is asked and what is answered, of a CSV file or of JSON rows of their own
    make. `system` is put before rows that have no system message. Raises InvalidTrainingData with
    the line.
    """
    rows = _csv_rows(lines) if source is Source.CSV else _json_rows(lines)
    for line, row in rows:
        convert = _by_columns(columns, row) if columns else _CONVERTERS[_kind(source, row, line)]
        try:
            messages = convert(row)
        except (KeyError, TypeError, ValueError) as error:
            said = error.args[0] if isinstance(error, ValueError) else f"{error} is missing"
            raise _refused(f"The row cannot be read: {said}.", line) from None
        if system is not None and messages[0]["role"] != "system":
            messages = [_message("system", system), *messages]
        yield {"messages": messages}


def _csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
    reader = csv.DictReader(lines)
    for row in reader:
        if None in row or None in row.values():
            raise _refused("The row has not as many values as the header has.", reader.line_num)
        yield reader.line_num, row


def _json_rows(lines: Iterable[str]) -> Iterator[tuple[int, Row]]:
    for line, text in enumerate(lines, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except ValueError as error:
            raise _refused(f"Not valid JSON: {error}.", line) from None
        if not isinstance(row, dict):
            raise _refused("A row must be a JSON object.", line)
        yield line, row


def _kind(source: Source, row: Row, line: int) -> Source:
    if source is not Source.AUTO:
        return source
    if "conversations" in row:
        return Source.SHAREGPT
    if "instruction" in row and "output" in row:
        return Source.ALPACA
    if "prompt" in row and "completion" in row:
        return Source.PROMPT_COMPLETION
    keys = ", ".join(row)
    raise _refused(
        f"No known format has the keys {keys}. Say what is asked and what is answered with "
        "--asked and --answered.",
        line,
    )


def _by_columns(columns: Sequence[str], row: Row) -> Callable[[Row], list[Row]]:
    return lambda row: _exchange(row[columns[0]], row[columns[1]])


def _table(row: Row) -> list[Row]:
    """The first column of a usual name, each."""
    names = {name.strip().lower(): name for name in row}
    asked = next((names[name] for name in _ASKED if name in names), None)
    answered = next((names[name] for name in _ANSWERED if name in names), None)
    if asked is None or answered is None:
        raise ValueError(f"name its columns ({', '.join(row)}) with --asked and --answered")
    return _exchange(row[asked], row[answered])


def _prompt_completion(row: Row) -> list[Row]:
    return _exchange(row["prompt"], row["completion"])


def _alpaca(row: Row) -> list[Row]:
    asked = row["instruction"]
    if row.get("input"):
        asked = f"{asked}\n\n{row['input']}"
    messages = _exchange(asked, row["output"])
    return [_message("system", row["system"]), *messages] if row.get("system") else messages


def _sharegpt(row: Row) -> list[Row]:
    messages = []
    for said in row["conversations"]:
        sender = str(said.get("from", said.get("role"))).lower()
        if sender not in _ROLES:
            raise ValueError(f"nobody knows who {sender!r} is")
        messages.append(_message(_ROLES[sender], said.get("value", said.get("content"))))
    if not messages:
        raise ValueError("nobody says anything")
    return messages


def _exchange(asked: Any, answered: Any) -> list[Row]:
    return [_message("user", asked), _message("assistant", answered)]


def _message(role: str, content: Any) -> Row:
    if not isinstance(content, str):
        raise ValueError(f"what the {role} says is no text")
    return {"role": role, "content": content.strip()}


_CONVERTERS: dict[Source, Callable[[Row], list[Row]]] = {
    Source.CSV: _table,
    Source.PROMPT_COMPLETION: _prompt_completion,
    Source.ALPACA: _alpaca,
    Source.SHAREGPT: _sharegpt,
}


def _refused(message: str, line: int) -> InvalidTrainingData:
    return InvalidTrainingData(message, line=line, rule=Rule.UNKNOWN_FORMAT)
