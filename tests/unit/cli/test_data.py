import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

import tunesmith
from tests.factories import conversation, json_lines
from tunesmith.cli.main import app

TINY = Path(tunesmith.__file__).parent / "assets" / "tunesmith-tiny"


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


def test_what_a_model_makes_of_a_file_that_is_mended_first(good: Path, tmp_path: Path) -> None:
    long = conversation(("user", "Count."), ("assistant", "one two three " * 1200))
    good.write_bytes(good.read_bytes().replace(b'"user"', b'"human"') + json_lines(long)[0])
    arguments = ("check", good, "--model", TINY, "--epochs", "2")
    waits = data(*arguments)
    mended = data(*arguments, "--fix", tmp_path / "new.jsonl", "--json")
    answer = json.loads(mended.stdout)
    shown = data("check", tmp_path / "new.jsonl", *arguments[2:])

    assert (waits.exit_code, mended.exit_code, shown.exit_code) == (1, 0, 0)
    assert "once no row has an error" in waits.stdout
    tokens = answer["tokens"]
    assert tokens["num_examples"] == sum(number for _, number in tokens["histogram"]) == 11
    assert 0 < tokens["num_trained_tokens"] < tokens["num_tokens"]
    assert len(tokens["mask_sha256"]) == 64
    (cut,) = answer["fixed"]["findings"]
    assert (cut["rule"], cut["line"], tokens["num_losing"]) == ("tokens.truncated", 11, 1)
    assert f"{tokens['num_lost_tokens']:,} that should be learned are lost" in cut["message"]
    assert f"{2 * tokens['num_trained_tokens']:,} learned tokens in all" in shown.stdout


def test_a_folder_without_a_model_is_refused_in_words(good: Path, tmp_path: Path) -> None:
    result = data("check", good, "--model", tmp_path)

    assert result.exit_code == 1
    assert "has no config.json" in result.stderr
