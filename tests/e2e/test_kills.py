"""Nothing is lost: processes are killed while a job runs, which ends as if nothing had been."""

import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.service import TUNESMITH, Service, steps_done, wait_for_job, wait_until

NUM_STEPS = 600
HOST, WORKER = "tunesmith.compute.host", "tunesmith worker"


def _create_job(service: Service) -> str:
    client = service.client
    training = client.files.create(file=("t.jsonl", conversations(300)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=BASE,
        training_file=training.id,
        seed=3,
        hyperparameters={"n_epochs": 6, "batch_size": 3, "learning_rate_multiplier": 5},
    )
    return job.id


def _adapter(service: Service, model: str | None) -> bytes:
    with service.http as http:
        content = http.get(f"/v1/models/{model}/files/adapter_model.safetensors")
        return content.raise_for_status().content


def _wait_for_checkpoint(service: Service, job_id: str) -> None:
    """Far enough to have something to lose, and not at the end."""

    def is_there() -> bool:
        return bool(service.client.fine_tuning.jobs.checkpoints.list(job_id).data)

    wait_until(is_there, "a checkpoint")
    assert service.client.fine_tuning.jobs.retrieve(job_id).status == "running"


@pytest.fixture(scope="module")
def unbroken(service: Service) -> bytes:
    """The adapter of a run that nobody disturbed."""
    job = wait_for_job(service, _create_job(service))
    return _adapter(service, job.fine_tuned_model)


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
    job_id = _create_job(service)
    _wait_for_checkpoint(service, job_id)

    disturb(service)

    job = wait_for_job(service, job_id)
    assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
    assert _adapter(service, job.fine_tuned_model) == unbroken
    events = service.client.fine_tuning.jobs.list_events(job_id, limit=100)
    assert any("resumed at step" in event.message for event in events)
    service.stop()


def test_a_worker_alone_trains_on_while_the_server_is_away(
    make_service: ServiceMaker, unbroken: bytes, tmp_path: Path
) -> None:
    service = make_service(command="server")
    service.start()
    key = service.run("keys", "create", "--scopes", "worker").strip()
    environment = {**service.environment, "TUNESMITH_API_KEY": key, "TUNESMITH_THREADS": "1"}
    command = [*TUNESMITH, "worker", "--server", service.url, "--name", "gpu-box"]
    command += ["--work-dir", str(tmp_path / "work")]
    worker = subprocess.Popen(command, env=environment)
    try:
        job_id = _create_job(service)
        _wait_for_checkpoint(service, job_id)

        service.kill()
        service.start()

        job = wait_for_job(service, job_id)
        assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
        assert _adapter(service, job.fine_tuned_model) == unbroken
        said = [e.message for e in service.client.fine_tuning.jobs.list_events(job_id, limit=100)]
        assert not any("interrupted" in line.lower() for line in said)
        worker.send_signal(signal.SIGTERM)
        assert worker.wait(60) == 0
    finally:
        worker.kill()
        worker.wait()


def test_base_and_checkpoints_answer_while_training_goes_on(service: Service) -> None:
    client = service.client
    job_id = _create_job(service)
    _wait_for_checkpoint(service, job_id)
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job_id, limit=1).data

    for model in (BASE, checkpoint.fine_tuned_model_checkpoint):
        answer = client.chat.completions.create(
            model=model, messages=[{"role": "user", "content": "Hi"}], max_completion_tokens=5
        )
        assert answer.usage is not None
        assert answer.usage.completion_tokens > 0

    assert client.fine_tuning.jobs.cancel(job_id).status == "cancelled"  # so it was still running


def test_a_cancelled_job_is_cancelled_at_once_and_frees_the_worker(service: Service) -> None:
    first = _create_job(service)
    wait_until(lambda: bool(steps_done(service, first)), "the first step")

    cancelled = service.client.fine_tuning.jobs.cancel(first)

    assert cancelled.status == "cancelled"
    wait_for_job(service, _create_job(service))
    assert service.client.fine_tuning.jobs.retrieve(first).status == "cancelled"
