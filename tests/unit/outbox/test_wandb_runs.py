"""With the official library, against as much of its server as it needs."""

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tests.factories import Clock, job, metrics
from tests.wandb_server import WandbServer, wandb_serving
from tunesmith.dialects.openai import integrations as openai_words
from tunesmith.dialects.openai import translate
from tunesmith.domain.accounts import Organization
from tunesmith.domain.events import Event, EventKind, Level
from tunesmith.domain.jobs import Integration, Job, JobStatus
from tunesmith.domain.paging import PageRequest
from tunesmith.http import Foundation
from tunesmith.outbox import wandb_runs
from tunesmith.outbox.wandb_runs import Wandb, Words
from tunesmith.services import integrations
from tunesmith.store.outbox_tables import integration_runs

KEY = "0123456789abcdef" * 3
WORDS = Words(label=openai_words.label, figures=openai_words.figures)
WANTED = Integration(kind="wandb", project="proj", name=None, entity="team", tags=("mine",))


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wandb_runs, "LOOK_SECONDS", 0.01)


@pytest.fixture
def wandb() -> Iterator[WandbServer]:
    with wandb_serving() as running:
        yield running


@pytest.fixture
def running_job(foundation: Foundation, owner: Organization, clock: Clock) -> Job:
    return add_job(foundation, owner, clock, WANTED)


def add_job(foundation: Foundation, owner: Organization, clock: Clock, *wanted: Integration) -> Job:
    made = job(owner, JobStatus.RUNNING, integrations=wanted)
    with foundation.database.write() as store:
        store.jobs.add(made)
        integrations.open_runs(store, made, clock())
    return made


def add_steps(foundation: Foundation, made: Job, *steps: int) -> None:
    with foundation.database.write() as store:
        for step in steps:
            figures = asdict(metrics(step, train_loss=1 / step))
            store.events.add(
                Event(
                    id=uuid4(),
                    job_id=made.id,
                    created_at=foundation.house.now(),
                    kind=EventKind.STEP,
                    step=step,
                    data={name: value for name, value in figures.items() if value is not None},
                )
            )


def end(foundation: Foundation, made: Job, clock: Clock) -> None:
    with foundation.database.write() as store:
        store.jobs.replace(made, made.stopped(clock()))


def warnings(foundation: Foundation, made: Job) -> list[str]:
    with foundation.database.read() as store:
        events = store.events.list_page(made.id, PageRequest(limit=100)).items
    notes = [event for event in events if event.kind is EventKind.NOTE]
    assert all(event.level is Level.WARNING for event in notes)
    return [event.data["message"] for event in notes]


def logging(
    foundation: Foundation, wandb: WandbServer, api_key: str | None = KEY
) -> Coroutine[Any, Any, None]:
    return wandb_runs.log_runs(foundation, Wandb(api_key=api_key, base_url=wandb.url), WORDS)


def run_until(condition: Callable[[], bool], loop: Coroutine[Any, Any, None]) -> None:
    async def scene() -> None:
        running = asyncio.create_task(loop)
        async with asyncio.timeout(30):
            while not condition():
                await asyncio.sleep(0.01)
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running

    asyncio.run(scene())


@dataclass(frozen=True)
class Told:
    """How far an integration has been told."""

    database_url: str
    job: Job

    def __call__(self) -> sa.RowMapping:
        engine = sa.create_engine(self.database_url, poolclass=sa.NullPool)
        with engine.begin() as connection:
            query = sa.select(integration_runs).where(integration_runs.c.job_id == self.job.id)
            return connection.execute(query).mappings().one()

    def is_at(self, step: int) -> bool:
        return self()["logged_step"] == step

    def has_missed(self, times: int) -> bool:
        return self()["misses"] == times

    def is_over(self) -> bool:
        return self()["available_at"] is None


@pytest.fixture
def told(database_url: str, running_job: Job) -> Told:
    return Told(database_url, running_job)


def outer(made: Job) -> str:
    return translate.outer_id("ftjob-", made.id)


def test_a_jobs_figures_are_logged_by_step_under_the_vendors_names(
    foundation: Foundation, wandb: WandbServer, running_job: Job, told: Told, clock: Clock
) -> None:
    add_steps(foundation, running_job, 1, 2, 3)
    run_until(lambda: told.is_at(3), logging(foundation, wandb))
    (name, run), *others = wandb.runs.items()
    assert (name, others, run.steps) == (outer(running_job), [], [1, 2, 3])
    opened = run.upserts[0]
    assert (opened["project"], opened["entity"]) == ("proj", "team")
    assert opened["displayName"] == outer(running_job)
    assert set(opened["tags"]) == {
        "mine",
        "openai/finetune",
        "openai/base",
        f"openai/{outer(running_job)}",
    }
    figures = {key: value for key, value in run.lines[1].items() if not key.startswith("_")}
    assert figures == {
        "train_loss": 0.5,
        "train_mean_token_accuracy": 0.5,
        "learning_rate": 1e-4,
        "grad_norm": 1.0,
        "tokens": 100,
        "seconds": 0.1,
    }
    assert warnings(foundation, running_job) == []


def test_a_run_goes_on_with_its_job_and_ends_with_it(
    foundation: Foundation, wandb: WandbServer, running_job: Job, told: Told, clock: Clock
) -> None:
    add_steps(foundation, running_job, 1, 2)
    run_until(lambda: told.is_at(2), logging(foundation, wandb))
    run = wandb.runs[outer(running_job)]
    assert run.exit_code is None
    add_steps(foundation, running_job, 3, 4)
    clock.advance(integrations.LOOK_AGAIN.total_seconds())
    run_until(lambda: told.is_at(4), logging(foundation, wandb))
    assert (run.steps, run.exit_code) == ([1, 2, 3, 4], None)
    end(foundation, running_job, clock)
    clock.advance(integrations.LOOK_AGAIN.total_seconds())
    run_until(told.is_over, logging(foundation, wandb))
    assert (run.steps, run.exit_code) == ([1, 2, 3, 4], 1)


def test_a_succeeded_job_leaves_a_run_that_went_well(
    foundation: Foundation, wandb: WandbServer, running_job: Job, told: Told, clock: Clock
) -> None:
    add_steps(foundation, running_job, 1)
    with foundation.database.write() as store:
        done = replace(running_job, status=JobStatus.SUCCEEDED, finished_at=clock())
        store.jobs.replace(running_job, done)
    run_until(told.is_over, logging(foundation, wandb))
    assert (wandb.runs[outer(running_job)].exit_code, told()["logged_step"]) == (0, 1)


def test_nothing_is_lost_or_doubled_when_the_server_is_killed_while_it_sends(
    foundation: Foundation, wandb: WandbServer, running_job: Job, told: Told, clock: Clock
) -> None:
    add_steps(foundation, running_job, 1, 2)
    wandb.hangs = True
    run_until(lambda: bool(wandb.authorizations), logging(foundation, wandb))
    wandb.hangs = False
    add_steps(foundation, running_job, 3)
    assert told.is_at(0)
    clock.advance(integrations.CLAIM_SECONDS)
    run_until(lambda: told.is_at(3), logging(foundation, wandb))
    assert wandb.runs[outer(running_job)].steps == [1, 2, 3]


def test_nothing_is_doubled_when_the_server_is_killed_before_it_notes_what_was_taken(
    foundation: Foundation,
    wandb: WandbServer,
    running_job: Job,
    told: Told,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    add_steps(foundation, running_job, 1, 2)

    def killed(*arguments: object) -> None:
        raise asyncio.CancelledError

    with monkeypatch.context() as patched:
        patched.setattr(integrations, "logged", killed)
        run_until(
            lambda: (
                outer(running_job) in wandb.runs and wandb.runs[outer(running_job)].steps == [1, 2]
            ),
            logging(foundation, wandb),
        )
    assert told.is_at(0)
    add_steps(foundation, running_job, 3)
    clock.advance(integrations.CLAIM_SECONDS)
    run_until(lambda: told.is_at(3), logging(foundation, wandb))
    assert wandb.runs[outer(running_job)].steps == [1, 2, 3]


def test_a_job_that_asks_twice_has_two_runs(
    foundation: Foundation, wandb: WandbServer, owner: Organization, clock: Clock
) -> None:
    named = replace(WANTED, name="second")
    made = add_job(foundation, owner, clock, WANTED, named)
    add_steps(foundation, made, 1)
    end(foundation, made, clock)
    first, second = outer(made), f"{outer(made)}-2"
    run_until(
        lambda: all(
            name in wandb.runs and wandb.runs[name].exit_code is not None
            for name in (first, second)
        ),
        logging(foundation, wandb),
    )
    assert wandb.runs[second].upserts[0]["displayName"] == "second"


def test_a_base_model_with_a_long_name_does_not_cost_the_run(
    foundation: Foundation, owner: Organization, clock: Clock
) -> None:
    made = job(owner, base_model="organization/" + "m" * 100, integrations=(WANTED,))
    assert {len(tag) <= 64 for tag in openai_words.label(made, WANTED).tags} == {True}


def test_what_is_not_a_number_is_not_logged() -> None:
    figures = openai_words.figures({"train_loss": float("nan"), "validation_loss": 0.5})
    assert figures == {"valid_loss": 0.5}


def test_without_a_key_a_warning_says_what_to_set_and_no_more_is_tried(
    foundation: Foundation, wandb: WandbServer, running_job: Job, told: Told
) -> None:
    add_steps(foundation, running_job, 1)
    run_until(told.is_over, logging(foundation, wandb, api_key=None))
    (warning,) = warnings(foundation, running_job)
    assert "TUNESMITH_WANDB_API_KEY" in warning
    assert wandb.authorizations == set()


def test_without_the_library_a_warning_says_what_to_install(
    foundation: Foundation,
    wandb: WandbServer,
    running_job: Job,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wandb_runs, "find_spec", lambda _: None)
    add_steps(foundation, running_job, 1)
    run_until(told.is_over, logging(foundation, wandb))
    (warning,) = warnings(foundation, running_job)
    assert "pip install 'tunesmith[wandb]'" in warning


@pytest.mark.parametrize(
    "trouble", [{"status": 401}, {"stream_status": 404}], ids=["refused key", "refused figures"]
)
def test_trouble_is_told_once_and_what_was_missed_is_logged_when_it_is_over(
    foundation: Foundation,
    wandb: WandbServer,
    running_job: Job,
    told: Told,
    clock: Clock,
    trouble: dict[str, int],
) -> None:
    add_steps(foundation, running_job, 1, 2)
    for name, status in trouble.items():
        setattr(wandb, name, status)
    run_until(lambda: told.has_missed(1), logging(foundation, wandb))
    clock.advance(20)
    run_until(lambda: told.has_missed(2), logging(foundation, wandb))
    (warning,) = warnings(foundation, running_job)
    assert "tried again for a day" in warning
    assert KEY not in warning
    wandb.status = wandb.stream_status = 200
    clock.advance(60)
    run_until(lambda: told.is_at(2), logging(foundation, wandb))
    assert wandb.runs[outer(running_job)].steps == [1, 2]
    assert len(warnings(foundation, running_job)) == 1


def test_a_server_that_hangs_is_left_and_what_waits_for_it_is_killed(
    foundation: Foundation,
    wandb: WandbServer,
    running_job: Job,
    told: Told,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(wandb_runs, "MAX_SECONDS", 1.5)
    wandb.hangs = True
    add_steps(foundation, running_job, 1)
    run_until(lambda: told.has_missed(1), logging(foundation, wandb))
    assert "(no answer in time)" in warnings(foundation, running_job)[0]


def test_the_library_learns_no_secret_of_the_server(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TUNESMITH_ADMIN_KEY", "secret")
    monkeypatch.setenv("WANDB_MODE", "offline")
    environment = wandb_runs._environment(tmp_path)
    assert "secret" not in environment.values()
    assert "WANDB_MODE" not in environment
    assert environment["HOME"] == str(tmp_path)
