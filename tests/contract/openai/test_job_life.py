"""What callers see of a job while it runs and when it has ended."""

import base64
import math
from collections.abc import Iterator
from dataclasses import replace

import httpx
import openai
import pytest

from tests.contract.openai.support import create_job, error, refused, trained_job
from tests.contract.server import BASE, Caller
from tests.contract.worker import Worker, metrics
from tunesmith.dialects.openai import translate
from tunesmith.domain.assignments import AttemptLost, StepReported, TrainingStarted, Wish
from tunesmith.domain.jobs import Failure


def test_statuses_and_figures_come_as_a_job_goes_on(client: openai.OpenAI, worker: Worker) -> None:
    job = create_job(client)
    job_id = translate.inner_id("job", job.id)
    worker.validate(job_id, num_examples=10)
    queued = client.fine_tuning.jobs.retrieve(job.id)
    assert (queued.status, queued.hyperparameters.n_epochs) == ("queued", 10)
    assert queued.estimated_finish is None
    assignment = worker.lease(job_id)
    worker.report(
        assignment,
        TrainingStarted(step=0, total_steps=4, num_examples=10),
        StepReported(metrics=metrics(1, is_evaluated=False), remaining_seconds=100),
    )
    running = client.fine_tuning.jobs.retrieve(job.id)
    assert running.status == "running"
    assert running.estimated_finish is not None
    assert running.estimated_finish >= running.created_at + 99
    assert (running.fine_tuned_model, running.finished_at, running.result_files) == (None, None, [])


def test_a_succeeded_job_has_everything(client: openai.OpenAI, worker: Worker) -> None:
    job = trained_job(client, worker)
    assert (job.status, job.trained_tokens, job.error) == ("succeeded", 1234, None)
    assert job.finished_at is not None
    assert job.estimated_finish is None
    assert client.files.retrieve(job.result_files[0]).filename == "step_metrics.csv"
    assert job.fine_tuned_model is not None
    assert client.models.retrieve(job.fine_tuned_model).id == job.fine_tuned_model


def test_model_names_have_the_base_the_organization_and_the_suffix(
    client: openai.OpenAI, worker: Worker, caller: Caller
) -> None:
    slug = caller.organization.slug
    named = trained_job(client, worker, suffix="my_model v:2").fine_tuned_model or ""
    assert named.rpartition(":")[0] == f"ft:{BASE}:{slug}:my-model-v-2"
    unnamed = trained_job(client, worker).fine_tuned_model or ""
    assert unnamed.rpartition(":")[0] == f"ft:{BASE}:{slug}:"
    assert client.models.retrieve(named).owned_by == slug


def test_events_are_worded_as_the_original_words_them(
    client: openai.OpenAI, worker: Worker
) -> None:
    job = trained_job(client, worker, suffix="s")
    events = client.fine_tuning.jobs.list_events(job.id).data
    snapshot = client.fine_tuning.jobs.checkpoints.list(job.id).data[1]
    assert [event.message for event in events][::-1] == [
        f"Created fine-tuning job: {job.id}",
        f"Validating training file: {job.training_file}",
        "Files validated, moving job to queued state",
        "Fine-tuning job started",
        "1 of 10 examples are longer than the model's context and were cut at the end.",
        "Step 1/4: training loss=1.00",
        "Step 2/4: training loss=0.50, validation loss=2.00, full validation loss=3.00",
        "Checkpoint created at step 2 with Snapshot ID: " + snapshot.fine_tuned_model_checkpoint,
        "Step 3/4: training loss=0.33",
        "Step 4/4: training loss=0.25, validation loss=2.00, full validation loss=3.00",
        f"New fine-tuned model created: {job.fine_tuned_model}",
        "The job has successfully completed",
    ]
    levels = {event.level for event in events if "cut at the end" in event.message}
    assert levels == {"warn"}
    by_message = {event.message: event for event in events}
    assert by_message["Fine-tuning job started"].data is None
    assert by_message["The job has successfully completed"].data == {}
    last = by_message[
        "Step 4/4: training loss=0.25, validation loss=2.00, full validation loss=3.00"
    ]
    assert last.type == "metrics"
    assert last.data == {
        "step": 4,
        "total_steps": 4,
        "train_loss": 0.25,
        "train_mean_token_accuracy": 0.5,
        "valid_loss": 2.0,
        "valid_mean_token_accuracy": 0.25,
        "full_valid_loss": 3.0,
        "full_valid_mean_token_accuracy": 0.125,
        "learning_rate": 1e-4,
        "grad_norm": 0.1,
        "tokens": 100,
        "seconds": 0.5,
    }


def test_a_page_of_nothing_says_that_there_is_more(
    http: httpx.Client, client: openai.OpenAI
) -> None:
    job = create_job(client)
    create_job(client)
    for path in ("", f"/{job.id}/events"):
        page = http.get(f"/fine_tuning/jobs{path}", params={"limit": 0}).json()
        assert (page["data"], page["has_more"]) == ([], True)
    page = http.get(f"/fine_tuning/jobs/{job.id}/checkpoints", params={"limit": 0}).json()
    assert (page["data"], page["has_more"]) == ([], False)


def test_events_are_paged_newest_first(client: openai.OpenAI, worker: Worker) -> None:
    job = trained_job(client, worker)
    everything = [event.id for event in client.fine_tuning.jobs.list_events(job.id)]
    assert [e.id for e in client.fine_tuning.jobs.list_events(job.id, limit=5)] == everything
    latest = client.fine_tuning.jobs.list_events(job.id, limit=1).data
    assert [event.message for event in latest] == ["The job has successfully completed"]
    assert len(client.fine_tuning.jobs.list_events(job.id, limit=300).data) == len(everything)


def test_a_validation_file_is_named(client: openai.OpenAI) -> None:
    file = create_job(client).training_file
    job = create_job(client, training_file=file, validation_file=file)
    assert client.fine_tuning.jobs.list_events(job.id, limit=1).data[0].message == (
        f"Validating training file: {file} and validation file: {file}"
    )


def test_an_interruption_is_told(client: openai.OpenAI, worker: Worker) -> None:
    job = create_job(client)
    job_id = translate.inner_id("job", job.id)
    worker.report(worker.start(job_id), AttemptLost(reason="the host died"))
    assert client.fine_tuning.jobs.retrieve(job.id).status == "queued"
    resumed = TrainingStarted(step=2, total_steps=4, num_examples=10)
    worker.report(worker.lease(job_id), resumed)
    latest = client.fine_tuning.jobs.list_events(job.id, limit=2).data
    assert [event.message for event in latest] == [
        "Fine-tuning job resumed at step 2/4",
        "Fine-tuning job interrupted (the host died); it waits for a worker to go on",
    ]


def test_checkpoints_end_with_the_final_model(client: openai.OpenAI, worker: Worker) -> None:
    job = trained_job(client, worker, suffix="s")
    final, earlier = client.fine_tuning.jobs.checkpoints.list(job.id).data
    assert final.fine_tuned_model_checkpoint == job.fine_tuned_model
    assert (final.step_number, earlier.step_number) == (4, 2)
    name, _, step = earlier.fine_tuned_model_checkpoint.partition(":ckpt-step-")
    assert step == "2"
    assert name.split(":")[-1] != (job.fine_tuned_model or "").split(":")[-1]
    assert earlier.fine_tuning_job_id == job.id
    assert earlier.metrics.model_dump() == {
        "step": 2.0,
        "train_loss": 0.5,
        "train_mean_token_accuracy": 0.5,
        "valid_loss": 2.0,
        "valid_mean_token_accuracy": 0.25,
        "full_valid_loss": 3.0,
        "full_valid_mean_token_accuracy": 0.125,
    }
    ids = [c.id for c in client.fine_tuning.jobs.checkpoints.list(job.id, limit=1)]
    assert ids == [final.id, earlier.id]
    assert client.models.retrieve(earlier.fine_tuned_model_checkpoint).object == "model"


@pytest.mark.parametrize(
    ("failure", "code", "message"),
    [
        (
            Failure(
                code="too_few_examples",
                message="The job failed due to an invalid training file. The file has 7 "
                "example(s), but must have at least 10 examples.",
                param="training_file",
            ),
            "invalid_n_examples",
            "Training file has 7 example(s), but must have at least 10 examples",
        ),
        (
            Failure(
                code="bad_example",
                message="The job failed due to an invalid training file. Line 12: no content.",
                param="training_file",
            ),
            "invalid_training_file",
            "The job failed due to an invalid training file. Line 12: no content.",
        ),
        (
            Failure(code="not_json_lines", message="Line 3: not JSON.", param="validation_file"),
            "invalid_validation_file",
            "Line 3: not JSON.",
        ),
        (
            Failure(
                code="extra_key",
                message='Line 1: Example 1 contains an extra "weight".',
                param="training_file",
            ),
            "invalid_file_format",
            'Line 1: Example 1 contains an extra "weight".',
        ),
        (
            Failure(code="out_of_memory", message="Out of memory."),
            "server_error",
            "Out of memory.",
        ),
    ],
)
def test_failures_have_the_codes_of_the_original(
    client: openai.OpenAI, worker: Worker, failure: Failure, code: str, message: str
) -> None:
    job = create_job(client)
    worker.fail(translate.inner_id("job", job.id), failure)
    ended = client.fine_tuning.jobs.retrieve(job.id)
    assert (ended.status, ended.fine_tuned_model) == ("failed", None)
    assert ended.error is not None
    assert ended.error.model_dump() == {"code": code, "message": message, "param": failure.param}
    event = client.fine_tuning.jobs.list_events(job.id, limit=1).data[0]
    assert (event.level, event.message) == ("error", message)
    with refused(400, error("Job has already completed: its status is failed.")):
        client.fine_tuning.jobs.cancel(job.id)


@pytest.fixture
def lax(client: openai.OpenAI) -> Iterator[openai.OpenAI]:
    """As the client is by default: its types do not know of `paused`, and it does not mind."""
    with openai.OpenAI(base_url=client.base_url, api_key=client.api_key, max_retries=0) as lax:
        yield lax


def test_a_paused_job_has_a_snapshot_that_answers_and_goes_on_when_resumed(
    client: openai.OpenAI, lax: openai.OpenAI, worker: Worker
) -> None:
    job = create_job(client, suffix="s")
    job_id = translate.inner_id("job", job.id)
    assignment = worker.start(job_id)
    step = StepReported(metrics=metrics(1, is_evaluated=False), remaining_seconds=60)
    worker.report(assignment, step)
    # A status that the client's types know, until the snapshot is there.
    assert client.fine_tuning.jobs.pause(job.id).status == "running"
    worker.let_go(assignment, step=1)
    paused = lax.fine_tuning.jobs.retrieve(job.id)
    assert (paused.status, paused.estimated_finish, paused.finished_at) == ("paused", None, None)
    (snapshot,) = client.fine_tuning.jobs.checkpoints.list(job.id).data
    name = snapshot.fine_tuned_model_checkpoint
    assert name.endswith(":ckpt-step-1")
    assert (snapshot.step_number, snapshot.metrics.train_loss) == (1, 1.0)
    hello = client.chat.completions.create(model=name, messages=[{"role": "user", "content": "Hi"}])
    assert hello.choices[0].message.content == "Hello"
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    said = [event.message for event in client.fine_tuning.jobs.list_events(job.id, limit=2)]
    assert said[:2] == [
        "Fine-tuning job resumed; it waits for a worker to go on",
        f"Fine-tuning job paused at step 1 with Snapshot ID: {name}",
    ]
    worker.finish(worker.lease(job_id))
    final, earlier = client.fine_tuning.jobs.checkpoints.list(job.id).data
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert final.fine_tuned_model_checkpoint == done.fine_tuned_model
    assert earlier == snapshot


def test_a_job_that_waits_is_paused_at_once(
    client: openai.OpenAI, lax: openai.OpenAI, worker: Worker
) -> None:
    job = create_job(client)
    worker.validate(translate.inner_id("job", job.id))
    assert lax.fine_tuning.jobs.pause(job.id).status == "paused"
    assert client.fine_tuning.jobs.checkpoints.list(job.id).data == []
    latest = client.fine_tuning.jobs.list_events(job.id, limit=1).data[0].message
    assert latest == "Fine-tuning job paused before its first checkpoint"
    assert client.fine_tuning.jobs.resume(job.id).status == "queued"
    assert lax.fine_tuning.jobs.pause(job.id).status == "paused"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_a_pause_is_taken_back_before_it_came_about(client: openai.OpenAI, worker: Worker) -> None:
    job = create_job(client)
    assignment = worker.start(translate.inner_id("job", job.id))
    client.fine_tuning.jobs.pause(job.id)
    assert worker.report(assignment).wanted is Wish.PAUSE
    assert client.fine_tuning.jobs.resume(job.id).status == "running"
    assert worker.report(assignment).wanted is None


def test_what_cannot_be_paused_or_resumed_says_so(client: openai.OpenAI, worker: Worker) -> None:
    job = create_job(client)
    jobs = client.fine_tuning.jobs
    with refused(400, error("Job cannot be paused: its status is validating_files.")):
        jobs.pause(job.id)
    with refused(400, error("Job cannot be resumed: its status is validating_files.")):
        jobs.resume(job.id)
    worker.train(translate.inner_id("job", job.id))
    with refused(400, error("Job cannot be paused: its status is succeeded.")):
        jobs.pause(job.id)
    with refused(400, error("Job cannot be resumed: its status is succeeded.")):
        jobs.resume(job.id)


def test_a_cancelled_jobs_checkpoints_are_kept_and_answer(
    client: openai.OpenAI, worker: Worker
) -> None:
    job = create_job(client)
    assignment = worker.start(translate.inner_id("job", job.id))
    worker.end_epoch(assignment, 1)
    client.fine_tuning.jobs.cancel(job.id)
    (kept,) = client.fine_tuning.jobs.checkpoints.list(job.id).data
    hello = client.chat.completions.create(
        model=kept.fine_tuned_model_checkpoint, messages=[{"role": "user", "content": "Hi"}]
    )
    assert hello.choices[0].message.content == "Hello"


def test_a_job_without_checkpoints_on_its_way_lists_its_final_model(
    client: openai.OpenAI, worker: Worker
) -> None:
    job = create_job(client)
    worker.finish(worker.start(translate.inner_id("job", job.id)))
    (only,) = client.fine_tuning.jobs.checkpoints.list(job.id).data
    done = client.fine_tuning.jobs.retrieve(job.id)
    assert only.fine_tuned_model_checkpoint == done.fine_tuned_model


def test_dpos_figures_have_names_of_their_own_and_its_results_the_same_columns(
    client: openai.OpenAI, worker: Worker
) -> None:
    job = create_job(client, method={"type": "dpo"})
    assignment = worker.start(translate.inner_id("job", job.id))
    figures = replace(
        metrics(1, is_evaluated=False),
        chosen_reward=0.5,
        rejected_reward=-0.25,
        reward_accuracy=0.75,
        reward_margin=0.75,
        grad_norm=math.inf,
    )
    worker.report(assignment, StepReported(metrics=figures))
    event = client.fine_tuning.jobs.list_events(job.id, limit=1).data[0]
    assert event.message == "Step 1/4: training loss=1.00"
    assert event.data == {
        "step": 1,
        "total_steps": 4,
        "train_loss": 1.0,
        "train_mean_token_accuracy": 0.5,
        "train_mean_chosen_reward": 0.5,
        "train_mean_rejected_reward": -0.25,
        "train_mean_reward_accuracy": 0.75,
        "train_mean_reward_margin": 0.75,
        "learning_rate": 1e-4,
        "tokens": 100,
        "seconds": 0.5,
    }
    worker.finish(assignment)
    results = client.fine_tuning.jobs.retrieve(job.id).result_files[0]
    table = base64.b64decode(client.files.content(results).content).decode()
    assert table == (
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n1,1.0,0.5,,\n"
    )
