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
_UNSEEN = re.compile(  # spaces, joiners, marks of direction, fillers
    r"[\s\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180e\u200b-\u200f\u2028-\u202e"
    r"\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb]*"
)


@dataclass(frozen=True, slots=True)
class Content:
    """`asked` is empty where nothing is.

    `question` and `reply` are what is said, without the instructions, which rows share, and
    without what stands `beside` the messages.
    """

    asked: str
    answered: str
    instructions: str
    beside: str
    question: str
    reply: str

    @property
    def text(self) -> str:
        return f"{self.question}\n{self.reply}"


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
        taught = canonical(_taught(messages[last]))
        before, after = messages[:last], messages[last:]
        return _conversation(canonical([before, beside]), taught, beside, before, after)
    if isinstance(row.get("input"), dict):
        answers = {key: value for key, value in row.items() if key != "input"}
        said = [message for answer in answers.values() for message in answer]
        before = row["input"]["messages"]
        beside = {key: value for key, value in row["input"].items() if key != "messages"}
        return _conversation(canonical(row["input"]), canonical(answers), beside, before, said)
    learned = next(key for key in ("completion", "output", "text") if key in row)
    asked = {key: value for key, value in row.items() if key != learned}
    question = "\n".join(asked.values())
    return Content(canonical(asked) if asked else "", row[learned], "", "", question, row[learned])


def _conversation(
    asked: str,
    answered: str,
    beside: dict[str, Any],
    before: list[dict[str, Any]],
    after: list[dict[str, Any]],
) -> Content:
    instructions = (m for m in (*before, *after) if m["role"] in _INSTRUCTIONS)
    question, reply = (
        (m for m in part if m["role"] not in _INSTRUCTIONS) for part in (before, after)
    )
    texts = ("\n".join(map(_said, part)) for part in (instructions, question, reply))
    instructed, questioned, replied = texts
    beside_them = canonical(beside) if beside else ""
    return Content(asked, answered, instructed, beside_them, questioned, replied)


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


def is_blank(text: str) -> bool:
    """Whether nothing of it can be seen."""
    return _UNSEEN.fullmatch(text) is not None


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
