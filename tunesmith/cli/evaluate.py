"""`eval`: how many held-out rows a model has right, and its base beside it."""

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rapidfuzz.fuzz import ratio
from rich.progress import Progress

from tunesmith.cli.options import AsJson, DataDir, fail, print_json
from tunesmith.cli.output import Console, Table
from tunesmith.cli.remote import Remote, connected, model_path
from tunesmith.dialects import openai

_AT_ONCE = 16
_SPARE_TOKENS = 32  # beyond as many as the right answer has letters


@dataclass(frozen=True, slots=True)
class Question:
    """A held-out row: what is asked, and the answer that is right."""

    messages: list[dict[str, Any]]
    expected: str


def evaluate(
    model: Annotated[str, typer.Argument(help="The model to be examined.")],
    file: Annotated[Path, typer.Argument(help="Held-out rows, JSON lines.")],
    base: Annotated[
        str | None, typer.Option("--base", help="Ask this model the same, beside it.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="The first so many rows.")] = None,
    show: Annotated[int, typer.Option(min=0, help="Print so many rows that are wrong.")] = 0,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Ask a model held-out rows: how many answers are exactly right, and how alike the others.

    The last assistant message of a row, or its `completion`, is the right answer. Answers are the
    most likely ones (temperature 0); blanks around them do not count.
    """
    questions = read_questions(file)[:limit]
    models = [model] if base is None else [base, model]
    with connected(data_dir) as remote:
        for name in models:
            remote.read(model_path(name))  # whoever is not there is told before all are asked
        answers = {name: _ask_all(remote, name, questions) for name in models}
    results = [_result(name, questions, said) for name, said in answers.items()]
    if as_json:
        print_json(results)
        return
    table = Table("model", "rows", "exactly right", "likeness")
    for result in results:
        shares = (f"{result['exact']:.1%}", f"{result['likeness']:.1%}")
        table.add_row(result["model"], str(result["rows"]), *shares)
    console = Console()
    console.print(table)
    wrong = [(q, said) for q, said in zip(questions, answers[model], strict=True)]
    for question, said in [(q, a) for q, a in wrong if a != q.expected][:show]:
        console.print(
            f"\n{question.messages[-1]['content']}\n  right: {question.expected}\n  said:  {said}",
        )


def read_questions(file: Path) -> list[Question]:
    if not file.is_file():
        fail(f"There is no file {file}.")
    questions = []
    for number, line in enumerate(file.read_text().splitlines(), 1):
        if not line.strip():
            continue
        try:
            questions.append(_question(json.loads(line)))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError):
            fail(
                f'{file}, line {number}: a row is {{"messages": […]}} with the right answer last, '
                'or {"prompt": …, "completion": …}.'
            )
    if not questions:
        fail(f"{file} is empty.")
    return questions


def _question(row: dict[str, Any]) -> Question:
    if "prompt" in row:
        return Question([{"role": "user", "content": row["prompt"]}], row["completion"].strip())
    *messages, last = row["messages"]
    if last["role"] != "assistant" or not messages:
        raise ValueError(row)
    return Question(messages, last["content"].strip())


def _ask_all(remote: Remote, model: str, questions: Sequence[Question]) -> list[str]:
    def ask(question: Question) -> str:
        body = {
            "model": model,
            "messages": question.messages,
            "temperature": 0,
            "max_completion_tokens": len(question.expected) + _SPARE_TOKENS,
        }
        answer = remote.ask("POST", f"{openai.PREFIX}/chat/completions", json=body).json()
        return (answer["choices"][0]["message"]["content"] or "").strip()

    console = Console(stderr=True)
    with (
        Progress(console=console, transient=True, disable=not console.is_terminal) as progress,
        ThreadPoolExecutor(_AT_ONCE) as pool,
    ):
        answers = pool.map(ask, questions)
        return list(progress.track(answers, len(questions), description=f"asking {model}"))


def _result(model: str, questions: Sequence[Question], answers: Sequence[str]) -> dict[str, Any]:
    pairs = [(q.expected, said) for q, said in zip(questions, answers, strict=True)]
    return {
        "model": model,
        "rows": len(pairs),
        "exact": sum(expected == said for expected, said in pairs) / len(pairs),
        "likeness": sum(ratio(expected, said) for expected, said in pairs) / len(pairs) / 100,
    }
