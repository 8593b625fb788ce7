"""For tests of generators that tell events and return a value at their end."""

from collections.abc import Generator
from typing import Any, TypeVar

Value = TypeVar("Value")


def returned(generator: Generator[Any, None, Value]) -> Value:
    """Run to the end, whatever is told on the way."""
    while True:
        try:
            next(generator)
        except StopIteration as end:
            value: Value = end.value
            return value
