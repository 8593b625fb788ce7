"""JSON bodies of requests: what all dialects ask of one."""

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from tunesmith.domain.errors import InvalidRequest

MAX_DEPTH = 100  # of JSON in JSON; workers read no deeper than 200
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")


class Request(BaseModel):
    """A JSON body. What we cannot honour is refused by name, unless it says nothing new.

    `UNAVAILABLE` has the fields that the original knows and we do not yet, each with the values
    that ask for nothing; `IGNORED` those that change nothing about the answer here.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    UNAVAILABLE: ClassVar[Mapping[str, Collection[Any]]] = {}
    IGNORED: ClassVar[frozenset[str]] = frozenset()

    @model_validator(mode="before")
    @classmethod
    def _sort_fields(cls, body: Any) -> Any:
        if isinstance(body, bytes):  # a client that does not say what it sends
            body = _read_json(body)
        if not isinstance(body, dict):
            raise InvalidRequest("The body must be a JSON object.")
        _refuse_what_is_no_text(body)
        return {name: value for name, value in body.items() if cls._is_heeded(name, value)}

    @classmethod
    def _is_heeded(cls, name: str, value: Any) -> bool:
        if name in {field.alias or own for own, field in cls.model_fields.items()}:
            return True
        if name in cls.UNAVAILABLE:
            if value is None or value in cls.UNAVAILABLE[name]:
                return False
            raise InvalidRequest(f"`{name}` is not available yet; leave it out.", param=name)
        if name in cls.IGNORED or cls.model_config.get("extra") == "ignore":
            return False
        raise InvalidRequest(f"Unrecognized request argument supplied: {name}", param=name)


def is_text(text: str) -> bool:
    """Without NUL, and without halves of characters: neither can be stored everywhere."""
    return "\0" not in text and not _LONE_SURROGATE.search(text)


def check_keepable(body: dict[str, Any]) -> None:
    """Raises `InvalidRequest` for what no database holds: NUL, and integers beyond 64 bits."""
    waiting = list(body.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise InvalidRequest(f"{name}: the number is too large.", param=name)
        if isinstance(value, list):
            waiting.extend((name, item) for item in value)
        elif isinstance(value, dict):
            waiting.extend((name, item) for pair in value.items() for item in pair)
    _refuse_what_is_no_text(body)


def check_json(value: Any, param: str, depth: int = 0) -> None:
    """Raises `InvalidRequest` for what JSON can say and a worker could not be told."""
    if depth > MAX_DEPTH:
        raise InvalidRequest(f"{param}: nested deeper than {MAX_DEPTH} levels.", param=param)
    match value:
        case str():
            if _LONE_SURROGATE.search(value):
                raise InvalidRequest(f"{param}: has half a character (\\ud…).", param=param)
        case float():
            if not math.isfinite(value):
                raise InvalidRequest(f"{param}: has a number that is not finite.", param=param)
        case list() if set(map(type, value)) != {int}:  # token ids may be millions
            for item in value:
                check_json(item, param, depth + 1)
        case dict():
            for key, item in value.items():
                check_json(key, param, depth)
                check_json(item, param, depth + 1)


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON; send a JSON object.") from error


def _refuse_what_is_no_text(body: dict[str, Any]) -> None:
    """Halves of characters, which JSON can escape, and NUL: neither can be stored."""
    waiting = list(body.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str) and not is_text(value):
            message = f"{name}: the text has a NUL or half a character in it."
            raise InvalidRequest(message, param=name)
        if isinstance(value, list):
            waiting.extend((name, item) for item in value)
        elif isinstance(value, dict):
            waiting.extend((name, item) for pair in value.items() for item in pair)
