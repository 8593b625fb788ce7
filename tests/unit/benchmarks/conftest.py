"""A few rows in the form of the real data, and a session that measures a tiny model on them."""

import json
from pathlib import Path

import pytest

from benchmarks.session import Session

SPEECHES = [
    f"Citizen {n}:\nWe are {n} citizens, and we speak of corn at {n} pence." for n in range(60)
]


@pytest.fixture(scope="session")
def data_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for name in ("banking77", "gsm8k", "tinyshakespeare"):
        (folder / name).mkdir()
    intents = ["card_arrival", "lost_card", "exchange_rate"]
    (folder / "banking77" / "categories.json").write_text(json.dumps(intents))
    messages = [f'"Where is card number {n}?",{intents[n % 3]}' for n in range(40)]
    (folder / "banking77" / "train.csv").write_text("\n".join(["text,category", *messages]))
    problems = [{"question": f"What is {n} + {n}?", "answer": f"#### {2 * n}"} for n in range(40)]
    _write(folder / "gsm8k" / "train.jsonl", problems)
    solutions = [
        {
            "question": f"What is {n} + {n}?",
            "a": {"solution": f"It is {2 * n}.", "is_correct": True},
            "b": {"solution": f"It is {3 * n + 1}.", "is_correct": False},
        }
        for n in range(40)
    ]
    _write(folder / "gsm8k" / "example_model_solutions.jsonl", solutions)
    (folder / "tinyshakespeare" / "input.txt").write_text("\n\n".join(SPEECHES * 12))
    return folder


@pytest.fixture(scope="session")
def session(data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Session:
    folder = tmp_path_factory.mktemp("bench")
    return Session(
        data=data_folder,
        folder=folder,
        out=folder / "results.json",
        clock="cpu",
        threads=1,
        device="cpu",
        is_quick=True,
        is_full=False,
        is_preliminary=False,
        goes_on=False,
        minutes=60,
    )


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
