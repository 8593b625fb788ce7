"""Real data: BANKING77 as a chat classifier, trained and measured through the public API.

The data (Casanueva et al. 2020, "Efficient Intent Detection with Dual Sentence Encoders") is the
folder `banking_data/` of github.com/PolyAI-LDN/task-specific-datasets, CC BY 4.0. Run it as
`python -m examples.banking77 FOLDER`.
"""

import argparse
import csv
import json
import random
from pathlib import Path

from rich.console import Console

from examples.demo import Question, as_question, ask_all, running_service, watch

console = Console()
Row = dict[str, list[dict[str, str]]]


def read_rows(folder: Path, split: str) -> list[Row]:
    """Conversations: the intents as system message, a customer's message, its intent."""
    intents = json.loads((folder / "categories.json").read_text())
    system = "Name the intent of the customer's message, one of: " + ", ".join(intents) + "."
    with (folder / f"{split}.csv").open(newline="") as file:
        return [as_row(system, line["text"], line["category"]) for line in csv.DictReader(file)]


def as_row(system: str, text: str, category: str) -> Row:
    return {
        "messages": [
            {"role": "system", "content": system},
            {"role": "user", "content": text},
            {"role": "assistant", "content": category},
        ]
    }


def sample(rows: list[Row], num_rows: int) -> list[Row]:
    """A seeded sample without replacement; all of them where there are not so many."""
    return random.Random(0).sample(rows, min(num_rows, len(rows)))


def as_jsonl(rows: list[Row]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def share_right(questions: list[Question], answers: list[str]) -> float:
    right = sum(a == q.answer for a, q in zip(answers, questions, strict=True))
    return right / len(questions)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="the folder with train.csv and test.csv")
    parser.add_argument("--model", default="tunesmith-tiny")
    parser.add_argument("--rows", type=int, default=20_000, help="training rows at most")
    parser.add_argument("--questions", type=int, default=20_000, help="test rows at most")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--multiplier", type=float, default=1.0, help="of the learning rate")
    parser.add_argument("--data-dir", type=Path, default=Path("data"))
    arguments = parser.parse_args()
    rows = sample(read_rows(arguments.folder, "train"), arguments.rows)
    test = sample(read_rows(arguments.folder, "test"), arguments.questions)
    questions = [as_question(row) for row in test]
    hyperparameters = {
        "n_epochs": arguments.epochs,
        "batch_size": arguments.batch_size,
        "learning_rate_multiplier": arguments.multiplier,
    }
    with running_service(arguments.data_dir) as client:
        uploaded = client.files.create(
            file=("banking77.jsonl", as_jsonl(rows)), purpose="fine-tune"
        )
        job = client.fine_tuning.jobs.create(
            model=arguments.model,
            training_file=uploaded.id,
            suffix="banking77",
            seed=1,
            method={"type": "supervised", "supervised": {"hyperparameters": hyperparameters}},
        )
        job = watch(client, job)
        for name, model in (("base", job.model), ("tuned", str(job.fine_tuned_model))):
            answers = ask_all(client, model, questions, f"asking the {name} model")
            share = share_right(questions, answers)
            console.print(f"{name}: {share:.1%} of {len(questions)} test rows exactly right")


if __name__ == "__main__":
    main()
