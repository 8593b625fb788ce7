"""One pass over a file: every line under every rule, in bounded memory but for digests."""

from collections.abc import Iterable, Iterator
from typing import Any

from tunesmith.doctor import encoding, form, privacy, tools
from tunesmith.doctor.findings import Finding, Patch
from tunesmith.doctor.leaks import Held
from tunesmith.doctor.repeats import Repeats
from tunesmith.doctor.report import Report
from tunesmith.doctor.rows import content
from tunesmith.domain import datasets
from tunesmith.domain.datasets import MAX_LINE_BYTES, DatasetSummary
from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.hyperparameters import Method
from tunesmith.domain.rules import Rule

_MARK = b"\xef\xbb\xbf"


class Examination:
    """Of one file, line by line. Without a `method`, the first row tells it."""

    def __init__(self, method: Method | None = None, held: Held | None = None) -> None:
        self.num_examples = 0  # rows, right or wrong
        self._method = method
        self._held = held
        self._kind: datasets.Kind | None = None
        self._repeats = Repeats()

    def check(self, raw: bytes, line: int) -> Iterator[Finding]:
        if len(raw) <= MAX_LINE_BYTES and not raw.strip():
            yield Finding(
                Rule.BLANK_LINE,
                "The line is blank; jobs pass over it.",
                line,
                patch=Patch("drop_line"),
            )
            return
        self.num_examples += 1
        if line == 1 and raw.startswith(_MARK):
            yield Finding(
                Rule.BYTE_ORDER_MARK,
                "The file begins with a byte order mark, at which many readers stumble.",
                line,
                patch=Patch("strip_mark"),
            )
        keys = form.Keys()
        try:
            row = datasets.parse_line(raw, line, keys.to_object)
        except InvalidTrainingData as error:
            yield form.refusal(error, None)
            return
        yield from keys.check(line)
        yield from self._check_row(row, line)

    def finish(self) -> Iterator[Finding]:
        """What only the whole file shows."""
        try:
            datasets.require_enough_examples(DatasetSummary(num_examples=self.num_examples))
        except InvalidTrainingData as error:
            yield form.refusal(error, None)

    def _check_row(self, row: dict[str, Any], line: int) -> Iterator[Finding]:
        """Each rule sees the row as it is once the findings before are mended."""
        yield from _mending(row, encoding.check(row, line))
        is_good = False
        while not is_good:
            refusal = self._refusal(row, line)
            is_good = refusal is None
            if refusal is not None:
                yield from _mending(row, [refusal])
                if refusal.patch is None:
                    break
        if is_good:
            told = content(row)
            yield from form.check(row, line)
            yield from tools.check(row, line)
            yield from self._repeats.check(row, told, line)
            if self._held is not None:
                yield from self._held.check(row, told, line)
        yield from privacy.check(row, line)

    def _refusal(self, row: dict[str, Any], line: int) -> Finding | None:
        if self._method is None:
            self._method = method_of(row)
        try:
            self._kind = datasets.check_row(row, line, self._method, self._kind)
        except InvalidTrainingData as error:
            return form.refusal(error, row)
        return None


def examine(
    lines: Iterable[bytes], method: Method | None = None, held: Held | None = None
) -> Report:
    """A whole file."""
    report, examination = Report(), Examination(method, held)
    for raw, line in whole_lines(lines):
        for finding in examination.check(raw, line):
            report.add(finding)
    for finding in examination.finish():
        report.add(finding)
    report.num_examples = examination.num_examples
    return report


def _mending(row: dict[str, Any], findings: Iterable[Finding]) -> Iterator[Finding]:
    for finding in list(findings):
        if finding.patch is not None:
            finding.patch.apply(row)
        yield finding


def method_of(row: dict[str, Any]) -> Method:
    return Method.DPO if isinstance(row.get("input"), dict) else Method.SUPERVISED


def held_by(lines: Iterable[bytes]) -> Held:
    """What a validation file holds; lines that are at fault are passed over."""
    held = Held()
    for raw, line in whole_lines(lines):
        try:
            row = datasets.parse_line(raw, line) if raw.strip() else None
            if row is not None:
                datasets.check_row(row, line, method_of(row), None)
                held.add(row, content(row), line)
        except InvalidTrainingData:
            continue
    return held


def whole_lines(lines: Iterable[bytes]) -> Iterator[tuple[bytes, int]]:
    """Lines with their numbers; of one that was cut for its length, the first piece alone."""
    line, is_cut = 1, False
    for raw in lines:
        if not is_cut:
            yield raw, line
        is_cut = not raw.endswith(b"\n")
        line += not is_cut
