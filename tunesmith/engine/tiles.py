"""Attention over many short segments on a CPU: batched matrix products over tiles of queries.

A fused kernel is made for long rows; over segments of some hundred tokens its backward is several
times slower than the products themselves. Here the queries of a stream are cut into tiles that
are alike: same context, same place in their segment, nearly the same length. A tile's scores are
computed whole, with an ordinary softmax; what all its queries see (the context) is one product
for all segments that share it.
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


def attend(query: Tensor, key: Tensor, value: Tensor, tiling: Tiling, scale: float) -> Tensor:
    """(tokens, heads, size) each, the keys and values with fewer heads; zero where no tile is.

    Queries are those that the tiling was made for.
    """
    output: Tensor = _Attention.apply(query, key, value, tiling, scale)  # type: ignore[no-untyped-call]
    return output


class _Attention(torch.autograd.Function):
    """Scores are laid out as (key heads * tiles, heads per key head * own, width)."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, tiling: Tiling, scale: float
    ) -> Tensor:
        queries, keys, values = _gathered(query, key, value, tiling, scale)
        outputs, probabilities = [], []
        for tiles, q, k, (v, context_v) in zip(tiling.tiles, queries, keys, values, strict=True):
            shares = torch.softmax(_scores(q, k, tiles), dim=-1)
            output = torch.bmm(shares[..., tiles.seen], v)
            if tiles.num_context:
                output = _plus(output, _of_context(shares, tiles, len(context_v)), context_v)
            outputs.append(output.view(-1, value.shape[-1]))
            probabilities.append(shares)
        ctx.save_for_backward(query, key, value, *probabilities)
        ctx.tiling, ctx.scale = tiling, scale
        outputs.append(outputs[0].new_zeros(1, value.shape[-1]))
        return _chosen(torch.cat(outputs), tiling.output_rows).view(*query.shape[:2], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        query, key, value, *probabilities = ctx.saved_tensors
        tiling, key_heads = ctx.tiling, key.shape[1]
        queries, keys, values = _gathered(query, key, value, tiling, ctx.scale)
        upstream = tiling.of_queries(_chosen(_rows(gradients[0]), tiling.query_rows), key_heads)
        # In fp32: many tiles add to the same keys.
        of_keys, of_values = (torch.empty(len(tiling.key_rows), x.shape[-1]) for x in (key, value))
        sums = zip(
            tiling.of_keys(of_keys, key_heads), tiling.of_keys(of_values, key_heads), strict=True
        )
        of_queries = []
        for tiles, shares, q, g, (k, context_k), v, (of_k, of_v) in zip(
            tiling.tiles, probabilities, queries, upstream, keys, values, sums, strict=True
        ):
            of_shares = _products_with_all(g, v, tiles, padding=0.0)
            by_score = torch._softmax_backward_data(of_shares, shares, -1, q.dtype)
            of_q = torch.bmm(by_score[..., tiles.seen], k)
            _put(of_k[0], q, by_score[..., tiles.seen])
            _put(of_v[0], g, shares[..., tiles.seen])
            if tiles.num_context:
                by_score, shares = (_of_context(x, tiles, key_heads) for x in (by_score, shares))
                of_q = _plus(of_q, by_score, context_k)
                q, g = (x.view(key_heads, -1, x.shape[-1]) for x in (q, g))
                _put(of_k[1], q, by_score)
                _put(of_v[1], g, shares)
            of_queries.append(of_q.view(-1, query.shape[-1]))
        of_queries.append(query.new_zeros(1, query.shape[-1]))
        of_query = _chosen(torch.cat(of_queries), tiling.output_rows).view(query.shape)
        return (
            of_query.mul_(ctx.scale),
            _summed(of_keys, tiling.key_rows, key),
            _summed(of_values, tiling.key_rows, value),
            None,
            None,
        )


def _gathered(
    query: Tensor, key: Tensor, value: Tensor, tiling: Tiling, scale: float
) -> tuple[list[Tensor], list[tuple[Tensor, Tensor]], list[tuple[Tensor, Tensor]]]:
    """Scaled queries, keys and values as each tiles' products take them."""
    key_heads = key.shape[1]
    keys, values = (
        tiling.of_keys(_chosen(_rows(x), tiling.key_rows), key_heads) for x in (key, value)
    )
    queries = _chosen(_rows(query), tiling.query_rows).mul_(scale)
    return tiling.of_queries(queries, key_heads), keys, values


def _scores(q: Tensor, keys: tuple[Tensor, Tensor], tiles: Tiles) -> Tensor:
    scores = _products_with_all(q, keys, tiles, padding=float("-inf"))
    num_own, num_masked = tiles.mask.shape[-2:]
    masked = scores.view(-1, tiles.num_tiles, q.shape[1] // num_own, num_own, tiles.width)
    masked = masked[..., tiles.seen.stop - num_masked : tiles.seen.stop]
    masked += tiles.mask[:, None].to(scores.dtype)
    scores[..., tiles.num_real : tiles.num_context] = float("-inf")
    return scores


def _products_with_all(
    of_queries: Tensor, keys: tuple[Tensor, Tensor], tiles: Tiles, *, padding: float
) -> Tensor:
    """Of each query's row with the rows of all keys that its tile sees, where its scores are."""
    seen, context = keys
    products = of_queries.new_empty(*of_queries.shape[:2], tiles.width)
    if tiles.seen.stop < tiles.width:
        products[..., tiles.seen.stop :] = padding
    torch.bmm(of_queries, seen.mT, out=products[..., tiles.seen])
    if tiles.num_context:
        flat = of_queries.view(len(context), -1, of_queries.shape[-1])
        torch.bmm(flat, context.mT, out=_of_context(products, tiles, len(context)))
    return products


def _of_context(scores: Tensor, tiles: Tiles, key_heads: int) -> Tensor:
    """(key heads, all tiles' rows, context), a view"""
    return scores.view(key_heads, -1, tiles.width)[..., : tiles.num_context]


def _plus(x: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x + a @ b, of neighbours in the batch of x that share one of b."""
    return torch.baddbmm(x.view(len(b), -1, x.shape[-1]), a, b).view(x.shape)


def _rows(x: Tensor) -> Tensor:
    """(tokens, heads, size) -> (tokens * heads + 1, size), the last one zero."""
    flat = x.reshape(-1, x.shape[-1])
    return torch.cat([flat, flat.new_zeros(1, x.shape[-1])])


def _chosen(rows: Tensor, indices: Tensor) -> Tensor:
    return rows[indices] if rows.dtype == torch.float32 else rows.index_select(0, indices)


def _put(place: Tensor, a: Tensor, b: Tensor) -> None:
    """bᵀ @ a, as (aᵀ @ b)ᵀ: b is part of a row of scores, which would be copied to be turned."""
    place.copy_(torch.bmm(a.mT, b).mT)


def _summed(rows: Tensor, indices: Tensor, like: Tensor) -> Tensor:
    """What all rows add to the tokens' heads."""
    sums = rows.new_zeros(like.shape[0] * like.shape[1] + 1, rows.shape[-1])
    sums.index_add_(0, indices, rows)
    return sums[:-1].view(like.shape).to(like.dtype)
