"""What texts begin with in common, as a tree: every stretch that some of them share, once."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from tunesmith.engine.examples import Example, Row

MIN_SHARED_TOKENS = 32  # between rows; less is not worth a segment of its own


@dataclass(frozen=True, slots=True, eq=False)
class Node:
    """Tokens `start` … `end` of several texts, behind those of `parent`."""

    start: int
    end: int
    parent: "Node | None"


@dataclass(slots=True, eq=False)
class Text:
    """Text `number` of a row, and the last node that it goes through.

    `token_ids` end where the last target is predicted: nobody reads what comes behind.
    """

    row: Row
    row_number: int
    number: int
    token_ids: list[int]
    targets: list[int]  # their places in the example, which may be right behind the last token
    node: Node | None = None

    @property
    def example(self) -> Example:
        return self.row.examples[self.number]

    @property
    def path(self) -> list[Node]:
        """The outermost first."""
        nodes = []
        node = self.node
        while node is not None:
            nodes.append(node)
            node = node.parent
        return nodes[::-1]

    @property
    def num_own_tokens(self) -> int:
        return len(self.token_ids) - (self.node.end if self.node else 0)


def texts(rows: Sequence[Row]) -> list[Text]:
    """All texts of all rows, which share nothing as yet."""
    return [
        _text(row, row_number, number)
        for row_number, row in enumerate(rows)
        for number in range(len(row.examples))
    ]


def _text(row: Row, row_number: int, number: int) -> Text:
    example = row.examples[number]
    targets = [i for i, is_learned in enumerate(example.loss_mask) if is_learned and i > 0]
    num_read = targets[-1] if targets else 1
    return Text(row, row_number, number, example.token_ids[:num_read], targets)


def share(texts: list[Text]) -> None:
    """Give each text its nodes, and put them in the order of their tokens: then neighbours share
    most.
    """
    texts.sort(key=lambda text: text.token_ids)
    common = [_common_length(a.token_ids, b.token_ids) for a, b in pairwise(texts)]
    above: list[tuple[int, Node]] = []  # nodes around the present one, and where they end
    for first, last, depth in sorted(_stretches(common), key=lambda s: (s[0], -s[1])):
        while above and above[-1][0] < first:
            above.pop()
        parent = above[-1][1] if above else None
        start = parent.end if parent else 0
        is_one_row = last == first + 1 and texts[first].row_number == texts[last].row_number
        if depth - start < (1 if is_one_row else MIN_SHARED_TOKENS):
            continue
        node = Node(start, depth, parent)
        above.append((last, node))
        for text in texts[first : last + 1]:
            text.node = node


def _stretches(common: Sequence[int]) -> Iterator[tuple[int, int, int]]:
    """The longest runs of neighbours with so many tokens in common: (first, last, tokens).

    `common[i]` are those of i and i + 1. These are the intervals of an LCP table (Abouelhoda,
    Kurtz and Ohlebusch 2004), found in one pass.
    """
    open_runs: list[tuple[int, int]] = []  # (tokens, first), of growing numbers of tokens
    for index, tokens in enumerate([*common, 0]):
        first = index
        while open_runs and open_runs[-1][0] > tokens:
            depth, first = open_runs.pop()
            yield first, index, depth
        if tokens and (not open_runs or open_runs[-1][0] < tokens):
            open_runs.append((tokens, first))


def _common_length(a: list[int], b: list[int]) -> int:
    """By comparing ever shorter slices, which lists do fast."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
