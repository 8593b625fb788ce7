"""A job is trained again: the same comes out, or what differs is told."""

import subprocess
from typing import Any

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.recipes import lock_of
from tests.e2e.service import TUNESMITH, Service, wait_for_job
from tests.tiny_models import make_tiny_llama


def _train(service: Service) -> Any:
    client = service.client
    training = client.files.create(file=("t.jsonl", conversations(30)), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(
        model=BASE, training_file=training.id, seed=3, hyperparameters={"n_epochs": 2}
    )
    finished = wait_for_job(service, job.id)
    client.files.delete(training.id)
    return finished


def _reproduce(service: Service, job_id: str) -> subprocess.CompletedProcess[str]:
    command = [*TUNESMITH, "jobs", "reproduce", job_id, "--data-dir", str(service.data_dir)]
    environment = {**service.environment, "COLUMNS": "200"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_job_whose_file_is_gone_is_reproduced_byte_for_byte(service: Service) -> None:
    job = _train(service)
    lock = lock_of(service, job.fine_tuned_model)
    assert lock["base_model"]["name"] == BASE
    assert len(lock["base_model"]["files"]["model.safetensors"]) == 64
    assert lock["recipe"]["seed"] == 3
    assert lock["was_alone"]
    assert {"adapter_config.json", "adapter_model.safetensors"} == lock["result"].keys()

    done = _reproduce(service, job.id)

    assert done.returncode == 0, done.stderr
    assert "equal, byte for byte" in done.stdout
    again = done.stdout.splitlines()[1]
    assert again != job.fine_tuned_model
    assert lock_of(service, again)["result"] == lock["result"]


def test_what_differs_is_told(make_service: ServiceMaker) -> None:
    """Other weights have taken the base model's name meanwhile."""
    service = make_service()
    service.start()
    job = _train(service)
    other = service.data_dir.parent / "other-base"
    make_tiny_llama(other, seed=5)
    service.run("models", "add", BASE, "--from", str(other))

    done = _reproduce(service, job.id)

    assert done.returncode == 1, done.stderr
    assert "The adapters differ: weights by" in done.stdout
    assert "base_model.files.model.safetensors" in done.stdout
    service.stop()


def test_a_job_that_has_not_succeeded_cannot_be_reproduced(service: Service) -> None:
    missing = _reproduce(service, "ftjob-000000000000000000000001")
    assert missing.returncode == 3  # not found
    assert "There is no job" in missing.stderr
