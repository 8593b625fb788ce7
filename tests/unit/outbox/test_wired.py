"""Both ways out of a server that is wired and run as `tunesmith serve` runs it."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import openai
import pytest
from openai.types.webhooks import FineTuningJobSucceededWebhookEvent

from tests.factories import artifact, base_model, metrics, queued_job, registration
from tests.receiver import receiving
from tests.unit.cli.test_admin import serving
from tests.unit.outbox.conftest import add_endpoint
from tests.wandb_server import wandb_serving
from tunesmith.domain.assignments import (
    Report,
    ReportBatch,
    StepReported,
    TrainingFinished,
    TrainingStarted,
)
from tunesmith.domain.jobs import Integration, Job
from tunesmith.services import integrations, leases, scheduling
from tunesmith.services.accounts import DEFAULT_ORGANIZATION
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database

STARTED = TrainingStarted(step=0, total_steps=1, num_examples=10)
WANTED = Integration(kind="wandb", project="proj", name=None, entity=None, tags=())


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.02)


def train(database: Database, blobs: Blobs, job: Job) -> None:
    """What a worker tells the server of a job of one step."""
    box, now = registration(), datetime.now(UTC)
    artifacts = (artifact(blobs),)
    reports: list[Report] = [
        STARTED,
        StepReported(metrics=metrics(1, total_steps=1)),
        TrainingFinished(step=1, trained_tokens=100, artifacts=artifacts),
    ]
    with database.write() as store:
        scheduling.register(store, box, now)
        assignment = scheduling.lease(store, box, now)
        assert assignment is not None
        batch = ReportBatch(sequence=1, reports=tuple(reports))
        leases.record(store, blobs, job.id, assignment.attempt, batch, now)


def test_a_job_that_succeeds_is_told_to_its_webhook_and_to_weights_and_biases(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data"
    with receiving() as receiver, wandb_serving() as wandb:
        monkeypatch.setenv("TUNESMITH_WEBHOOKS_ALLOW_PRIVATE", "true")
        monkeypatch.setenv("TUNESMITH_WANDB_API_KEY", "0123456789" * 4)
        monkeypatch.setenv("TUNESMITH_WANDB_BASE_URL", wandb.url)
        with serving(folder):
            database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
            with database.write() as store:
                owner = store.accounts.find_organization(DEFAULT_ORGANIZATION)
                assert owner is not None
                store.models.put_base(base_model())
                job = queued_job(store, owner, integrations=(WANTED,))
                integrations.open_runs(store, job, datetime.now(UTC))
            endpoint = add_endpoint(database, owner, receiver.url)
            train(database, Blobs(folder / "blobs"), job)
            database.close()
            wait_until(lambda: [run.exit_code for run in wandb.runs.values()] == [0])
            wait_until(lambda: len(receiver.received) == 1)
    (received,) = receiver.received
    client = openai.OpenAI(api_key="none", webhook_secret=endpoint.secret)
    event = client.webhooks.unwrap(received.body, received.headers)
    assert isinstance(event, FineTuningJobSucceededWebhookEvent)
    assert [(name, run.steps) for name, run in wandb.runs.items()] == [(event.data.id, [1])]
