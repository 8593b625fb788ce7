import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.factories import conversation, json_lines
from tunesmith.cli.main import app


def data(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "good.jsonl"
    rows = [conversation(("user", f"What is {n}?"), ("assistant", f"{n}.")) for n in range(10)]
    path.write_bytes(b"".join(json_lines(*rows)))
    return path


def test_a_good_file_ends_with_zero(good: Path) -> None:
    result = data("check", good)

    assert result.exit_code == 0
    assert "10 examples, no errors, no warnings, no notices" in result.stdout.replace("\n", " ")


def test_a_file_that_a_job_would_refuse_ends_with_one_and_says_why(good: Path) -> None:
    good.write_bytes(good.read_bytes() + b'{"messages": 3}\n')
    result = data("check", good, "--json")
    answer = json.loads(result.stdout)

    assert result.exit_code == 1
    assert not answer["is_trainable"]
    assert answer["counts"] == [{"rule": "roles.bad-message", "severity": "error", "count": 1}]
    (finding,) = answer["findings"]
    assert (finding["line"], finding["path"]) == (11, "$.messages")


def test_warnings_end_with_one_only_when_asked(good: Path) -> None:
    good.write_bytes(good.read_bytes() + good.read_bytes().splitlines(keepends=True)[0])

    assert data("check", good).exit_code == 0
    assert data("check", good, "--strict").exit_code == 1


def test_fix_writes_a_file_that_passes_and_its_diff(good: Path, tmp_path: Path) -> None:
    good.write_bytes(good.read_bytes().replace(b'"user"', b'"human"'))
    result = data("check", good, "--fix", tmp_path / "new.jsonl")

    assert result.exit_code == 0
    assert data("check", tmp_path / "new.jsonl", "--strict").exit_code == 0
    assert (tmp_path / "new.jsonl.diff").read_text().count("@@ ") == 10
    assert not list(tmp_path.glob("*.part"))


def test_fix_never_writes_over_its_source(good: Path) -> None:
    before = good.read_bytes()

    assert data("check", good, "--fix", good).exit_code == 2
    assert good.read_bytes() == before


def test_leaks_from_a_validation_file(good: Path, tmp_path: Path) -> None:
    held = tmp_path / "held.jsonl"
    held.write_bytes(good.read_bytes().splitlines(keepends=True)[3])
    answer = json.loads(data("check", good, "--against", held, "--json").stdout)

    assert [(f["rule"], f["line"], f["seen_line"]) for f in answer["findings"]] == [
        ("leak.exact", 4, 1)
    ]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = data("check", tmp_path / "none.jsonl")

    assert result.exit_code == 2
    assert "No such file" in result.stderr
