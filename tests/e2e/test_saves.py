"""Killed while it saves, or on a disk that is full, a job ends as if nothing had been."""

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.service import (
    PATIENCE_SECONDS,
    TUNESMITH,
    Service,
    wait_for_job,
    wait_until,
)
from tests.small_disk import small_disk

NUM_KILLS = 3  # fewer than lost attempts in a row would fail the job
DISK_BYTES = 16 * 1024**2


def _create_job(service: Service) -> str:
    client = service.client
    training = client.files.create(file=("t.jsonl", conversations(300)), purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training.id,
        seed=3,
        hyperparameters={"n_epochs": 15, "batch_size": 3, "learning_rate_multiplier": 5},
    ).id


def _adapter(service: Service, model: str | None) -> bytes:
    with service.http as http:
        content = http.get(f"/v1/models/{model}/files/adapter_model.safetensors")
        return content.raise_for_status().content


@pytest.fixture(scope="module")
def unbroken(service: Service) -> bytes:
    job = wait_for_job(service, _create_job(service))
    return _adapter(service, job.fine_tuned_model)


def _kill_host_while_it_saves(service: Service) -> None:
    attempts = service.data_dir / "worker" / "attempts"

    def is_saving() -> bool:
        try:
            return any(attempts.glob("*/output/checkpoints/.step-*.partial"))
        except FileNotFoundError:  # an attempt's folder went while it was looked through
            return False

    deadline = time.monotonic() + PATIENCE_SECONDS
    while not is_saving():  # without a pause: a save takes milliseconds
        assert time.monotonic() < deadline
    for pid in service.processes("tunesmith.compute.host"):
        os.kill(pid, signal.SIGKILL)


def test_a_host_that_is_killed_while_it_saves(make_service: ServiceMaker, unbroken: bytes) -> None:
    service = make_service(checkpoint_seconds="0.01")
    service.start()
    job_id = _create_job(service)
    for _ in range(NUM_KILLS):
        _kill_host_while_it_saves(service)

    job = wait_for_job(service, job_id)

    assert _adapter(service, job.fine_tuned_model) == unbroken
    said = [e.message for e in service.client.fine_tuning.jobs.list_events(job_id, limit=100)]
    assert sum("interrupted" in message for message in said) >= 1
    service.stop()


def test_a_job_on_a_full_disk_is_paused_and_goes_on_when_there_is_room(
    make_service: ServiceMaker, unbroken: bytes, tmp_path: Path
) -> None:
    service = make_service(command="server", checkpoint_seconds="0.5", min_free_bytes="0")
    service.start()
    jobs = service.client.fine_tuning.jobs
    key = service.run("keys", "create", "--scopes", "worker").strip()
    with small_disk(tmp_path / "scratch", DISK_BYTES) as scratch:
        command = [*TUNESMITH, "worker", "--server", service.url, "--name", "box"]
        command += ["--work-dir", str(scratch / "work")]
        environment = {**service.environment, "TUNESMITH_API_KEY": key}
        worker = subprocess.Popen(command, env=environment)
        try:
            job_id = _create_job(service)
            wait_until(lambda: bool(jobs.checkpoints.list(job_id).data), "a checkpoint")
            ballast = scratch / "ballast"
            ballast.write_bytes(bytes(shutil.disk_usage(scratch).free))

            wait_until(lambda: str(jobs.retrieve(job_id).status) == "paused", "the pause")
            said = [event.message for event in jobs.list_events(job_id, limit=100)]
            assert any("The disk of worker box is full: needs" in message for message in said)

            ballast.unlink()
            jobs.resume(job_id)
            job = wait_for_job(service, job_id)
            assert _adapter(service, job.fine_tuned_model) == unbroken
        finally:
            worker.terminate()
            worker.wait(60)
    service.stop()
