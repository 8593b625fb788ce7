"""A worker stands still while another one does its job, and then goes on as if nothing had been.

The suite gives its name to the other one, which ends its leases at once; waiting for three leases
to run out takes minutes: `python -m tests.e2e.test_stopped_worker`.
"""

import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.service import (
    TUNESMITH,
    Service,
    steps_done,
    wait_for_job,
    wait_until,
)
from tests.tiny_models import make_tiny_llama

HOST = "tunesmith.compute.host"
NUM_STEPS = 600
LEASES_SECONDS = 180.0

Worker = subprocess.Popen[bytes]


@contextmanager
def worker(service: Service, folder: Path, name: str, work: str) -> Iterator[Worker]:
    key = service.run("keys", "create", "--scopes", "worker").strip()
    environment = {**service.environment, "TUNESMITH_API_KEY": key}
    command = [*TUNESMITH, "worker", "--server", service.url, "--name", name]
    with (folder / f"{work}.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--work-dir", str(folder / work)], env=environment, stderr=log
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def create_job(service: Service) -> str:
    client = service.client
    training = client.files.create(file=("t.jsonl", conversations(300)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training.id,
        seed=3,
        hyperparameters={"n_epochs": 6, "batch_size": 3, "learning_rate_multiplier": 5},
    )
    return job.id


def adapter(service: Service, model: str | None) -> bytes:
    with service.http as http:
        content = http.get(f"/v1/models/{model}/files/adapter_model.safetensors")
        return content.raise_for_status().content


def stand_still(
    service: Service, folder: Path, other: str, wait_for_the_end_of_leases: Callable[[], None]
) -> None:
    """A job comes to its end once, whatever its first worker says when it wakes."""
    with worker(service, folder, "box", "one") as first:
        job_id = create_job(service)
        checkpoints = service.client.fine_tuning.jobs.checkpoints
        wait_until(lambda: bool(checkpoints.list(job_id).data), "a checkpoint")
        # Its host is not halted: it trains on, and tells nobody.
        first.send_signal(signal.SIGSTOP)
        wait_for_the_end_of_leases()
        with worker(service, folder, other, "two"):
            count = len(steps_done(service, job_id))
            wait_until(lambda: len(steps_done(service, job_id)) > count, "the other to train")
            first.send_signal(signal.SIGCONT)
            job = wait_for_job(service, job_id)
            assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
            wait_until(lambda: num_refused(service) > 0, "a report to be refused")
            again = wait_for_job(service, create_job(service))
            unbroken = adapter(service, again.fine_tuned_model)
    assert adapter(service, job.fine_tuned_model) == unbroken
    events = service.client.fine_tuning.jobs.list_events(job_id, limit=100)
    assert sum("successfully completed" in event.message for event in events) == 1


def num_refused(service: Service) -> int:
    """Reports of attempts that are over."""
    lines = [line for line in service.log.splitlines() if "/reports" in line]
    return sum('"status": 409' in line for line in lines)


@pytest.mark.slow
def test_what_a_worker_says_that_was_replaced_is_refused(
    make_service: ServiceMaker, tmp_path: Path
) -> None:
    service = make_service("server", checkpoint_seconds="0.5", max_pass_tokens="0")
    service.start()
    stand_still(service, tmp_path, "box", lambda: None)
    service.stop()


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        service = Service(folder / "data", "server", checkpoint_seconds="0.5", max_pass_tokens="0")
        service.run("models", "add", BASE, "--from", str(make_tiny_llama(folder / "base")))
        service.start()
        try:
            stand_still(service, folder, "other", lambda: time.sleep(LEASES_SECONDS))
            print(f"One result, equal to an undisturbed one; {num_refused(service)} refused.")
        finally:
            service.stop()


if __name__ == "__main__":
    main()
