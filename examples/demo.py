"""The main job through the public API: upload, train, and ask base and tuned the same questions.

Everything here but `running_service` is an ordinary program for OpenAI's API.
"""

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import openai
from openai.types.fine_tuning import FineTuningJob
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

HERE = Path(__file__).parent
TICKETS = HERE / "support-tickets"
TUNESMITH = [sys.executable, "-m", "tunesmith"]
QUESTIONS_AT_ONCE = 16

console = Console()


@dataclass(frozen=True)
class Question:
    """A held-out row: what is asked, and the answer that is right."""

    messages: list[dict[str, str]]
    answer: str


def main() -> None:
    arguments = parse_arguments()
    training, validation, questions = load_data(arguments)
    with running_service(arguments.data_dir) as client:
        job = create_job(client, arguments, training, validation)
        job = watch(client, job)
        base = ask_all(client, job.model, questions, "asking the base model ")
        tuned = ask_all(client, str(job.fine_tuned_model), questions, "asking the tuned model")
    show(job, questions, base, tuned)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, help="your own chat JSONL; a tenth is held out")
    parser.add_argument("--model", default="tunesmith-tiny", help="base model to tune")
    parser.add_argument("--epochs", type=int, help="passes over the data")
    parser.add_argument("--data-dir", type=Path, default=Path("data"), help="the service's folder")
    parser.add_argument("--questions", type=int, default=500, help="held-out rows to ask at most")
    return parser.parse_args()


def load_data(arguments: argparse.Namespace) -> tuple[bytes, bytes | None, list[Question]]:
    """Training file, validation file, and what neither of them holds."""
    if arguments.data is None:
        lines = (TICKETS / "test.jsonl").read_bytes().splitlines()
        held_out = [json.loads(line) for line in lines]
        questions = [as_question(row) for row in held_out[: arguments.questions]]
        validation = (TICKETS / "validation.jsonl").read_bytes()
        return (TICKETS / "train.jsonl").read_bytes(), validation, questions
    if not arguments.data.is_file():
        sys.exit(f"There is no file {arguments.data}.")
    lines = [line for line in arguments.data.read_bytes().splitlines() if line.strip()]
    random.Random(0).shuffle(lines)
    num_held_out = min(max(1, len(lines) // 10), arguments.questions)
    try:
        questions = [as_question(json.loads(line)) for line in lines[:num_held_out]]
    except (ValueError, KeyError, IndexError, TypeError):
        sys.exit(f'{arguments.data}: every line must be {{"messages": […]}}, an answer last.')
    return b"\n".join(lines[num_held_out:]), None, questions


def as_question(row: dict[str, list[dict[str, str]]]) -> Question:
    *messages, last = row["messages"]
    return Question(messages=messages, answer=last["content"].strip())


@contextmanager
def running_service(data_dir: Path) -> Iterator[openai.OpenAI]:
    """A client of the service on this data folder, which is started unless it runs already."""
    create_key = [*TUNESMITH, "keys", "create", "--name", "demo", "--data-dir", str(data_dir)]
    made = subprocess.run(create_key, stdout=subprocess.PIPE, text=True)
    if made.returncode:
        sys.exit("The service could not make a key; see above.")
    key = made.stdout.strip()
    address = data_dir / "server.json"
    if address.is_file():
        url = json.loads(address.read_text())["url"]
        console.print(f"Using the service that runs at {url}")
        yield openai.OpenAI(base_url=f"{url}/v1", api_key=key)
        return
    serve = [*TUNESMITH, "serve", "--port", "0", "--data-dir", str(data_dir)]
    process = subprocess.Popen(serve, stdout=subprocess.DEVNULL, start_new_session=True)
    try:
        while not address.is_file():
            if process.poll() is not None:
                sys.exit("The service did not start; see above.")
            time.sleep(0.1)
        url = json.loads(address.read_text())["url"]
        console.print(f"Service started at {url}, data in {data_dir}")
        yield openai.OpenAI(base_url=f"{url}/v1", api_key=key)
    finally:
        process.terminate()
        process.wait()


def create_job(
    client: openai.OpenAI, arguments: argparse.Namespace, training: bytes, validation: bytes | None
) -> FineTuningJob:
    uploaded = client.files.create(file=("train.jsonl", training), purpose="fine-tune")
    checked = validation and client.files.create(
        file=("validation.jsonl", validation), purpose="fine-tune"
    )
    job = client.fine_tuning.jobs.create(
        model=arguments.model,
        training_file=uploaded.id,
        validation_file=checked.id if checked else openai.omit,
        suffix="demo",
        seed=1,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": arguments.epochs or "auto"}},
        },
    )
    console.print(f"Uploaded {uploaded.id}, created {job.id} on {job.model}")
    return job


def watch(client: openai.OpenAI, job: FineTuningJob) -> FineTuningJob:
    """A progress bar until the job has ended; leaves the program if it failed."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("waiting", total=None, figures="")
        while job.status not in ("succeeded", "failed", "cancelled"):
            time.sleep(0.5)
            job = client.fine_tuning.jobs.retrieve(job.id)
            for event in client.fine_tuning.jobs.list_events(job.id, limit=20).data:
                if event.type == "metrics":
                    progress.update(bar, description="training", **figures_of(job, event.data))
                    break
    if job.status != "succeeded":
        reason = job.error.message if job.error else ""
        sys.exit(f"The job has {job.status}. {reason}")
    for event in reversed(client.fine_tuning.jobs.list_events(job.id, limit=10).data):
        if event.type == "message":
            console.print(f"  {event.message}", style="dim", highlight=False)
    return job


def figures_of(job: FineTuningJob, metrics: dict[str, float]) -> dict[str, object]:
    pace = metrics["tokens"] / metrics["seconds"]
    left = max(0, (job.estimated_finish or time.time()) - time.time())
    return {
        "completed": metrics["step"],
        "total": metrics["total_steps"],
        "figures": f"loss {metrics['train_loss']:.3f}  {pace:,.0f} tokens/s  {left:.0f} s left",
    }


def ask_all(client: openai.OpenAI, model: str, questions: list[Question], title: str) -> list[str]:
    def ask(question: Question) -> str:
        answer = client.chat.completions.create(
            model=model,
            messages=question.messages,  # type: ignore[arg-type]
            temperature=0,
            max_completion_tokens=max(32, len(question.answer)),
        )
        return (answer.choices[0].message.content or "").strip()

    with Progress(console=console) as progress, ThreadPoolExecutor(QUESTIONS_AT_ONCE) as pool:
        return list(progress.track(pool.map(ask, questions), len(questions), description=title))


def show(job: FineTuningJob, questions: list[Question], base: list[str], tuned: list[str]) -> None:
    table = Table("question", "right answer", "base", "tuned", title="A few held-out questions")
    for question, base_answer, tuned_answer in list(zip(questions, base, tuned, strict=True))[:6]:
        asked = question.messages[-1]["content"]
        style = "green" if tuned_answer == question.answer else "red"
        cells = [cell if len(cell) < 80 else f"{cell[:77]}…" for cell in (asked, base_answer)]
        table.add_row(cells[0], question.answer, cells[1], f"[{style}]{tuned_answer}[/{style}]")
    console.print(table)
    for name, model, answers in (
        ("base ", job.model, base),
        ("tuned", job.fine_tuned_model, tuned),
    ):
        right = sum(a == q.answer for a, q in zip(answers, questions, strict=True))
        share = right / len(questions)
        console.print(
            f"{name}  {share:6.1%} exactly right ({right} of {len(questions)})  {model}",
            highlight=False,
        )


if __name__ == "__main__":
    try:
        main()
    except openai.APIStatusError as error:
        sys.exit(error.message)
    except KeyboardInterrupt:
        sys.exit("Stopped. The job goes on when the service is started again: make serve")
