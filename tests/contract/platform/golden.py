"""The documented examples, against which answers are held key by key and type by type."""

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "golden"
_KINDS = {
    "a moment": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"),
    "a moment to the millisecond": re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"),
    "a job's id": re.compile(r"ftjob_[a-z0-9]{16,}"),
    "a user's id": re.compile(r"user_[a-z0-9]+"),
    "an organization's id": re.compile(r"org_[a-z0-9]+"),
    "a dataset's id": re.compile(r"ds_[a-z0-9]+"),
    "a request's id": re.compile(r"req_[a-z0-9]+"),
}


def assert_like(answer: Any, name: str, additional: frozenset[str] = frozenset()) -> None:
    """The same keys (but for `additional` ones at the top) with values of the same types.

    An item of a list stands for all of them.
    """
    example = json.loads((FOLDER / f"{name}.json").read_text())
    if additional:
        assert additional == set(answer) - set(example)
        answer = {key: value for key, value in answer.items() if key not in additional}
    _assert_like(answer, example, name)


def _assert_like(answer: Any, example: Any, where: str) -> None:
    assert _kind(answer) == _kind(example), f"{where}: {answer!r} is not like {example!r}"
    if isinstance(example, dict):
        assert set(answer) == set(example), where
        for key, value in example.items():
            _assert_like(answer[key], value, f"{where}.{key}")
    elif isinstance(example, list):
        assert bool(answer) == bool(example), where
        if len(answer) == len(example):
            pairs = list(zip(answer, example, strict=True))
        else:
            pairs = [(item, example[0]) for item in answer]
        for index, (item, shape) in enumerate(pairs):
            _assert_like(item, shape, f"{where}[{index}]")


def _kind(value: Any) -> str:
    """A number is a number, except that counts are never fractions."""
    if isinstance(value, str):
        return next((kind for kind, form in _KINDS.items() if form.fullmatch(value)), "text")
    return type(value).__name__
