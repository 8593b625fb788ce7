"""What well-known programs do with jobs, call by call, and what they count on."""

import base64
import csv
import io
import math
from typing import Any

import openai
import pytest

from tests.contract.openai.support import create_job, trained_job, upload
from tests.contract.server import BASE
from tests.contract.worker import Worker
from tunesmith.dialects.openai import translate
from tunesmith.domain.jobs import Failure

CREATE = {"hyperparameters": {}}, {"method": {"type": "dpo"}}, {"method": {"type": "supervised"}}


def test_dspy_asks_for_the_latest_event_until_the_job_is_done(
    client: openai.OpenAI, worker: Worker
) -> None:
    """It sends `hyperparameters: {}`, and knows six statuses."""
    job = create_job(client, hyperparameters={})
    latest = client.fine_tuning.jobs.list_events(fine_tuning_job_id=job.id, limit=1).data[0]
    assert latest.message.startswith("Validating training file")
    worker.train(translate.inner_id("job", job.id))
    latest = client.fine_tuning.jobs.list_events(fine_tuning_job_id=job.id, limit=1).data[0]
    assert latest.message == "The job has successfully completed"
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert (done.status, done.error) == ("succeeded", None)
    assert done.fine_tuned_model


def test_litellm_creates_deletes_the_file_and_cancels(client: openai.OpenAI) -> None:
    file = upload(client)
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    assert client.files.delete(file.id).deleted
    assert [found.id for found in client.fine_tuning.jobs.list(limit=2).data] == [job.id]
    assert client.fine_tuning.jobs.cancel(fine_tuning_job_id=job.id).status == "cancelled"


@pytest.mark.parametrize("fields", CREATE)
def test_litellm_and_instructor_read_hyperparameters_of_every_job(
    client: openai.OpenAI, worker: Worker, fields: dict[str, Any]
) -> None:
    job = create_job(client, **fields)
    assert job.hyperparameters.n_epochs == "auto"
    worker.validate(translate.inner_id("job", job.id))
    hyperparameters = client.fine_tuning.jobs.retrieve(job.id).hyperparameters
    assert type(hyperparameters.n_epochs) is int
    assert type(hyperparameters.batch_size) is int
    assert type(hyperparameters.learning_rate_multiplier) is float


@pytest.mark.parametrize("content", [b'{"messages": []}', b'{"prompt": 1}', b"{}"])
def test_llama_index_creates_a_job_on_a_bad_file_and_is_not_told_to_try_again(
    client: openai.OpenAI, worker: Worker, content: bytes
) -> None:
    """It takes any 400 on create for "not ready", and would try for ever."""
    file = client.files.create(file=("bad.jsonl", content), purpose="fine-tune")
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    assert job.status == "validating_files"
    failure = Failure(code="bad_example", message="Line 1: it is empty.", param="training_file")
    worker.fail(translate.inner_id("job", job.id), failure)
    failed = client.fine_tuning.jobs.retrieve(job.id)
    assert failed.status == "failed"
    assert failed.error is not None
    assert failed.error.code == "invalid_training_file"


def test_instructor_waits_for_a_file_that_is_ready_at_once(client: openai.OpenAI) -> None:
    file = upload(client)
    assert client.files.retrieve(file.id).status == "processed"
    assert client.files.wait_for_processing(file.id).status == "processed"


def test_weights_and_biases_reads_numbers_out_of_every_cell(
    client: openai.OpenAI, worker: Worker
) -> None:
    job = trained_job(client, worker)
    content = client.files.content(job.result_files[0]).content
    table = csv.DictReader(io.StringIO(base64.b64decode(content, validate=True).decode()))
    rows = list(table)
    assert [row["step"] for row in rows] == ["1", "2", "3", "4"]
    for row in rows:
        assert all(math.isfinite(float(cell)) for cell in row.values() if cell)


def test_a_cookbook_reverses_the_newest_page(client: openai.OpenAI, worker: Worker) -> None:
    job = trained_job(client, worker)
    page = client.fine_tuning.jobs.list_events(job.id, limit=300)
    times = [event.created_at for event in reversed(page.data)]
    assert times == sorted(times)
    assert page.has_more is False
    assert page.data[-1].message == f"Created fine-tuning job: {job.id}"


def test_when_a_job_reads_succeeded_its_model_and_its_results_are_there(
    client: openai.OpenAI, worker: Worker
) -> None:
    job = trained_job(client, worker)
    assert job.status == "succeeded"
    assert None not in (job.fine_tuned_model, job.finished_at, job.trained_tokens)
    assert client.files.content(job.result_files[0]).content
    hello = client.chat.completions.create(
        model=job.fine_tuned_model or "", messages=[{"role": "user", "content": "Hi"}]
    )
    assert hello.choices[0].message.content == "Hello"


def test_a_models_full_name_comes_back_as_sent(client: openai.OpenAI) -> None:
    file = upload(client).id
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file, validation_file=file)
    assert (job.model, job.training_file, job.validation_file) == (BASE, file, file)
