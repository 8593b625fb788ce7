"""Safe patches give a new file, and a diff which `patch` turns the old file into the new with."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tunesmith.doctor import mending
from tunesmith.doctor.examination import Examination
from tunesmith.doctor.findings import json_path, keys_of
from tunesmith.domain.datasets import read_lines


def row(user: str, answer: str, role: str = "user", **beside: object) -> bytes:
    messages = [{"role": role, "content": user}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": messages, **beside}).encode() + b"\n"


BROKEN = [
    b"\xef\xbb\xbf" + row("one", "1"),
    b"\n",
    row("two", "2", role="Human", id="x"),
    row("three", "caf\u00c3\u00a9 \x07"),
    row("two", "2"),
    b"{not json\n",
    row("one", "1"),
    row("four", "4", thoughts="hm"),
    row("five", "5")[:-1],
]
MENDED = [
    row("one", "1"),
    row("two", "2"),
    '{"messages": [{"role": "user", "content": "three"}, '
    '{"role": "assistant", "content": "café "}]}\n'.encode(),
    b"{not json\n",
    row("four", "4", thoughts="hm"),
    row("five", "5")[:-1],
]


def mend(source: Path, target: Path, diff: Path) -> mending.Changes:
    with source.open("rb") as old, target.open("wb") as new, diff.open("wb") as difference:
        difference.write(mending.header(source.name, target.name))
        return mending.mend(read_lines(old), Examination().check, new.write, difference.write)


def test_what_is_safe_is_mended_and_the_rest_stays(tmp_path: Path) -> None:
    source, target, diff = (tmp_path / name for name in ("old", "new", "diff"))
    source.write_bytes(b"".join(BROKEN))
    changes = mend(source, target, diff)

    assert target.read_bytes() == b"".join(MENDED)
    assert (changes.lines_changed, changes.lines_dropped) == (3, 3)


@pytest.mark.skipif(shutil.which("patch") is None, reason="there is no program `patch` here")
@pytest.mark.parametrize("lines", [BROKEN, BROKEN[1:], BROKEN[::-1]], ids=["a", "b", "c"])
def test_the_diff_makes_the_new_file_of_the_old(tmp_path: Path, lines: list[bytes]) -> None:
    source, target, diff = (tmp_path / name for name in ("old", "new", "diff"))
    source.write_bytes(b"".join(lines))
    mend(source, target, diff)
    subprocess.run(["patch", "--binary", "-s", source, diff], check=True)

    assert source.read_bytes() == target.read_bytes()


def test_a_mended_file_needs_no_second_mending(tmp_path: Path) -> None:
    source, target, again, diff = (tmp_path / name for name in ("old", "new", "again", "diff"))
    source.write_bytes(b"".join(BROKEN))
    mend(source, target, diff)
    changes = mend(target, again, diff)

    assert (changes.lines_changed, changes.lines_dropped) == (0, 0)


def test_a_path_leads_back_to_its_value() -> None:
    value = {"a": [{"b c": 1, "b": [{"x": 2}] * 12}], "a.b": 3}

    for keys in [("a",), ("a.b",), ("a", 0, "b c"), ("a", 0, "b", 11, "x"), ("a", 0, "b", 1)]:
        assert keys_of(json_path(keys), value) == keys
