"""`make bench-doctor`: how much of what is wrong the dataset doctor finds, and what it costs.

Defects are put into clean rows, each with the rule that should name it and its line. Recall is the
share that is found by that rule in that line; what it says of rows that nobody spoilt are false
alarms, or faults of real data.
"""

import csv
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from tunesmith.doctor.examination import Examination, held_by, whole_lines
from tunesmith.doctor.leaks import Held
from tunesmith.domain.rules import Rule

SEED = 1
NUM_ROWS = 3000
NUM_DEFECTS = 50  # of each rule
NUM_LARGE = 100_000
Row = dict[str, Any]

TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Looks an order up.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "country": {"type": "string"}},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
}


def main() -> None:
    if "TUNESMITH_TEST_DATA" not in os.environ:
        sys.exit("TUNESMITH_TEST_DATA must name the folder of banking77 and gsm8k.")
    data = Path(os.environ["TUNESMITH_TEST_DATA"])
    print(f"Seed {SEED}, {NUM_DEFECTS} defects of each rule in {NUM_ROWS:,} rows of GSM8K.\n")
    clean = gsm8k(data, "train")
    _print_recall(clean[:NUM_ROWS], gsm8k(data, "test"))
    print("\nClean data, as it is:\n")
    print("| data | rows | findings |\n| --- | --- | --- |")
    _print_alarms("GSM8K, against its test split", clean, gsm8k(data, "test"))
    banking = banking77(data, "train")
    _print_alarms("BANKING77, against its test split", banking, banking77(data, "test"))
    print(f"\n`tunesmith data check FILE --against VALIDATION`, {NUM_LARGE:,} rows:\n")
    print("| data | size | time |\n| --- | --- | --- |")
    _print_time("GSM8K", clean, gsm8k(data, "test"))
    _print_time("BANKING77 with its intents", banking, banking77(data, "test"))


def gsm8k(data: Path, split: str) -> list[Row]:
    lines = (data / "gsm8k" / f"{split}.jsonl").read_text().splitlines()
    return [_chat("Solve it.", row["question"], row["answer"]) for row in map(json.loads, lines)]


def banking77(data: Path, split: str) -> list[Row]:
    intents = json.loads((data / "banking77" / "categories.json").read_text())
    system = "Name the intent, one of: " + ", ".join(intents) + "."
    with (data / "banking77" / f"{split}.csv").open(newline="") as file:
        return [_chat(system, row["text"], row["category"]) for row in csv.DictReader(file)]


def _chat(system: str, question: str, answer: str) -> Row:
    said = (("system", system), ("user", question), ("assistant", answer))
    return {"messages": [{"role": role, "content": content} for role, content in said]}


# What spoils a row: its line, from the row, another clean one, and chance.
Spoil = Callable[[Row, Row, random.Random], bytes | str | Row]


def _said(place: int, change: Callable[[str, random.Random], Any]) -> Spoil:
    """With the content of one message changed."""

    def spoil(row: Row, other: Row, rng: random.Random) -> Row:
        messages = [dict(message) for message in row["messages"]]
        messages[place]["content"] = change(messages[place]["content"], rng)
        return {"messages": messages}

    return spoil


def _with(text: str) -> Spoil:
    """With a sentence in the middle of the question."""

    def change(content: str, rng: random.Random) -> str:
        words = content.split(" ")
        number = rng.choice("234567") + rng.choice("234567")
        words.insert(rng.randrange(len(words)), text.format(n=number))
        return " ".join(words)

    return _said(1, change)


def _message(place: int, **changes: Any) -> Spoil:
    def spoil(row: Row, other: Row, rng: random.Random) -> Row:
        messages = [dict(message) for message in row["messages"]]
        messages[place] |= changes
        return {"messages": messages}

    return spoil


def _calls(function: str, arguments: str, **changes: Any) -> Spoil:
    """A row with a tool, which is called."""

    def spoil(row: Row, other: Row, rng: random.Random) -> Row:
        call = {"id": "c1", "type": "function"}
        call["function"] = {"name": function, "arguments": arguments}  # type: ignore[assignment]
        told: Row = {
            "messages": [
                {"role": "user", "content": row["messages"][1]["content"]},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "It is on its way."},
                {"role": "assistant", "content": row["messages"][2]["content"]},
            ],
            "tools": [json.loads(json.dumps(TOOL))],
        }
        for path, value in changes.items():
            _put(told, path.split("__"), value)
        return told

    return spoil


def _put(value: Any, path: list[str], new: Any) -> None:
    for key in path[:-1]:
        value = value[int(key) if key.isdigit() else key]
    value[path[-1]] = new


def _raw(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def _mistaken(text: str) -> str:
    return text.encode().decode("cp1252")


GOOD_CALL = '{"number": 7}'
DEFECTS: dict[Rule, Spoil] = {
    Rule.NOT_UTF8: lambda row, _, rng: _raw(row).replace(b"a", b"\xff", 1),
    Rule.NOT_JSON: lambda row, _, rng: _raw(row)[: -rng.randrange(1, 20)],
    Rule.NOT_OBJECT: lambda row, _, rng: json.dumps([row["messages"][1]["content"]]),
    Rule.HALF_CHARACTER: lambda row, _, rng: _raw(row).replace(b"e", b"\\ud83d", 1),
    Rule.UNKNOWN_FORMAT: lambda row, _, rng: {"q": row["messages"][1]["content"], "a": "1"},
    Rule.MIXED_FORMATS: lambda row, _, rng: {
        "prompt": row["messages"][1]["content"],
        "completion": row["messages"][2]["content"],
    },
    Rule.EXTRA_KEY: lambda row, _, rng: {**row, "id": rng.randrange(10**6)},
    Rule.BLANK_LINE: lambda row, _, rng: b"  ",
    Rule.BAD_MESSAGE: lambda row, _, rng: {"messages": [row["messages"][1]["content"]]},
    Rule.UNKNOWN_ROLE: _message(1, role="narrator"),
    Rule.BAD_CONTENT: _message(1, content=7),
    Rule.BAD_WEIGHT: _message(2, weight=0.5),
    Rule.NOTHING_LEARNED: lambda row, _, rng: {"messages": row["messages"][:2]},
    Rule.LATE_SYSTEM: lambda row, _, rng: {
        "messages": [*row["messages"][1:], row["messages"][0], *row["messages"][1:]]
    },
    Rule.NO_LAST_ANSWER: lambda row, _, rng: {
        "messages": [*row["messages"], {"role": "user", "content": "Thank you."}]
    },
    Rule.EMPTY_ANSWER: _said(2, lambda text, rng: " "),
    Rule.EMPTY_PROMPT: _said(1, lambda text, rng: "\n"),
    Rule.DUPLICATE: lambda _, other, rng: other,
    Rule.NEARLY_SAME: lambda _, other, rng: _said(1, lambda text, rng: text.upper() + "!")(
        other, other, rng
    ),
    Rule.CONTRADICTION: lambda row, other, rng: {
        "messages": [*other["messages"][:2], row["messages"][2]]
    },
    Rule.BAD_TOOL: _calls("find_order", GOOD_CALL, tools__0__function="find_order"),
    Rule.BAD_TOOL_SCHEMA: _calls(
        "find_order", GOOD_CALL, tools__0__function__parameters={"type": "objekt"}
    ),
    Rule.BAD_CALL: _calls("find_order", GOOD_CALL, messages__1__tool_calls__0__function="go"),
    Rule.UNKNOWN_FUNCTION: _calls("cancel_order", GOOD_CALL),
    Rule.ARGUMENTS_NOT_JSON: _calls("find_order", "number=7"),
    Rule.ARGUMENTS_SCHEMA: _calls("find_order", '{"number": "seven"}'),
    Rule.ANSWER_WITHOUT_CALL: _calls("find_order", GOOD_CALL, messages__2__tool_call_id="c9"),
    Rule.MOJIBAKE: _with(_mistaken("Señor Müller in the café: déjà vu.")),
    Rule.REPLACEMENT_CHARACTER: _with("The caf\ufffd was closed."),
    Rule.CONTROL_CHARACTER: _with("Bold\x1b[1m and\x07 loud."),
    Rule.EMAIL: _with("Write to jane.doe{n}@mail-provider.net about it."),
    Rule.PHONE: _with("Call +44 20 7946 09{n} after six."),
    Rule.CARD: _with("The card is 4111 1111 1111 1111."),
    Rule.IBAN: _with("Pay to GB82 WEST 1234 5698 7654 32."),
    Rule.SECRET: _with("The key is AKIA" + "Q3EGRIPB7WZ5MK" + "{n}."),
}
LEAKS: dict[Rule, Callable[[Row, random.Random], bytes | str | Row]] = {
    Rule.LEAK_EXACT: lambda held, rng: held,
    Rule.LEAK_NORMALISED: lambda held, rng: _said(1, lambda text, rng: text.lower() + " ")(
        held, held, rng
    ),
    Rule.LEAK_NEAR: lambda held, rng: _said(1, lambda text, rng: text + " Please.")(
        held, held, rng
    ),
}


def spoilt(clean: list[Row], held: list[Row]) -> tuple[list[bytes], dict[Rule, set[int]]]:
    """Lines with defects among them, and the line of each."""
    rng = random.Random(SEED)
    needed = NUM_DEFECTS * (len(DEFECTS) + len(LEAKS))
    spare, kept = clean[:needed], clean[needed:]
    entries: list[tuple[Rule | None, bytes]] = [(None, _raw(row)) for row in kept]
    first = len(kept) // 2  # what repeats a row comes behind it
    made = []
    for rule, spoil in DEFECTS.items():
        for other in rng.sample(kept[:first], NUM_DEFECTS):
            made.append((rule, _as_line(spoil(spare.pop(), other, rng))))
    for leak, change in LEAKS.items():
        made += [(leak, _as_line(change(row, rng))) for row in rng.sample(held, NUM_DEFECTS)]
    for entry in made:
        entries.insert(rng.randrange(first + 1, len(entries)), entry)
    lines: dict[Rule, set[int]] = defaultdict(set)
    for number, (defect, _) in enumerate(entries, 1):
        if defect is not None:
            lines[defect].add(number)
    return [raw for _, raw in entries], lines


def _as_line(value: bytes | str | Row) -> bytes:
    if isinstance(value, bytes):
        return value
    return value.encode() if isinstance(value, str) else _raw(value)


def findings(lines: Iterable[bytes], held: Held | None) -> list[tuple[Rule, int | None]]:
    examination = Examination(held=held)
    numbered = whole_lines(raw + b"\n" for raw in lines)
    return [(f.rule, f.line) for raw, line in numbered for f in examination.check(raw, line)]


def _print_recall(clean: list[Row], held: list[Row]) -> None:
    lines, seeded = spoilt(clean, held)
    found = findings(lines, held_by(_raw(row) + b"\n" for row in held))
    by_rule: dict[Rule, set[int | None]] = defaultdict(set)
    for rule, line in found:
        by_rule[rule].add(line)
    spoilt_lines = set().union(*seeded.values())
    print("| rule | seeded | found | recall | elsewhere |\n| --- | --- | --- | --- | --- |")
    for rule in filter(seeded.__contains__, Rule):
        places = seeded[rule]
        hits = len(places & by_rule[rule])
        elsewhere = len({line for line in by_rule[rule] if line not in spoilt_lines})
        print(f"| `{rule}` | {len(places)} | {hits} | {hits / len(places):.0%} | {elsewhere} |")
    hits = sum(len(places & by_rule[rule]) for rule, places in seeded.items())
    total = sum(map(len, seeded.values()))
    print(f"| all | {total} | {hits} | {hits / total:.1%} | |")


def _print_alarms(name: str, clean: list[Row], held: list[Row]) -> None:
    found = findings(map(_raw, clean), held_by(_raw(row) + b"\n" for row in held))
    counts = Counter(rule for rule, _ in found)
    said = ", ".join(f"`{rule}` {number}" for rule, number in counts.most_common()) or "none"
    print(f"| {name} | {len(clean):,} | {said} |")


def _print_time(name: str, clean: list[Row], held: list[Row]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file, validation = Path(folder) / "rows.jsonl", Path(folder) / "validation.jsonl"
        with file.open("wb") as out:
            for number in range(NUM_LARGE):
                row = clean[number % len(clean)]
                question = f"{row['messages'][1]['content']} ({number // len(clean)})"
                out.write(_raw(_message(1, content=question)(row, row, random.Random())) + b"\n")  # type: ignore[arg-type]
        validation.write_bytes(b"\n".join(map(_raw, held)) + b"\n")
        command = [sys.executable, "-m", "tunesmith", "data", "check", str(file)]
        began_at = time.monotonic()
        done = subprocess.run(
            [*command, "--against", str(validation), "--json"], capture_output=True
        )
        seconds = time.monotonic() - began_at
        if json.loads(done.stdout or b"{}").get("num_examples") != NUM_LARGE:
            sys.exit(f"The rows were not examined: {done.stderr.decode()}")
        print(f"| {name} | {file.stat().st_size / 1e6:.0f} MB | {seconds:.1f} s |")


if __name__ == "__main__":
    main()
