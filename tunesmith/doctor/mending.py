"""Patches applied: a new version of the file, and the difference between the two."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from tunesmith.doctor.findings import Finding
from tunesmith.domain import datasets

_MARK = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Changes:
    num_examples: int = 0  # that are left
    lines_changed: int = 0
    lines_dropped: int = 0


def mend(
    lines: Iterable[bytes],
    check: Callable[[bytes, int], Iterable[Finding]],
    write: Callable[[bytes], object],
    write_difference: Callable[[bytes], object],
) -> Changes:
    """Write every line, mended where there is a safe way, and what was changed as a diff.

    `check` is `Examination.check`, which a server need not load to read what mending did.
    The diff is unified and has no lines of context, so `patch` applies it.
    """
    changes = Changes()
    line, is_cut = 1, False
    for raw in lines:
        new = raw if is_cut else mended(raw, line, check(raw, line))
        if new != raw:
            shift = changes.lines_dropped
            changes.lines_dropped += new is None
            changes.lines_changed += new is not None
            write_difference(_hunk(raw, new, line, line - shift))
        if new is not None:
            write(new)
            changes.num_examples += not is_cut and bool(new.strip())
        is_cut = not raw.endswith(b"\n")
        line += not is_cut
    return changes


def mended(raw: bytes, line: int, findings: Iterable[Finding]) -> bytes | None:
    """The line as it should be; None where it should not be there."""
    patches = [finding.patch for finding in findings if finding.patch is not None]
    if any(patch.action == "drop_line" for patch in patches):
        return None
    end = b"\n" if raw.endswith(b"\n") else b""
    if edits := [patch for patch in patches if patch.action in ("replace", "remove")]:
        row = datasets.parse_line(raw, line)
        for patch in edits:
            patch.apply(row)
        return json.dumps(row, ensure_ascii=False).encode() + end
    return raw.removeprefix(_MARK) if patches else raw


def _hunk(old: bytes, new: bytes | None, line: int, new_line: int) -> bytes:
    if new is None:
        return b"@@ -%d +%d,0 @@\n" % (line, new_line - 1) + _side(b"-", old)
    return b"@@ -%d +%d @@\n" % (line, new_line) + _side(b"-", old) + _side(b"+", new)


def _side(sign: bytes, line: bytes) -> bytes:
    end = b"" if line.endswith(b"\n") else b"\n\\ No newline at end of file\n"
    return sign + line + end


def header(old: str, new: str) -> bytes:
    return f"--- {old}\n+++ {new}\n".encode()
