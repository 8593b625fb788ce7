"""JSON bodies of requests: what all dialects ask of one."""

import json
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator

from tunesmith.domain.errors import InvalidRequest


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
        _refuse_nul(body)
        return {name: value for name, value in body.items() if cls._is_heeded(name, value)}

    @classmethod
    def _is_heeded(cls, name: str, value: Any) -> bool:
        if name in {field.alias or own for own, field in cls.model_fields.items()}:
            return True
        if name in cls.UNAVAILABLE:
            if value is None or value in cls.UNAVAILABLE[name]:
                return False
            raise InvalidRequest(f"`{name}` is not available yet; leave it out.", param=name)
        if name in cls.IGNORED:
            return False
        raise InvalidRequest(f"Unrecognized request argument supplied: {name}", param=name)


def _read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("The body is not valid JSON; send a JSON object.") from error


def _refuse_nul(body: dict[str, Any]) -> None:
    """PostgreSQL cannot store it, and nobody means it."""
    waiting: list[tuple[str, Any]] = [("", name) for name in body] + list(body.items())
    while waiting:
        name, value = waiting.pop()
        if isinstance(value, str) and "\0" in value:
            message = f"{name or 'The body'}: NUL characters are not accepted."
            raise InvalidRequest(message, param=name or None)
        if isinstance(value, list):
            waiting.extend((name, item) for item in value)
        elif isinstance(value, dict):
            waiting.extend((name, item) for pair in value.items() for item in pair)
