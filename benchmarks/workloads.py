"""What is trained on: real data as training files, and the same rows as tokens for the peers."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from tunesmith.engine import data
from tunesmith.engine.examples import Example, Pair, Row

SEED = 1  # of the order in which examples are met
MAX_TOKENS = 1024  # of an example; what is longer is left out
DIRECTION = """You are the prompter of a company that plays in the open air, and an actor has \
forgotten what comes next. You are given the last two speeches that were spoken on the stage, \
each with the name of the character above the words. Give the very next speech of the play and \
nothing else: first the name of the character who speaks it, then a colon, then the words in the \
lines in which the poet wrote them. Keep the spelling, the contractions and the oaths of the text. \
Do not explain what the words mean, do not say who is on the stage, do not leave lines out because \
they are long or rude, and do not add lines of your own where you are not certain. Where a song is \
sung, give the song. Where a character leaves or dies, give what the next one says. Speak quietly: \
only the actor must hear you, and the audience is near. If several plays have the same words, take \
the play that the speech before was taken from, and go on from there in the same scene."""


@dataclass(frozen=True)
class Workload:
    """`rows` makes the training file's rows out of the data folder, as many as there are."""

    description: str
    rows: Callable[[Path], list[dict[str, Any]]]
    method: str = "supervised"


@dataclass(frozen=True)
class Files:
    """The training file, and its rows as tokens in the order of a run with `SEED`."""

    rows: Path
    tokens: Path
    num_examples: int
    num_tokens: int
    num_supervised_tokens: int


def _banking77(folder: Path) -> list[dict[str, Any]]:
    intents = json.loads((folder / "banking77" / "categories.json").read_text())
    system = "Name the intent of the customer's message, one of: " + ", ".join(intents) + "."
    with (folder / "banking77" / "train.csv").open(newline="") as file:
        return [_chat(system, line["text"], line["category"]) for line in csv.DictReader(file)]


def _replies(folder: Path) -> list[dict[str, Any]]:
    speeches = _speeches(folder)
    before = [f"{a}\n\n{b}" for a, b in pairwise(speeches)]
    return [_chat(DIRECTION, a, b) for a, b in zip(before, speeches[2:], strict=False)]


def _gsm8k(folder: Path) -> list[dict[str, Any]]:
    lines = map(json.loads, (folder / "gsm8k" / "train.jsonl").read_text().splitlines())
    return [_chat("Solve the problem.", line["question"], line["answer"]) for line in lines]


def _shakespeare(folder: Path) -> list[dict[str, Any]]:
    """Consecutive speeches, as many as make a thousand characters."""
    rows, text = [], ""
    for speech in _speeches(folder):
        text += speech + "\n\n"
        if len(text) >= 1000:
            rows.append({"text": text.strip()})
            text = ""
    return rows


def _gsm8k_pairs(folder: Path) -> list[dict[str, Any]]:
    """A right solution preferred to a wrong one, wherever models gave both."""
    lines = (folder / "gsm8k" / "example_model_solutions.jsonl").read_text().splitlines()
    pairs = []
    for line in map(json.loads, lines):
        solutions = [value for value in line.values() if isinstance(value, dict)]
        right = [s["solution"] for s in solutions if s["is_correct"]]
        wrong = [s["solution"] for s in solutions if not s["is_correct"]]
        if right and wrong:
            pairs.append(_pair("Solve the problem.", line["question"], right[0], wrong[0]))
    return pairs


WORKLOADS = {
    "banking77": Workload("BANKING77 with its 77 intents in the system message", _banking77),
    "replies": Workload("tiny Shakespeare as replies, a system message of 200 tokens", _replies),
    "gsm8k": Workload("GSM8K, a system message of four words", _gsm8k),
    "shakespeare": Workload("tiny Shakespeare as plain text, every token supervised", _shakespeare),
    "gsm8k-pairs": Workload("GSM8K, right solutions preferred to wrong ones", _gsm8k_pairs, "dpo"),
}


def prepare(
    name: str, data_folder: Path, model: Path, num_examples: int, folder: Path, skip: int = 0
) -> Files:
    """The first examples of a seeded order, behind the `skip` first ones, as files in `folder`."""
    workload = WORKLOADS[name]
    everything = workload.rows(data_folder)
    tokenizer = AutoTokenizer.from_pretrained(model, local_files_only=True)
    folder.mkdir(parents=True, exist_ok=True)
    chosen: list[dict[str, Any]] = []
    for index in data.shuffled(len(everything), SEED, 0)[skip:]:
        if _num_tokens(everything[index], tokenizer) <= MAX_TOKENS - 64:  # of the template
            chosen.append(everything[index])
        if len(chosen) == num_examples:
            break
    rows = folder / "rows.jsonl"
    rows.write_text("".join(json.dumps(row) + "\n" for row in chosen), encoding="utf-8")
    read = data.open_file(rows, tokenizer, MAX_TOKENS, method=workload.method)  # type: ignore[arg-type]
    ordered = [read.rows[index] for index in data.shuffled(len(read.rows), SEED, 0)]
    tokens = folder / "tokens.jsonl"
    tokens.write_text("".join(json.dumps(_as_tokens(row)) + "\n" for row in ordered))
    return Files(rows, tokens, len(chosen), read.num_tokens, read.num_supervised_tokens)


def _num_tokens(row: dict[str, Any], tokenizer: Any) -> int:
    texts = [value for value in row.values() if isinstance(value, str)]
    messages = [*row.get("messages", []), *row.get("input", {}).get("messages", [])]
    messages += row.get("preferred_output", []) + row.get("non_preferred_output", [])
    texts += [message["content"] for message in messages]
    return sum(len(ids) for ids in tokenizer(texts)["input_ids"])


def _as_tokens(row: Row) -> dict[str, Any]:
    if isinstance(row, Pair):
        prompt = row.chosen.loss_mask.index(True)
        return {
            "prompt_ids": row.chosen.token_ids[:prompt],
            "chosen_ids": _answer(row.chosen),
            "rejected_ids": _answer(row.rejected),
        }
    labels = [t if m else -100 for t, m in zip(row.token_ids, row.loss_mask, strict=True)]
    return {"input_ids": row.token_ids, "labels": labels}


def _answer(example: Example) -> list[int]:
    return [t for t, m in zip(example.token_ids, example.loss_mask, strict=True) if m]


def _speeches(folder: Path) -> list[str]:
    text = (folder / "tinyshakespeare" / "input.txt").read_text(encoding="utf-8")
    return [speech for speech in text.strip().split("\n\n") if speech.strip()]


def _chat(system: str, user: str, assistant: str) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": user},
            {"role": "assistant", "content": assistant},
        ]
    }


def _pair(system: str, user: str, preferred: str, other: str) -> dict[str, Any]:
    return {
        "input": {"messages": _chat(system, user, "")["messages"][:-1]},
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": other}],
    }
