"""Examples -> packed batches: one stream of tokens in which shared prefixes stand once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tunesmith.engine.chat import Example

MIN_SHARED_TOKENS = 32
MAX_GROUP_EXAMPLES = 64  # what a prefix costs is then next to nothing, and so is the search


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of the stream; its tokens see the prefix segment, if any, and themselves causally."""

    start: int
    end: int
    prefix: "Segment | None" = None


@dataclass(frozen=True, slots=True)
class PackedBatch:
    """`logit_positions` are the stream's positions whose logits are needed, each once; target i
    is token `targets[i]`, to be predicted from `logit_positions[target_rows[i]]`.
    """

    token_ids: list[int]
    position_ids: list[int]
    segments: list[Segment]
    logit_positions: list[int]
    target_rows: list[int]
    targets: list[int]


@dataclass(frozen=True, slots=True)
class Group:
    """Examples whose first `num_shared` tokens are the same and not supervised."""

    examples: list[Example]
    num_shared: int

    @property
    def num_packed_tokens(self) -> int:
        total = sum(len(example.token_ids) for example in self.examples)
        return total - self.num_shared * (len(self.examples) - 1)


def pack(
    examples: Sequence[Example], max_tokens: int, *, shares_prefixes: bool = True
) -> list[PackedBatch]:
    """Micro-batches of at most `max_tokens` packed tokens (an example alone may be longer)."""
    if shares_prefixes:
        groups = group_by_prefix(examples)
    else:
        groups = [Group([example], 0) for example in examples]
    bins: list[list[Group]] = []
    room = 0
    for part in (part for group in groups for part in _split(group, max_tokens)):
        if not bins or part.num_packed_tokens > room:
            bins.append([])
            room = max_tokens
        bins[-1].append(part)
        room -= part.num_packed_tokens
    return [_packed(groups_of_bin) for groups_of_bin in bins]


def pack_singly(examples: Sequence[Example]) -> list[PackedBatch]:
    """One example per batch: plain causal attention, right for every decoder."""
    return [_packed([Group([example], 0)]) for example in examples]


def group_by_prefix(examples: Sequence[Example]) -> list[Group]:
    """The grouping that saves most tokens. Neighbours in sorted order share the longest prefixes,
    so groups are stretches of that order, and dynamic programming finds the best cuts.
    """
    ordered = sorted(examples, key=lambda example: example.token_ids)
    limits = [example.loss_mask.index(True) for example in ordered]
    common = [_common_length(a.token_ids, b.token_ids) for a, b in pairwise(ordered)]
    saved = [0]  # by the best grouping of the first 0, 1, 2 … examples
    last_groups = [(0, 0)]  # its last group: where it starts, and how many tokens it shares
    for end in range(1, len(ordered) + 1):
        best, group = saved[end - 1], (end - 1, 0)
        shared = limits[end - 1]
        for start in range(end - 2, max(-1, end - 1 - MAX_GROUP_EXAMPLES), -1):
            shared = min(shared, limits[start], common[start])
            if shared < MIN_SHARED_TOKENS:
                break
            total = saved[start] + shared * (end - start - 1)
            if total > best:
                best, group = total, (start, shared)
        saved.append(best)
        last_groups.append(group)
    groups = []
    end = len(ordered)
    while end > 0:
        start, shared = last_groups[end]
        groups.append(Group(ordered[start:end], shared))
        end = start
    return groups[::-1]


def _common_length(a: list[int], b: list[int]) -> int:
    for index, (x, y) in enumerate(zip(a, b, strict=False)):
        if x != y:
            return index
    return min(len(a), len(b))


def _split(group: Group, max_tokens: int) -> Iterator[Group]:
    """Parts that fit, each with the prefix again."""
    part: list[Example] = []
    num_tokens = group.num_shared
    for example in group.examples:
        num_own = len(example.token_ids) - group.num_shared
        if part and num_tokens + num_own > max_tokens:
            yield Group(part, group.num_shared if len(part) > 1 else 0)
            part, num_tokens = [], group.num_shared
        part.append(example)
        num_tokens += num_own
    yield Group(part, group.num_shared if len(part) > 1 else 0)


def _packed(groups: list[Group]) -> PackedBatch:
    batch = PackedBatch([], [], [], [], [], [])
    row_of_position: dict[int, int] = {}
    for group in groups:
        prefix = None
        shared = group.num_shared
        if shared:
            prefix = _append(batch, group.examples[0].token_ids[:shared], 0, None)
        for example in group.examples:
            segment = _append(batch, example.token_ids[shared:], shared, prefix)
            for index, is_learned in enumerate(example.loss_mask):
                if not is_learned or index == 0:
                    continue
                # The token before the target: in the suffix, or the last one of the prefix.
                if index > shared:
                    position = segment.start + index - 1 - shared
                else:
                    assert prefix is not None
                    position = prefix.end - 1
                if position not in row_of_position:
                    row_of_position[position] = len(batch.logit_positions)
                    batch.logit_positions.append(position)
                batch.target_rows.append(row_of_position[position])
                batch.targets.append(example.token_ids[index])
    return batch


def _append(
    batch: PackedBatch, token_ids: list[int], first_position: int, prefix: Segment | None
) -> Segment:
    start = len(batch.token_ids)
    batch.token_ids.extend(token_ids)
    batch.position_ids.extend(range(first_position, first_position + len(token_ids)))
    segment = Segment(start, start + len(token_ids), prefix)
    batch.segments.append(segment)
    return segment
