"""Rows -> packed batches: one stream of tokens in which shared prefixes stand once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tunesmith.engine import trie
from tunesmith.engine.examples import Row
from tunesmith.engine.trie import Node, Text

_LIMIT_STEP = 16  # tokens; so closely the smallest size of micro-batches is looked for


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of the stream; its tokens see the prefix segment, if any, with that one's own
    prefix, and themselves causally.
    """

    start: int
    end: int
    prefix: "Segment | None" = None


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """`logit_positions` are the stream's positions whose logits are needed, each once; target i
    is token `targets[i]`, to be predicted from `logit_positions[target_rows[i]]`.

    The targets of a text are neighbours; `num_targets` counts them, for each text of each row.
    Where `is_separate`, every segment goes through the model in a forward of its own.
    """

    token_ids: list[int]
    position_ids: list[int]
    segments: list[Segment]
    logit_positions: list[int]
    target_rows: list[int]
    targets: list[int]
    num_targets: list[int]
    rows: list[Row]
    is_separate: bool


def pack(
    rows: Sequence[Row], max_tokens: int, *, shares_prefixes: bool = True
) -> list[PackedBatch]:
    """As few micro-batches of at most `max_tokens` packed tokens as there can be, and about equally
    large ones. A row alone may be longer.

    Rows go in the order of their tokens, so that what they share is repeated as seldom as any
    cut of that order allows.
    """
    texts = trie.texts(rows)
    if shares_prefixes:
        trie.share(texts)
    return [_packed(texts_of_bin) for texts_of_bin in _evenly_filled(_by_row(texts), max_tokens)]


def _evenly_filled(texts: Sequence[Sequence[Text]], max_tokens: int) -> list[list[Text]]:
    """The smallest bins that need not be more: the memory of a pass is that of the largest."""
    bins = _filled(texts, max_tokens)
    low, high = max_tokens // max(len(bins), 1), max_tokens
    while len(bins) > 1 and high - low > _LIMIT_STEP:
        middle = (low + high) // 2
        smaller = _filled(texts, middle)
        if len(smaller) > len(bins):
            low = middle
        else:
            bins, high = smaller, middle
    return bins


def _filled(texts: Sequence[Sequence[Text]], max_tokens: int) -> list[list[Text]]:
    """`texts` are those of each row; the bins' are one row's after the other's."""
    bins: list[list[Text]] = []
    nodes: set[Node] = set()  # of the last bin
    room = 0
    for of_row in texts:
        needed = {node for text in of_row for node in text.path}
        num_own = sum(text.num_own_tokens for text in of_row)
        if not bins or num_own + _num_tokens(needed - nodes) > room:
            bins.append([])
            nodes, room = set(), max_tokens
        room -= num_own + _num_tokens(needed - nodes)
        nodes |= needed
        bins[-1] += of_row
    return bins


def pack_singly(rows: Sequence[Row]) -> list[PackedBatch]:
    """One row per batch, each text in its own forward: right for every decoder."""
    return [_packed(trie.texts([row]), is_separate=True) for row in rows]


def _by_row(texts: Sequence[Text]) -> list[list[Text]]:
    """Each row's texts in the row's own order; rows as they first appear."""
    of_row: dict[int, list[Text]] = {}
    for text in texts:
        of_row.setdefault(text.row_number, []).append(text)
    return [sorted(own, key=lambda text: text.number) for own in of_row.values()]


def _num_tokens(nodes: set[Node]) -> int:
    return sum(node.end - node.start for node in nodes)


def _packed(texts: Sequence[Text], *, is_separate: bool = False) -> PackedBatch:
    """`texts` are those of whole rows, one row after the other."""
    batch = PackedBatch([], [], [], [], [], [], [], [], is_separate)
    num_texts = Counter(node for text in texts for node in text.path)
    segments: dict[Node, Segment] = {}
    row_of_position: dict[int, int] = {}
    for text in texts:
        places = _placed(batch, text, num_texts, segments)
        _add_targets(batch, text, places, row_of_position)
        if text.number == 0:
            batch.rows.append(text.row)
    return batch


def _placed(
    batch: PackedBatch, text: Text, num_texts: Counter[Node], segments: dict[Node, Segment]
) -> list[Segment]:
    """Put what is new of a text into the stream; returns the segments that it goes through."""
    places: list[Segment] = []
    start = 0
    prefix = None
    path = text.path
    num_below = [*(num_texts[node] for node in path[1:]), 1]
    for node, below in zip(path, num_below, strict=False):
        if num_texts[node] == below:
            continue  # all that go through it go on together: one segment with what follows
        if node not in segments:
            segments[node] = _append(batch, text, start, node.end, prefix)
        prefix = segments[node]
        places.append(prefix)
        start = node.end
    if start < len(text.token_ids):
        places.append(_append(batch, text, start, len(text.token_ids), prefix))
    return places


def _append(
    batch: PackedBatch, text: Text, first: int, end: int, prefix: Segment | None
) -> Segment:
    start = len(batch.token_ids)
    batch.token_ids.extend(text.token_ids[first:end])
    batch.position_ids.extend(range(first, end))
    segment = Segment(start, start + end - first, prefix)
    batch.segments.append(segment)
    return segment


def _add_targets(
    batch: PackedBatch,
    text: Text,
    places: Sequence[Segment],
    row_of_position: dict[int, int],
) -> None:
    """A token that several texts share and learn is a target of each of them."""
    positions = [position for segment in places for position in range(segment.start, segment.end)]
    for index in text.targets:
        position = positions[index - 1]
        if position not in row_of_position:
            row_of_position[position] = len(batch.logit_positions)
            batch.logit_positions.append(position)
        batch.target_rows.append(row_of_position[position])
        batch.targets.append(text.example.token_ids[index])
    batch.num_targets.append(len(text.targets))
