"""Rows -> packed batches: one stream of tokens in which shared prefixes stand once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tunesmith.engine.examples import Example, Row

MIN_SHARED_TOKENS = 32
MAX_GROUP_ROWS = 64  # what a prefix costs is then next to nothing, and so is the search


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


@dataclass(frozen=True, slots=True)
class Unit:
    """A row, and how many tokens all its texts begin with that may stand once.

    Shared tokens are the same in all texts, and supervised in none.
    """

    row: Row
    num_shared: int

    def num_tokens_beyond(self, num_prefix: int) -> int:
        """Packed tokens behind a prefix that is a part of what is shared."""
        own = sum(len(example.token_ids) - self.num_shared for example in self.row.examples)
        return self.num_shared - num_prefix + own


@dataclass(frozen=True, slots=True)
class Group:
    """Units that all begin with the same `num_shared` tokens."""

    units: list[Unit]
    num_shared: int

    @property
    def num_packed_tokens(self) -> int:
        own = sum(unit.num_tokens_beyond(self.num_shared) for unit in self.units)
        return self.num_shared + own


def pack(
    rows: Sequence[Row], max_tokens: int, *, shares_prefixes: bool = True
) -> list[PackedBatch]:
    """Micro-batches of at most `max_tokens` packed tokens (a row alone may be longer)."""
    if shares_prefixes:
        groups = group_by_prefix(rows)
    else:
        groups = [Group([Unit(row, 0)], 0) for row in rows]
    bins: list[list[Group]] = []
    room = 0
    for part in (part for group in groups for part in _split(group, max_tokens)):
        if not bins or part.num_packed_tokens > room:
            bins.append([])
            room = max_tokens
        bins[-1].append(part)
        room -= part.num_packed_tokens
    return [_packed(groups_of_bin) for groups_of_bin in bins]


def pack_singly(rows: Sequence[Row]) -> list[PackedBatch]:
    """One row per batch, each text in its own forward: right for every decoder."""
    return [_packed([Group([Unit(row, 0)], 0)], is_separate=True) for row in rows]


def group_by_prefix(rows: Sequence[Row]) -> list[Group]:
    """The grouping that saves most tokens. Neighbours in sorted order share the longest prefixes,
    so groups are stretches of that order, and dynamic programming finds the best cuts.
    """
    ordered = sorted(rows, key=lambda row: row.examples[0].token_ids)
    units = [Unit(row, _num_shared(row)) for row in ordered]
    common = [
        _common_length(a.examples[0].token_ids, b.examples[0].token_ids)
        for a, b in pairwise(ordered)
    ]
    saved = [0]  # by the best grouping of the first 0, 1, 2 … units
    last_groups = [(0, 0)]  # its last group: where it starts, and how many tokens it shares
    for end in range(1, len(units) + 1):
        best, group = saved[end - 1], (end - 1, 0)
        shared = units[end - 1].num_shared
        for start in range(end - 2, max(-1, end - 1 - MAX_GROUP_ROWS), -1):
            shared = min(shared, units[start].num_shared, common[start])
            if shared < MIN_SHARED_TOKENS:
                break
            total = saved[start] + shared * (end - start - 1)
            if total > best:
                best, group = total, (start, shared)
        saved.append(best)
        last_groups.append(group)
    groups = []
    end = len(units)
    while end > 0:
        start, shared = last_groups[end]
        groups.append(Group(units[start:end], shared))
        end = start
    return groups[::-1]


def _num_shared(row: Row) -> int:
    """What comes before the first supervised token is the prompt; texts of a row share theirs."""
    first, *others = row.examples
    common = [_common_length(first.token_ids, other.token_ids) for other in others]
    return min([*common, *(example.loss_mask.index(True) for example in row.examples)])


def _common_length(a: list[int], b: list[int]) -> int:
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))


def _split(group: Group, max_tokens: int) -> Iterator[Group]:
    """Parts that fit, each with the prefix again."""
    part: list[Unit] = []
    num_tokens = group.num_shared
    for unit in group.units:
        num_own = unit.num_tokens_beyond(group.num_shared)
        if part and num_tokens + num_own > max_tokens:
            yield Group(part, group.num_shared if len(part) > 1 else 0)
            part, num_tokens = [], group.num_shared
        part.append(unit)
        num_tokens += num_own
    yield Group(part, group.num_shared if len(part) > 1 else 0)


def _packed(groups: list[Group], *, is_separate: bool = False) -> PackedBatch:
    batch = PackedBatch([], [], [], [], [], [], [], [], is_separate)
    row_of_position: dict[int, int] = {}
    for group in groups:
        first = group.units[0].row.examples[0]
        prefix = _append(batch, first, 0, group.num_shared, None)
        for unit in group.units:
            prompt, num_prompt = prefix, group.num_shared
            if len(unit.row.examples) > 1:
                first, num_prompt = unit.row.examples[0], unit.num_shared
                prompt = _append(batch, first, group.num_shared, num_prompt, prefix) or prefix
            for example in unit.row.examples:
                segment = _append(batch, example, num_prompt, len(example.token_ids), prompt)
                assert segment is not None  # what is supervised is not shared
                _add_targets(batch, example, segment, num_prompt, row_of_position)
            batch.rows.append(unit.row)
    return batch


def _append(
    batch: PackedBatch, example: Example, first: int, end: int, prefix: Segment | None
) -> Segment | None:
    """Put the tokens `first` … `end` of a text into the stream, if there are any."""
    if first == end:
        return None
    start = len(batch.token_ids)
    batch.token_ids.extend(example.token_ids[first:end])
    batch.position_ids.extend(range(first, end))
    segment = Segment(start, start + end - first, prefix)
    batch.segments.append(segment)
    return segment


def _add_targets(
    batch: PackedBatch,
    example: Example,
    segment: Segment,
    num_prompt: int,
    row_of_position: dict[int, int],
) -> None:
    before = len(batch.targets)
    for index, is_learned in enumerate(example.loss_mask):
        if not is_learned or index == 0:
            continue
        # The token before the target: in the text's own segment, or the last one of its prompt.
        if index > num_prompt:
            position = segment.start + index - 1 - num_prompt
        else:
            assert segment.prefix is not None
            position = segment.prefix.end - 1
        if position not in row_of_position:
            row_of_position[position] = len(batch.logit_positions)
            batch.logit_positions.append(position)
        batch.target_rows.append(row_of_position[position])
        batch.targets.append(example.token_ids[index])
    batch.num_targets.append(len(batch.targets) - before)
