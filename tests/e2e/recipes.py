"""One job that takes a while, how it is begun, and what it makes: whatever happens meanwhile."""

import json
from typing import Any

from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import Service, wait_until

ADAPTER_FILE = "adapter_model.safetensors"
ROWS_PER_EPOCH = 300


def create_job(service: Service, *, n_epochs: int = 6, batch_size: int = 3) -> str:
    """The same each time, to the last byte of what it makes."""
    client = service.client
    rows = conversations(ROWS_PER_EPOCH)
    training = client.files.create(file=("t.jsonl", rows), purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training.id,
        seed=3,
        hyperparameters={
            "n_epochs": n_epochs,
            "batch_size": batch_size,
            "learning_rate_multiplier": 5,
        },
    ).id


def wait_for_checkpoint(service: Service, job_id: str) -> None:
    """Far enough to have something to lose, and not at the end."""
    jobs = service.client.fine_tuning.jobs
    wait_until(lambda: bool(jobs.checkpoints.list(job_id).data), "a checkpoint")
    assert jobs.retrieve(job_id).status == "running"


def adapter_of(service: Service, model: str | None) -> bytes:
    with service.http as http:
        content = http.get(f"/v1/models/{model}/files/{ADAPTER_FILE}")
        return content.raise_for_status().content


def lock_of(service: Service, model: str | None) -> Any:
    with service.http as http:
        content = http.get(f"/v1/models/{model}/files/job.lock").raise_for_status().content
        return json.loads(content)


def messages_of(service: Service, job_id: str) -> list[str]:
    """What the job's events say, the newest first."""
    events = service.client.fine_tuning.jobs.list_events(job_id, limit=100)
    return [event.message for event in events]
