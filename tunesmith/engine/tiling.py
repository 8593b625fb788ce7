"""How the queries of a stream are cut into tiles that are alike: same context, same place in their
segment, nearly the same length. `tiles.py` computes with them.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

TILE_TOKENS = 128  # longer segments are cut, so that little is computed above the diagonal
_LENGTH_STEP = 16  # tiles of nearly the same length are padded to one
_WIDTH_STEP = 32  # a softmax over rows of another width is half as slow again in bf16


@dataclass(frozen=True, slots=True)
class Stretch:
    """A segment to attend over: its place in the stream, and the places of what it continues."""

    start: int
    end: int
    context: tuple[tuple[int, int], ...]  # the outermost first


@dataclass(frozen=True, slots=True)
class Tiles:
    """Tiles that are computed together. Rows are those of queries (their tokens * heads) and of
    keys (tokens * key heads), one more than there are: the last one is zero.
    """

    num_tiles: int
    query_rows: Tensor  # of (key heads, tiles, heads per key head, own)
    key_rows: Tensor  # of (key heads, tiles, seen)
    context_rows: Tensor  # of (key heads, context), which has a round number of keys
    num_context: int
    num_real: int  # keys of the context; behind them nothing
    num_seen: int  # of its own segment
    mask: Tensor  # (tiles or 1, own, last keys seen): added to these keys' scores

    @property
    def width(self) -> int:
        """Of a row of scores: the context, what is seen, and nothing up to a round number."""
        return _up_to(_WIDTH_STEP, self.num_context + self.num_seen)

    @property
    def seen(self) -> slice:
        return slice(self.num_context, self.num_context + self.num_seen)


@dataclass(frozen=True, slots=True)
class Tiling:
    """All tiles of a stream, and where in their joined output each query's row is."""

    tiles: list[Tiles]
    query_rows: Tensor  # of all tiles
    key_rows: Tensor  # of all: what each sees of its own segment, and its context
    output_rows: Tensor  # of (queries' tokens, heads)

    @classmethod
    def of(
        cls, stretches: Sequence[Stretch], num_tokens: int, heads: int, key_heads: int
    ) -> "Tiling":
        """Each token has its query."""
        groups: dict[Any, list[tuple[Stretch, int]]] = defaultdict(list)
        for stretch in stretches:
            for first in range(stretch.start, stretch.end, TILE_TOKENS):
                own = _up_to(_LENGTH_STEP, min(TILE_TOKENS, stretch.end - first))
                groups[stretch.context, first - stretch.start, own].append((stretch, first))
        return cls._with(
            [
                _tiles(members, context, before, own, num_tokens, heads, key_heads)
                for (context, before, own), members in groups.items()
            ],
            num_tokens * heads,
        )

    @classmethod
    def of_some(
        cls,
        stretches: Sequence[Stretch],
        positions: Sequence[int],
        num_tokens: int,
        heads: int,
        key_heads: int,
    ) -> "Tiling":
        """Only the tokens at these positions, in ascending order, have queries.

        Sizes are powers of two: how many of a text's tokens are among them varies widely, and one
        layer alone attends so.
        """
        groups: dict[Any, list[tuple[Stretch, int, int]]] = defaultdict(list)
        for stretch in stretches:
            end = bisect_left(positions, stretch.end)
            for first in range(bisect_left(positions, stretch.start), end, TILE_TOKENS):
                last = min(first + TILE_TOKENS, end)
                own = _power_of_two(_LENGTH_STEP, last - first)
                seen = _power_of_two(_WIDTH_STEP, positions[last - 1] + 1 - stretch.start)
                groups[stretch.context, own, seen].append((stretch, first, last))
        places = torch.tensor(positions)
        return cls._with(
            [
                _sparse_tiles(members, places, context, own, seen, num_tokens, heads, key_heads)
                for (context, own, seen), members in groups.items()
            ],
            len(positions) * heads,
        )

    @classmethod
    def _with(cls, tiles: list[Tiles], num_rows: int) -> "Tiling":
        """`num_rows` are those of queries."""
        output_rows = torch.full((num_rows + 1,), -1)
        end = 0
        for made in tiles:
            start, end = end, end + len(made.query_rows)
            output_rows[made.query_rows] = torch.arange(start, end)
        output_rows = output_rows[:-1]
        return cls(
            tiles,
            torch.cat([made.query_rows for made in tiles]),
            torch.cat([rows for made in tiles for rows in (made.key_rows, made.context_rows)]),
            torch.where(output_rows < 0, end, output_rows),
        )

    def of_queries(self, rows: Tensor, key_heads: int) -> list[Tensor]:
        """Of rows as `query_rows`, each tiles' (key heads * tiles, heads per key head * own, …)."""
        parts = torch.split(rows, [len(tiles.query_rows) for tiles in self.tiles])
        return [
            part.view(key_heads * tiles.num_tiles, -1, rows.shape[-1])
            for part, tiles in zip(parts, self.tiles, strict=True)
        ]

    def of_keys(self, rows: Tensor, key_heads: int) -> list[tuple[Tensor, Tensor]]:
        """Of rows as `key_rows`, each tiles' (key heads * tiles, seen, …), and (key heads,
        context, …).
        """
        sizes = [len(x) for tiles in self.tiles for x in (tiles.key_rows, tiles.context_rows)]
        parts = torch.split(rows, sizes)
        size = rows.shape[-1]
        return [
            (seen.view(-1, tiles.num_seen, size), context.view(key_heads, -1, size))
            for seen, context, tiles in zip(parts[::2], parts[1::2], self.tiles, strict=True)
        ]


def _up_to(step: int, length: int) -> int:
    """The next round number."""
    return -(-length // step) * step


def _power_of_two(at_least: int, length: int) -> int:
    return max(at_least, 1 << (length - 1).bit_length())


def _tiles(
    members: list[tuple[Stretch, int]],
    context: tuple[tuple[int, int], ...],
    before: int,
    own: int,
    num_tokens: int,
    heads: int,
    key_heads: int,
) -> Tiles:
    """`before` tokens of its own segment come before each tile."""
    starts = torch.tensor([stretch.start for stretch, _ in members])[:, None]
    ends = torch.tensor([stretch.end for stretch, _ in members])[:, None]
    keys = starts + torch.arange(before + own)  # (tiles, seen)
    keys = torch.where(keys < ends, keys, num_tokens)
    return Tiles(
        num_tiles=len(members),
        query_rows=_query_rows(keys[:, before:], num_tokens, heads, key_heads),
        key_rows=_key_rows(keys, num_tokens, key_heads),
        **_context(context, num_tokens, key_heads),
        num_seen=before + own,
        mask=torch.full((1, own, own), float("-inf")).triu(1),
    )


def _sparse_tiles(
    members: list[tuple[Stretch, int, int]],
    positions: Tensor,
    context: tuple[tuple[int, int], ...],
    own: int,
    seen: int,
    num_tokens: int,
    heads: int,
    key_heads: int,
) -> Tiles:
    """Each tile has its stretch, and the numbers of its queries: the first, and behind the last."""
    places_of = [(stretch.start, stretch.end, *numbers) for stretch, *numbers in members]
    starts, ends, firsts, lasts = (n[:, None] for n in torch.tensor(places_of).unbind(1))
    queries = firsts + torch.arange(own)  # (tiles, own)
    is_query = queries < lasts
    places = positions[queries.clamp(max=len(positions) - 1)]
    keys = starts + torch.arange(seen)  # (tiles, seen); those behind a query are hidden from it
    is_hidden = (keys[:, None] > places[..., None]) & is_query[..., None]
    keys = torch.where(keys < ends, keys, num_tokens)
    return Tiles(
        num_tiles=len(members),
        query_rows=_query_rows(
            torch.where(is_query, queries, len(positions)), len(positions), heads, key_heads
        ),
        key_rows=_key_rows(keys, num_tokens, key_heads),
        **_context(context, num_tokens, key_heads),
        num_seen=seen,
        mask=torch.zeros(is_hidden.shape).masked_fill_(is_hidden, float("-inf")),
    )


def _query_rows(queries: Tensor, num_queries: int, heads: int, key_heads: int) -> Tensor:
    """`queries` are (tiles, own)."""
    head = torch.arange(heads).view(key_heads, 1, heads // key_heads, 1)
    return (queries[:, None] * heads + head).clamp(max=num_queries * heads).flatten()


def _key_rows(keys: Tensor, num_tokens: int, key_heads: int) -> Tensor:
    """`keys` are (tiles, seen)."""
    head = torch.arange(key_heads)[:, None, None]
    return (keys * key_heads + head).clamp(max=num_tokens * key_heads).flatten()


def _context(
    context: tuple[tuple[int, int], ...], num_tokens: int, key_heads: int
) -> dict[str, Any]:
    """What `Tiles` hold of it."""
    keys = torch.tensor([key for start, end in context for key in range(start, end)])
    num_context = _up_to(_WIDTH_STEP, len(keys))
    padded = torch.full((1, num_context), num_tokens)
    padded[0, : len(keys)] = keys
    rows = _key_rows(padded, num_tokens, key_heads)
    return {"context_rows": rows, "num_context": num_context, "num_real": len(keys)}
