"""Rows of the training file that the validation file has as well, so that it proves nothing."""

from collections.abc import Iterator
from typing import Any

from rensa import RMinHash, RMinHashLSH

from tunesmith.doctor.findings import Finding, Patch
from tunesmith.doctor.rows import Content, canonical, digest, normalised
from tunesmith.domain.rules import Rule

SIMILARITY = 0.8  # Jaccard, of the pieces of two texts
_PERMUTATIONS, _BANDS, _SEED = 128, 32, 1
_PIECE = 5  # characters


class Held:
    """What the validation file holds: digests, and sketches of its texts."""

    def __init__(self) -> None:
        self._rows: dict[int, int] = {}  # digest -> line
        self._texts: dict[int, int] = {}
        self._sketches: dict[int, RMinHash] = {}
        self._near = RMinHashLSH(threshold=SIMILARITY, num_perm=_PERMUTATIONS, num_bands=_BANDS)

    def add(self, row: dict[str, Any], content: Content, line: int) -> None:
        text = normalised(content.text)
        self._rows.setdefault(digest(canonical(row)), line)
        if self._texts.setdefault(digest(text), line) == line:
            sketch = _sketch(text)
            self._sketches[line] = sketch
            self._near.insert(line, sketch)

    def check(self, row: dict[str, Any], content: Content, line: int) -> Iterator[Finding]:
        text = normalised(content.text)
        if (seen := self._rows.get(digest(canonical(row)))) is not None:
            yield _finding(Rule.LEAK_EXACT, "is", line, seen)
        elif (seen := self._texts.get(digest(text))) is not None:
            what = "is, but for case, punctuation and spaces,"
            yield _finding(Rule.LEAK_NORMALISED, what, line, seen)
        elif self._sketches:
            sketch = _sketch(text)
            near = [(sketch.jaccard(self._sketches[n]), -n) for n in self._near.query(sketch)]
            likeness, seen = max(near, default=(0.0, 0))
            if likeness >= SIMILARITY:
                yield _finding(Rule.LEAK_NEAR, f"is {likeness:.0%} the same as", line, -seen)


def _finding(rule: Rule, how: str, line: int, seen: int) -> Finding:
    return Finding(
        rule,
        f"The row {how} line {seen} of the validation file, which then measures what was learned "
        "by heart. Take it out of one of the two.",
        line,
        seen=seen,
        patch=None if rule is Rule.LEAK_NEAR else Patch("drop_line"),
    )


def _sketch(text: str) -> RMinHash:
    sketch = RMinHash(num_perm=_PERMUTATIONS, seed=_SEED)
    last = max(1, len(text) - _PIECE + 1)
    sketch.update([text[start : start + _PIECE] for start in range(last)])
    return sketch
