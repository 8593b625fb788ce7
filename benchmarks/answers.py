"""How long who asks waits: of a service whose host does nothing else, and of one that trains.

Questions come one at a time through OpenAI's API, for the base and for a tuned model by turns.
"""

import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import openai

from benchmarks import service
from benchmarks.polling import steps_by_time
from benchmarks.session import Session
from benchmarks.throughput import prepared
from tests.e2e.service import Service

WORKLOAD = "gsm8k"
TUNED_EXAMPLES = 12
TRAINED_EXAMPLES = 3000  # more than are trained while the questions are asked
EXAMPLES_PER_STEP = 16
ALONE_SECONDS = 15.0
NUM_QUESTIONS = 24
NUM_TOKENS = 32


def measure(session: Session, model: str) -> None:
    if session.known("answers", model=model):
        return
    with service.running(session, model, "answers") as running:
        questions = _questions(session, model)
        small = prepared(session, model, WORKLOAD, TUNED_EXAMPLES).rows
        tuned = _tuned(running, small)
        idle = [_answer(running, tuned, n, question) for n, question in enumerate(questions)]
        job_id = service.submit(
            running, prepared(session, model, WORKLOAD, TRAINED_EXAMPLES).rows, EXAMPLES_PER_STEP
        )
        service.wait_for_first_step(running.client, job_id)
        time.sleep(ALONE_SECONDS)
        step_seconds = [seconds for _, seconds in steps_by_time(running.data_dir)][3:]
        busy = [_answer(running, tuned, n, question) for n, question in enumerate(questions)]
        job = running.client.fine_tuning.jobs.retrieve(job_id)
        assert job.status == "running", f"{job.status}: the job has to outlast the questions"
        running.client.fine_tuning.jobs.cancel(job_id)
    for host, answers in (("idle", idle), ("training", busy)):
        first = [answer["first_token_seconds"] for answer in answers]
        session.add(
            "answers",
            f"{model}, {host}: first token after {median(first):.3f} s, {max(first):.3f} s at most",
            model=model,
            host=host,
            answers=answers,
            step_seconds=step_seconds if host == "training" else [],
        )


def _questions(session: Session, model: str) -> list[Any]:
    """Messages that no job has learnt from."""
    files = prepared(session, model, WORKLOAD, NUM_QUESTIONS, skip=TRAINED_EXAMPLES)
    rows = map(json.loads, files.rows.read_text(encoding="utf-8").splitlines())
    return [row["messages"][:-1] for row in rows]


def _tuned(running: Service, rows: Path) -> str:
    job_id = service.submit(running, rows, 4)
    service.wait_for_jobs(running.client, [job_id])
    name = running.client.fine_tuning.jobs.retrieve(job_id).fine_tuned_model
    assert name is not None
    return name


def _answer(running: Service, tuned: str, number: int, question: Any) -> dict[str, Any]:
    name = tuned if number % 2 else service.BASE
    began_at = time.monotonic()
    stream = running.client.chat.completions.create(
        model=name,
        messages=question,
        max_tokens=NUM_TOKENS,
        temperature=0,
        stream=True,
        stream_options={"include_usage": True},
    )
    first_seconds, usage = _read(stream, began_at)
    return {
        "model": "tuned" if number % 2 else "base",
        "first_token_seconds": first_seconds,
        "seconds": time.monotonic() - began_at,
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
    }


def _read(stream: "openai.Stream[Any]", began_at: float) -> tuple[float, Any]:
    """Seconds until the first text, and what was used."""
    first_seconds = usage = None
    for chunk in stream:
        usage = chunk.usage or usage
        if first_seconds is None and chunk.choices and chunk.choices[0].delta.content:
            first_seconds = time.monotonic() - began_at
    assert first_seconds is not None, "an answer without text"
    return first_seconds, usage
