"""Measure what DPO does to tunesmith-tiny: how many held-out pairs it gets into the right order.

Run `python -m scripts.preferences [--shares 0.05 0.1]` from the repository's root. 400 support
tickets are learned as examples, for one epoch. 200 others, and 200 of the test set, become pairs of
two kinds: `route` prefers the right route over a random other one; `style` prefers the priority in
front of the topic, which no example shows. A pair is in the right order where the preferred answer
is the more probable one. The preference runs are as a job makes them with everything "auto",
except for the share of the base model's learning rate.
"""

import argparse
import json
import random
import tempfile
from pathlib import Path
from typing import Any

import torch

import tunesmith
from tunesmith.engine import data, loss
from tunesmith.engine.events import Finished, StepDone
from tunesmith.engine.examples import Row
from tunesmith.engine.lora import Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.objective import predicted
from tunesmith.engine.packing import pack
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train

TICKETS = Path(__file__).parent.parent / "examples" / "support-tickets"
TINY = Path(tunesmith.__file__).parent / "assets" / "tunesmith-tiny"
LEARNING_RATE = 2e-3  # of tunesmith-tiny
MAX_TOKENS = 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1])
    shares = parser.parse_args().shares
    torch.set_num_threads(1)
    model = BaseModel.load(TINY)
    training, test = read("train.jsonl"), read("test.jsonl")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        examples = write(folder / "examples.jsonl", training[:400])
        started = finish(model, folder / "examples", training_file=examples, num_epochs=1)
        print(f"{'pairs':8}{'start':10}{'share':>8}{'before':>8}{'after':>8}  validation loss")
        for kind, make in (("route", route_pairs(training + test)), ("style", style_pair)):
            pairs = write(folder / f"{kind}.jsonl", [make(row) for row in training[400:]])
            held_out = write(folder / f"{kind}-test.jsonl", [make(row) for row in test[:200]])
            for start in (None, started[0]):
                before = share_in_order(model, held_out, start)
                for share in shares:
                    after, curve = learn(model, folder / "run", pairs, held_out, start, share)
                    begin = "base" if start is None else "examples"
                    losses = " ".join(f"{value:.3f}" for value in curve)
                    print(f"{kind:8}{begin:10}{share:8}{before:8.1%}{after:8.1%}  {losses}")


def learn(
    model: BaseModel, folder: Path, pairs: Path, held_out: Path, start: Path | None, share: float
) -> tuple[float, list[float]]:
    """The share of held-out pairs in order, and their loss after each epoch."""
    adapter, done = finish(
        model,
        folder,
        method="dpo",
        training_file=pairs,
        validation_file=held_out,
        initial_adapter=start,
        batch_size=3,
        learning_rate=LEARNING_RATE * share,
    )
    losses = [d.full_validation_loss for d in done if d.full_validation_loss is not None]
    return share_in_order(model, held_out, adapter), losses


def finish(model: BaseModel, folder: Path, **changes: Any) -> tuple[Path, list[StepDone]]:
    """The trained adapter, and its steps."""
    fields: dict[str, Any] = {
        "run_id": "run",
        "output_dir": folder,
        "seed": 1,
        "max_length_tokens": MAX_TOKENS,
        "num_epochs": 3,
        "batch_size": 6,
        "learning_rate": LEARNING_RATE,
    }
    events = list(train(model, TrainSpec(**{**fields, **changes}), lambda: False))
    assert isinstance(events[-1], Finished)
    return events[-1].path, [event for event in events if isinstance(event, StepDone)]


@torch.no_grad()
def share_in_order(model: BaseModel, file: Path, adapter: Path | None) -> float:
    routes = []
    if adapter is not None:
        model.adapters.load("asked", adapter)
        routes = [Route(adapter_id="asked")]
    rows = read_pairs(model, file)
    in_order = 0
    for batch in pack(rows, 2048):
        logprobs = loss.answer_logprobs(predicted(model, batch, routes), batch)
        in_order += int((logprobs[:, 0] > logprobs[:, 1]).sum())
    model.adapters.remove("asked")
    return in_order / len(rows)


def read_pairs(model: BaseModel, file: Path) -> list[Row]:
    return data.open_file(file, model.tokenizer, MAX_TOKENS, method="dpo").rows


def route_pairs(rows: list[Any]) -> Any:
    routes = sorted({row["messages"][-1]["content"] for row in rows})
    chance = random.Random(0)

    def make(row: Any) -> Any:
        right = row["messages"][-1]["content"]
        return pair(row, right, chance.choice([route for route in routes if route != right]))

    return make


def style_pair(row: Any) -> Any:
    topic, priority = row["messages"][-1]["content"].split()
    return pair(row, f"{priority} {topic}", f"{topic} {priority}")


def pair(row: Any, preferred: str, other: str) -> Any:
    return {
        "input": {"messages": row["messages"][:-1]},
        "preferred_output": [{"role": "assistant", "content": preferred}],
        "non_preferred_output": [{"role": "assistant", "content": other}],
    }


def read(name: str) -> list[Any]:
    return [json.loads(line) for line in (TICKETS / name).read_text().splitlines()]


def write(path: Path, rows: list[Any]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


if __name__ == "__main__":
    main()
