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
    context_rows: Tensor | None  # of (key heads, context), which has a round number of keys
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
        """Only the tokens at these positions, in ascending order, have queries."""
        groups: dict[Any, list[tuple[Stretch, int, int]]] = defaultdict(list)
        for stretch in stretches:
            end = bisect_left(positions, stretch.end)
            for first in range(bisect_left(positions, stretch.start), end, TILE_TOKENS):
                last = min(first + TILE_TOKENS, end)
                own = _up_to(_LENGTH_STEP, last - first)
                seen = _up_to(_WIDTH_STEP, positions[last - 1] + 1 - stretch.start)
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
        return cls(tiles, torch.where(output_rows < 0, end, output_rows))


def _up_to(step: int, length: int) -> int:
    """The next round number."""
    return -(-length // step) * step


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
    if not context:
        return {"context_rows": None, "num_context": 0, "num_real": 0}
    keys = torch.cat([torch.arange(start, end) for start, end in context])
    num_context = _up_to(_WIDTH_STEP, len(keys))
    padding = torch.full((num_context - len(keys),), num_tokens)
    rows = _key_rows(torch.cat([keys, padding])[None], num_tokens, key_heads)
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
        queries, keys, values = _rows(query), _rows(key), _rows(value)
        outputs, probabilities = [], []
        for tiles in tiling.tiles:
            q = _taken(queries, tiles.query_rows, key.shape[1] * tiles.num_tiles).mul_(scale)
            shares = torch.softmax(_scores(q, keys, tiles, key.shape[1]), dim=-1)
            output = torch.bmm(shares[..., tiles.seen], _taken(values, tiles.key_rows, len(q)))
            if tiles.context_rows is not None:
                v = _taken(values, tiles.context_rows, key.shape[1])
                output = _plus(output, _of_context(shares, tiles, len(v)), v)
            outputs.append(output.view(-1, value.shape[-1]))
            probabilities.append(shares)
        ctx.save_for_backward(query, key, value, *probabilities)
        ctx.tiling, ctx.scale = tiling, scale
        outputs.append(outputs[0].new_zeros(1, value.shape[-1]))
        return _chosen(torch.cat(outputs), tiling.output_rows).view(*query.shape[:2], -1)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        (output_gradient,) = gradients
        query, key, value, *probabilities = ctx.saved_tensors
        queries, keys, values = _rows(query), _rows(key), _rows(value)
        output_gradients = _rows(output_gradient)
        key_gradients = torch.zeros(keys.shape)  # in fp32: many tiles add to the same keys
        value_gradients = torch.zeros(values.shape)
        query_gradients = []
        for tiles, shares in zip(ctx.tiling.tiles, probabilities, strict=True):
            q = _taken(queries, tiles.query_rows, len(shares)).mul_(ctx.scale)
            g = _taken(output_gradients, tiles.query_rows, len(shares))
            share_gradients = _products_with_all(g, values, tiles, key.shape[1], padding=0.0)
            by_score = torch._softmax_backward_data(share_gradients, shares, -1, q.dtype)
            of_query = torch.bmm(by_score[..., tiles.seen], _taken(keys, tiles.key_rows, len(q)))
            # The other way round, (keysᵀ)ᵀ: a transposed part of the scores would be copied.
            _add(key_gradients, tiles.key_rows, torch.bmm(q.mT, by_score[..., tiles.seen]))
            _add(value_gradients, tiles.key_rows, torch.bmm(g.mT, shares[..., tiles.seen]))
            if tiles.context_rows is not None:
                k = _taken(keys, tiles.context_rows, key.shape[1])
                by_score, shares = (_of_context(x, tiles, len(k)) for x in (by_score, shares))
                of_query = _plus(of_query, by_score, k)
                q, g = (x.view(len(k), -1, x.shape[-1]) for x in (q, g))
                _add(key_gradients, tiles.context_rows, torch.bmm(q.mT, by_score))
                _add(value_gradients, tiles.context_rows, torch.bmm(g.mT, shares))
            query_gradients.append(of_query.mul_(ctx.scale).view(-1, query.shape[-1]))
        query_gradients.append(queries[-1:])
        return (
            _chosen(torch.cat(query_gradients), ctx.tiling.output_rows).view(query.shape),
            key_gradients[:-1].view(key.shape).to(key.dtype),
            value_gradients[:-1].view(value.shape).to(value.dtype),
            None,
            None,
        )


def _scores(q: Tensor, keys: Tensor, tiles: Tiles, key_heads: int) -> Tensor:
    scores = _products_with_all(q, keys, tiles, key_heads, padding=float("-inf"))
    num_own, num_masked = tiles.mask.shape[-2:]
    masked = scores.view(key_heads, tiles.num_tiles, -1, num_own, tiles.width)
    masked = masked[..., tiles.seen.stop - num_masked : tiles.seen.stop]
    masked += tiles.mask[:, None].to(scores.dtype)
    scores[..., tiles.num_real : tiles.num_context] = float("-inf")
    return scores


def _products_with_all(
    of_queries: Tensor, of_keys: Tensor, tiles: Tiles, key_heads: int, *, padding: float
) -> Tensor:
    """Of each query's row with the rows of all keys that its tile sees, where its scores are."""
    products = of_queries.new_empty(*of_queries.shape[:2], tiles.width)
    if tiles.seen.stop < tiles.width:
        products[..., tiles.seen.stop :] = padding
    seen = _taken(of_keys, tiles.key_rows, len(of_queries))
    torch.bmm(of_queries, seen.mT, out=products[..., tiles.seen])
    if tiles.context_rows is not None:
        context = _taken(of_keys, tiles.context_rows, key_heads)
        flat = of_queries.view(key_heads, -1, of_queries.shape[-1])
        torch.bmm(flat, context.mT, out=_of_context(products, tiles, key_heads))
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


def _taken(rows: Tensor, indices: Tensor, batch: int) -> Tensor:
    """(batch, rows each, size)"""
    return _chosen(rows, indices).view(batch, -1, rows.shape[-1])


def _add(sums: Tensor, indices: Tensor, gradients: Tensor) -> None:
    """`gradients` are (batch, size, rows each)."""
    rows = gradients.mT.reshape(len(indices), -1)
    sums.index_add_(0, indices, rows.to(sums.dtype))
