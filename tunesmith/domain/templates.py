"""Texts with variables, `{{ item.answer }}` or `{{ sample.choices[0].message.content }}`."""

import json
import re
from collections.abc import Mapping
from typing import Any

from tunesmith.domain.errors import InvalidRequest

MAX_LENGTH = 1_000_000  # of a text once it is filled in

# Whatever else stands in double braces is text: prompts are full of JSON.
_VARIABLE = re.compile(r"\{\{\s*([^\W\d]\w*(?:\.[^\s{}.\[\]]+|\[\d{1,9}\])*)\s*\}\}")
_STEP = re.compile(r"\.([^\s{}.\[\]]+)|\[(\d+)\]")


class UnknownVariable(Exception):
    """`path` is as the template has it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"There is no {path}.")
        self.path = path


def fill(template: str, namespaces: Mapping[str, Any]) -> str:
    """The template with its variables' values; what is no text stands there as JSON.

    Raises `UnknownVariable`, and `InvalidRequest` where the text grows out of bounds.
    """
    parts: list[str] = []
    length, end = 0, 0
    for found in _VARIABLE.finditer(template):
        parts += [template[end : found.start()], _shown(found[1], namespaces)]
        end = found.end()
        length += len(parts[-2]) + len(parts[-1])
        _check(length)
    parts.append(template[end:])
    _check(length + len(parts[-1]))
    return "".join(parts)


def _check(length: int) -> None:
    if length > MAX_LENGTH:
        raise InvalidRequest(
            f"A template that is filled in has at most {MAX_LENGTH:,} characters.", param="grader"
        )


def _shown(path: str, namespaces: Mapping[str, Any]) -> str:
    value = _looked_up(path, namespaces)
    if isinstance(value, str):
        return value
    try:
        return json.dumps(value, ensure_ascii=False)
    except RecursionError as error:
        raise UnknownVariable(path) from error


def _looked_up(path: str, namespaces: Mapping[str, Any]) -> Any:
    root = re.split(r"[.\[]", path, maxsplit=1)[0]
    value: Any = namespaces
    for name, index in [(root, ""), *_STEP.findall(path[len(root) :])]:
        if name and isinstance(value, Mapping) and name in value:
            value = value[name]
        elif index and isinstance(value, list) and int(index) < len(value):
            value = value[int(index)]
        else:
            raise UnknownVariable(path)
    return value
