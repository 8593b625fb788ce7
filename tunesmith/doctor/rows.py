"""Rows as the rules look at them: all of their texts, and what is asked and answered."""

import json
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from tunesmith.doctor.findings import Keys

# Within a word they mean something: 3.5, x-1, a!=b.
_PUNCTUATION = re.compile(
    r"(?<!\w)[\"'\u201c\u2018(]+(?=\w)|[.,;:!?)\"'\u201d\u2019\u2026]+(?=\s|$)"
)
_INSTRUCTIONS = ("system", "developer")


@dataclass(frozen=True, slots=True)
class Content:
    """`asked` is empty where nothing is; `text` leaves out the instructions, which rows share."""

    asked: str
    answered: str
    instructions: str
    text: str


def texts(value: Any, keys: Keys = ()) -> Iterator[tuple[Keys, str]]:
    """Every text in a row, with the way to it."""
    if isinstance(value, str):
        yield keys, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(inner, (*keys, key))
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, (*keys, index))


def content(row: dict[str, Any]) -> Content:
    """Of a row whose form is right."""
    if "messages" in row:
        messages = row["messages"]
        last = max(i for i, message in enumerate(messages) if message["role"] == "assistant")
        beside = {key: value for key, value in row.items() if key != "messages"}
        return _conversation([messages[:last], beside], _taught(messages[last]), messages)
    if isinstance(row.get("input"), dict):
        answers = {key: value for key, value in row.items() if key != "input"}
        said = [message for answer in answers.values() for message in answer]
        return _conversation(row["input"], answers, [*row["input"]["messages"], *said])
    learned = next(key for key in ("completion", "output", "text") if key in row)
    asked = {key: value for key, value in row.items() if key != learned}
    return Content(canonical(asked) if asked else "", row[learned], "", "\n".join(row.values()))


def _conversation(asked: Any, answered: Any, messages: list[dict[str, Any]]) -> Content:
    parts: tuple[list[str], list[str]] = ([], [])
    for message in messages:
        parts[message["role"] not in _INSTRUCTIONS].append(_said(message))
    instructions, text = ("\n".join(part) for part in parts)
    return Content(canonical(asked), canonical(answered), instructions, text)


def _said(message: dict[str, Any]) -> str:
    taught = _taught(message)
    return (
        f"{taught['content']}\n{canonical(taught['calls'])}" if taught["calls"] else spoken(message)
    )


def _taught(message: dict[str, Any]) -> dict[str, Any]:
    """What is taught: not the ids of calls, which are chance."""
    calls = message.get("tool_calls") or ()
    return {
        "content": spoken(message),
        "calls": [call["function"] for call in calls] or message.get("function_call"),
    }


def spoken(message: dict[str, Any]) -> str:
    said = message.get("content") or message.get("refusal") or ""
    if isinstance(said, str):
        return said
    return "".join(part.get("text") or part.get("refusal") or "" for part in said)


def canonical(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def normalised(text: str) -> str:
    """As it sounds: no case, no marks around words, no compatibility forms."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(_PUNCTUATION.sub("", text.casefold()).split())


def digest(text: str) -> int:
    """64 bits: among a million rows, two that differ share one with a chance of 1 in 30 million."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big")
