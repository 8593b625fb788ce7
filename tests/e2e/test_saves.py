"""Killed while it saves, or on a disk that is full, a job ends as if nothing had been."""

import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import ServiceMaker
from tests.e2e.lone_worker import HOST, lone_worker
from tests.e2e.recipes import adapter_of, create_job, messages_of, wait_for_checkpoint
from tests.e2e.service import PATIENCE_SECONDS, Service, wait_for_job, wait_until
from tests.small_disk import small_disk

NUM_EPOCHS = 15
NUM_KILLS = 3  # fewer than lost attempts in a row would fail the job
DISK_BYTES = 16 * 1024**2


@pytest.fixture(scope="module")
def unbroken(service: Service) -> bytes:
    job = wait_for_job(service, create_job(service, n_epochs=NUM_EPOCHS))
    return adapter_of(service, job.fine_tuned_model)


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
    for pid in service.processes(HOST):
        os.kill(pid, signal.SIGKILL)


def test_a_host_that_is_killed_while_it_saves(make_service: ServiceMaker, unbroken: bytes) -> None:
    service = make_service(checkpoint_seconds="0.01")
    service.start()
    job_id = create_job(service, n_epochs=NUM_EPOCHS)
    for _ in range(NUM_KILLS):
        _kill_host_while_it_saves(service)

    job = wait_for_job(service, job_id)

    assert adapter_of(service, job.fine_tuned_model) == unbroken
    assert any("interrupted" in message for message in messages_of(service, job_id))
    service.stop()


def test_a_job_on_a_full_disk_is_paused_and_goes_on_when_there_is_room(
    make_service: ServiceMaker, unbroken: bytes, tmp_path: Path
) -> None:
    service = make_service(command="server", checkpoint_seconds="0.5", min_free_bytes="0")
    service.start()
    jobs = service.client.fine_tuning.jobs
    with (
        small_disk(tmp_path / "scratch", DISK_BYTES) as scratch,
        lone_worker(service, scratch / "work"),
    ):
        job_id = create_job(service, n_epochs=NUM_EPOCHS)
        wait_for_checkpoint(service, job_id)
        ballast = scratch / "ballast"
        ballast.write_bytes(bytes(shutil.disk_usage(scratch).free))

        wait_until(lambda: str(jobs.retrieve(job_id).status) == "paused", "the pause")
        said = messages_of(service, job_id)
        assert any("The disk of worker box is full: needs" in message for message in said)

        ballast.unlink()
        jobs.resume(job_id)
        job = wait_for_job(service, job_id)
        assert adapter_of(service, job.fine_tuned_model) == unbroken
    service.stop()
