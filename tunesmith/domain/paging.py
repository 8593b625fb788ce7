"""Pages of lists."""

from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class PageRequest:
    """`after` is the last item already seen; newest first unless `ascending`."""

    limit: int
    after: UUID | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice(Generic[Item]):
    """Some of a list, and how many items the whole of it has."""

    items: tuple[Item, ...]
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[Item]):
    items: tuple[Item, ...]
    has_more: bool
