"""`tunesmith data split`, `convert` and `preview`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.tiny_models import make_tiny_llama
from tunesmith.cli.main import app

ALPACA = {"instruction": "Add.", "input": "1 and 2", "output": "3"}
SHAREGPT = {
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hi."},
        {"from": "gpt", "value": "Hello."},
    ]
}


def run(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["data", *map(str, arguments)])
    return result.exit_code, result.output


def chat(question: str, answer: str) -> dict[str, object]:
    said = (("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in said]}


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_split_keeps_every_row_and_no_question_on_both_sides(tmp_path: Path) -> None:
    rows = [chat(f"Question {n % 100}?", f"Answer {n}.") for n in range(300)]
    file = write(tmp_path / "rows.jsonl", *rows)
    code, said = run("split", file, "--validation", "0.3", "--seed", "5")
    assert code == 0, said
    training = read(tmp_path / "rows.train.jsonl")
    held_out = read(tmp_path / "rows.validation.jsonl")
    assert sorted(map(str, training + held_out)) == sorted(map(str, rows))
    sides = [{str(row["messages"][0]) for row in side} for side in (training, held_out)]  # type: ignore[index]
    assert sides[0] & sides[1] == set()
    assert 15 <= len(sides[1]) <= 45
    before = (tmp_path / "rows.validation.jsonl").read_bytes()
    assert run("split", file, "--validation", "0.3", "--seed", "5")[0] == 0
    assert (tmp_path / "rows.validation.jsonl").read_bytes() == before
    assert run("split", file, "--validation", "0.3", "--seed", "6")[0] == 0
    assert (tmp_path / "rows.validation.jsonl").read_bytes() != before


@pytest.mark.parametrize(
    ("row", "messages"),
    [
        (ALPACA, [("user", "Add.\n\n1 and 2"), ("assistant", "3")]),
        (SHAREGPT, [("system", "Be brief."), ("user", "Hi."), ("assistant", "Hello.")]),
        ({"prompt": "Hi.", "completion": " Hello."}, [("user", "Hi."), ("assistant", "Hello.")]),
    ],
)
def test_rows_of_other_formats_become_conversations(
    tmp_path: Path, row: object, messages: list[tuple[str, str]]
) -> None:
    out = tmp_path / "out.jsonl"
    code, said = run("convert", write(tmp_path / "in.jsonl", row), out)
    assert code == 0, said
    [made] = read(out)
    assert made == {"messages": [{"role": role, "content": text} for role, text in messages]}


def test_a_table_becomes_conversations_by_the_names_of_its_columns(tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text('text,category,other\n"My card,\nis lost",lost_card,1\n')
    out = tmp_path / "out.jsonl"
    assert run("convert", table, out, "--system", "Classify.")[0] == 0
    [made] = read(out)
    assert [m["content"] for m in made["messages"]] == [  # type: ignore[attr-defined]
        "Classify.",
        "My card,\nis lost",
        "lost_card",
    ]
    assert run("convert", table, out, "--asked", "category", "--answered", "other")[0] == 0
    assert read(out)[0] == chat("lost_card", "1")


def test_a_row_that_cannot_be_converted_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    file = write(tmp_path / "in.jsonl", ALPACA, {"prompt": 3, "completion": "x"})
    out = tmp_path / "out.jsonl"
    code, said = run("convert", file, out)
    assert code == 1
    assert "line 2" in said
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]
    unknown = write(tmp_path / "in.jsonl", {"q": "a", "a": "b"})
    assert "--asked" in run("convert", unknown, out)[1]
    assert run("convert", unknown, out, "--asked", "q", "--answered", "a")[0] == 0


def test_a_preview_shows_what_is_learned(tmp_path: Path) -> None:
    model = make_tiny_llama(tmp_path / "model")
    file = write(tmp_path / "rows.jsonl", chat("One?", "First."), chat("Two?", "Second."))
    code, said = run("preview", file, "--model", model, "--row", "2", "--json")
    assert code == 0, said
    [text] = json.loads(said)
    learned = "".join(piece for piece, _, is_learned in text["pieces"] if is_learned)
    passed_over = "".join(piece for piece, _, is_learned in text["pieces"] if not is_learned)
    assert "Second." in learned
    assert "Two?" in passed_over
    shown = run("preview", file, "--model", model, "--row", "2")[1]
    assert "⟦Second." in shown
    assert run("preview", file, "--model", model, "--row", "3") == (
        1,
        f"{file} has fewer than 3 rows.\n",
    )
