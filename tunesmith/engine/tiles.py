"""Attention over many short segments on a CPU: batched matrix products over tiles of queries.

A fused kernel is made for long rows; over segments of some hundred tokens its backward is several
times slower than the products themselves. A tile's scores are computed whole, with an ordinary
softmax; what all its queries see (the context) is one product for all segments that share it.
"""

from typing import Any

import torch
from torch import Tensor

from tunesmith.engine.tiling import Tiles, Tiling


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
