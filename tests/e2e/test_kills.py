"""Nothing is lost: processes are killed while a job runs, which ends as if nothing had been."""

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import BASE, ServiceMaker
from tests.e2e.lone_worker import HOST, lone_worker
from tests.e2e.recipes import adapter_of, create_job, messages_of, wait_for_checkpoint
from tests.e2e.service import Service, steps_done, wait_for_job, wait_until

NUM_STEPS = 600
WORKER = "tunesmith worker"


@pytest.fixture(scope="module")
def unbroken(service: Service) -> bytes:
    """The adapter of a run that nobody disturbed."""
    job = wait_for_job(service, create_job(service))
    return adapter_of(service, job.fine_tuned_model)


def _kill_host(service: Service) -> None:
    (pid,) = service.processes(HOST)
    os.kill(pid, signal.SIGKILL)


def _kill_worker(service: Service) -> None:
    (pid,) = service.processes(WORKER)
    os.kill(pid, signal.SIGKILL)


def _kill_server_and_start_again(service: Service) -> None:
    service.kill()
    service.start()


def _stop_server_and_start_again(service: Service) -> None:
    assert service.stop() == 0
    service.start()


@pytest.mark.parametrize(
    "disturb",
    [_kill_host, _kill_worker, _kill_server_and_start_again, _stop_server_and_start_again],
)
def test_a_disturbed_job_ends_like_an_undisturbed_one(
    make_service: ServiceMaker, unbroken: bytes, disturb: Callable[[Service], None]
) -> None:
    service = make_service(checkpoint_seconds="0.5")
    service.start()
    job_id = create_job(service)
    wait_for_checkpoint(service, job_id)

    disturb(service)

    job = wait_for_job(service, job_id)
    assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
    assert adapter_of(service, job.fine_tuned_model) == unbroken
    assert any("resumed at step" in message for message in messages_of(service, job_id))
    service.stop()


def test_a_worker_alone_trains_on_while_the_server_is_away(
    make_service: ServiceMaker, unbroken: bytes, tmp_path: Path
) -> None:
    service = make_service(command="server")
    service.start()
    with lone_worker(service, tmp_path / "work") as worker:
        job_id = create_job(service)
        wait_for_checkpoint(service, job_id)

        service.kill()
        service.start()

        job = wait_for_job(service, job_id)
        assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
        assert adapter_of(service, job.fine_tuned_model) == unbroken
        assert not any("interrupted" in line.lower() for line in messages_of(service, job_id))
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0


def test_base_and_checkpoints_answer_while_training_goes_on(service: Service) -> None:
    client = service.client
    job_id = create_job(service)
    wait_for_checkpoint(service, job_id)
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job_id, limit=1).data

    for model in (BASE, checkpoint.fine_tuned_model_checkpoint):
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], max_completion_tokens=5
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens > 0

    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"  # so it was still running


def test_a_cancelled_job_is_cancelled_at_once_and_frees_the_worker(service: Service) -> None:
    first = create_job(service)
    wait_until(lambda: bool(steps_done(service, first)), "the first step")

    cancelled = service.client.fine_tuning.jobs.cancel(first)

    assert cancelled.status == "cancelled"
    wait_for_job(service, create_job(service))
    assert service.client.fine_tuning.jobs.retrieve(first).status == "cancelled"
