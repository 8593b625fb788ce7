"""Finds the calls of tools in an answer's text while it comes."""

import json
import re
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from tunesmith.engine.text_stream import overlap
from tunesmith.engine.tool_format import CALL_ID, ToolFormat


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse)
_BLANKS = re.compile(r"\s*")
_LINE_WITH_OBJECT = re.compile(r"(?:\A|\n)[ \t]*\[?\s*(?=\{|\Z)")
_BEFORE_OBJECT = re.compile(r"\s*\[?\s*(?=\{)")


@dataclass(frozen=True, slots=True)
class Said:
    """Text for the asker; `end` is where it ends in all that was pushed."""

    text: str
    end: int


@dataclass(frozen=True, slots=True)
class Called:
    """A whole call; its text, up to `end`, is nobody's. `arguments` is as the model wrote it."""

    name: str
    arguments: str
    end: int


Part = Said | Called


class _Place(Enum):
    TEXT = auto()
    CALL = auto()
    BEHIND_CALL = auto()


class ToolReader:
    """Text in, text and calls out. What turns out to be no call comes out as text, later."""

    def __init__(self, form: ToolFormat, names: frozenset[str]) -> None:
        self._form = form
        self._names = names
        self._marker = form.marker
        self._closing = form.closing
        is_list = "[" in form.begin.partition("{")[0].removeprefix(self._marker)
        self._is_list = is_list
        self._behind = re.compile(r"[\s,;\[\]]*" if is_list else r"[\s,;]*")
        glue = r"\w+".join(re.escape(part.strip()) for part in form.middle.split(CALL_ID))
        self._name = re.compile(rf"\s*([\w.-]+?)\s*{glue}\s*(?=\{{)")
        self._pending = ""
        self._call_at = 0  # where in there a call begins, with the blanks before it
        self.end = 0  # of what has come out or was passed over, in characters
        self._place = _Place.TEXT

    def special_ids(self, tokenizer: Any) -> frozenset[int]:
        """Special tokens that calls are written with, and that therefore must be in the text."""
        form = self._form
        written = form.begin + form.middle + form.end + (form.between or "")
        added = tokenizer.added_tokens_decoder.items()
        return frozenset(i for i, t in added if t.special and t.content in written)

    def push(self, text: str) -> list[Part]:
        self._pending += text
        if self._place is _Place.CALL and not {"}", self._closing[-1:]} & set(text):
            return []  # it cannot have become whole
        return self._read(is_last=False)

    def finish(self) -> list[Part]:
        """All that is left; a call that is not whole is text."""
        return self._read(is_last=True)

    def _read(self, *, is_last: bool) -> list[Part]:
        parts: list[Part] = []
        steps = {
            _Place.TEXT: self._read_text,
            _Place.CALL: self._read_call,
            _Place.BEHIND_CALL: self._read_behind_call,
        }
        while self._pending:
            before = self._place, len(self._pending)
            part = steps[self._place](is_last)
            if part is not None:
                parts.append(part)
            if before == (self._place, len(self._pending)):
                break
        return parts

    def _read_text(self, is_last: bool) -> Part | None:
        """Blanks before a call belong to it, so they wait for what follows."""
        start, is_certain = self._find_call()
        text = self._pending if is_last and not is_certain else self._pending[:start].rstrip()
        if text:
            return self._say(len(text))
        if is_certain:
            self._call_at = start
            self._place = _Place.CALL
        return None

    def _find_call(self) -> tuple[int, bool]:
        """Where a call begins, for certain or perhaps; the text's end where there is none."""
        if self._marker:
            start = self._pending.find(self._marker)
            if start >= 0:
                return start, True
            return len(self._pending) - overlap(self._pending, self._marker), False
        for found in _LINE_WITH_OBJECT.finditer(self._pending):
            if self.end and not found[0].startswith("\n"):
                continue  # in the middle of a line
            if self._is_opening(self._pending[found.end() :]):
                return found.start(), True
            if self._may_become_opening(self._pending[found.end() :]):
                return found.start(), False
        return len(self._pending), False

    def _is_opening(self, text: str) -> bool:
        return bool(re.match(rf'\{{\s*"{self._form.name_key}"\s*:', text))

    def _may_become_opening(self, text: str) -> bool:
        return f'{{"{self._form.name_key}":'.startswith("".join(text.split()))

    def _read_call(self, is_last: bool) -> Part | None:
        found = self._parse(self._pending[self._call_at :])
        if isinstance(found, Called):
            self._drop(self._call_at + found.end)
            self._place = _Place.BEHIND_CALL
            return Called(found.name, found.arguments, self.end)
        if found is None and not is_last:
            return None
        self._place = _Place.TEXT
        return self._say(len(self._pending) if found is None else self._call_at + found)

    def _parse(self, text: str) -> Called | int | None:
        """The call at the beginning, `end` counted from there; or how long what is none is."""
        try:
            name, arguments, end = self._members(text)
        except (ValueError, RecursionError):
            end = text.find(self._closing) if self._closing else -1
            return end + len(self._closing) if end >= 0 else None
        is_known = isinstance(name, str) and name in self._names
        if not is_known or not isinstance(arguments[0], dict):
            return end
        return Called(name, arguments[1], end)

    def _members(self, text: str) -> tuple[Any, tuple[Any, str], int]:
        """Name, arguments (the value and its text) and the end. Raises `ValueError`."""
        start = len(self._marker) if text.startswith(self._marker) else 0
        if self._form.name_key is None:
            named = self._name.match(text, start)
            if named is None:
                raise ValueError
            arguments, end = _DECODER.raw_decode(text, named.end())
            return named[1], (arguments, text[named.end() : end]), end
        before = _BEFORE_OBJECT.match(text, start)
        if before is None:
            raise ValueError
        members, end = _object(text, before.end())
        name, _ = members.get(self._form.name_key, (None, ""))
        value, written = members.get(self._form.arguments_key or "", (None, ""))
        if isinstance(value, str):  # JSON in a JSON string, as in OpenAI's own messages
            value, written = _DECODER.decode(value), value
        return name, (value, written), end

    def _read_behind_call(self, is_last: bool) -> None:
        passed = self._behind.match(self._pending)
        rest = self._pending[passed.end() if passed else 0 :]
        ahead = [sign for sign in (self._closing, self._marker) if sign]
        is_call = self._begins_call(rest)
        if not (is_last or is_call) and (
            any(sign.startswith(rest) for sign in ahead)
            or (not self._marker and self._may_become_opening(rest))
        ):
            return
        self._drop(len(self._pending) - len(rest))
        if self._closing and rest.startswith(self._closing):
            self._drop(len(self._closing))
        elif is_call:
            self._call_at = 0
            self._place = _Place.CALL
        else:
            self._place = _Place.TEXT

    def _begins_call(self, text: str) -> bool:
        if not self._marker:
            return self._is_opening(text)
        return text.startswith(self._marker) or (self._is_list and text.startswith("{"))

    def _say(self, length: int) -> Said:
        text = self._pending[:length]
        self._drop(length)
        return Said(text, self.end)

    def _drop(self, length: int) -> None:
        self._pending = self._pending[length:]
        self.end += length


def _object(text: str, start: int) -> tuple[dict[str, tuple[Any, str]], int]:
    """A JSON object's members, each with its own text, and its end. Raises `ValueError`."""
    members: dict[str, tuple[Any, str]] = {}
    at = _skip(text, start + 1)
    while text[at : at + 1] != "}":
        key, at = _DECODER.raw_decode(text, at)
        at = _skip(text, _expect(text, _skip(text, at), ":"))
        value, end = _DECODER.raw_decode(text, at)
        members[str(key)] = value, text[at:end]
        at = _skip(text, end)
        if text[at : at + 1] != "}":
            at = _skip(text, _expect(text, at, ","))
    return members, at + 1


def _skip(text: str, at: int) -> int:
    blanks = _BLANKS.match(text, at)
    return blanks.end() if blanks else at


def _expect(text: str, at: int, sign: str) -> int:
    if text[at : at + 1] != sign:
        raise ValueError
    return at + 1
