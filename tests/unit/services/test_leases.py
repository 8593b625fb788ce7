import csv
import io
from collections.abc import Callable
from datetime import timedelta
from uuid import uuid4

import pytest

from tests.factories import (
    NOW,
    SHA,
    artifact,
    base_model,
    context,
    metrics,
    organization,
    queued_job,
    registration,
)
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import (
    Assignment,
    AttemptLost,
    AttemptReleased,
    CheckpointPublished,
    DataRead,
    Report,
    ReportBatch,
    StepReported,
    TrainingEndedEarly,
    TrainingFailed,
    TrainingFinished,
    TrainingHealed,
    TrainingStarted,
    Validated,
)
from tunesmith.domain.errors import InvalidRequest, StaleAttempt
from tunesmith.domain.events import EventKind, Level
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import Failure, Job, JobStatus, Task
from tunesmith.domain.paging import PageRequest
from tunesmith.services import jobs, leases, scheduling
from tunesmith.services.context import House
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database, Store

EVERYTHING = PageRequest(limit=100, ascending=True)


class Worker:
    """Leases a job and reports about it, a batch after another."""

    def __init__(self, store: Store, blobs: Blobs) -> None:
        self.store, self.blobs = store, blobs
        self.sequence = 0
        self.box = registration()
        scheduling.register(store, self.box, NOW)
        self.lease()

    def lease(self) -> None:
        leased = scheduling.lease(self.store, self.box, NOW + timedelta(hours=1))
        assert leased is not None
        self.assignment: Assignment = leased
        self.sequence = 0

    def tell(self, *reports: Report) -> None:
        self.sequence += 1
        self.tell_as(self.sequence, *reports)

    def tell_as(self, sequence: int, *reports: Report) -> None:
        its = self.assignment
        batch = ReportBatch(sequence=sequence, reports=reports)
        leases.record(self.store, self.blobs, its.job_id, its.attempt, batch, NOW)

    def train(self, total_steps: int, *, epoch_steps: int = 1) -> None:
        """Each epoch ends with a checkpoint."""
        for step in range(1, total_steps + 1):
            self.tell(StepReported(metrics=metrics(step, total_steps, train_loss=10.0 - step)))
            epoch = step // epoch_steps if step % epoch_steps == 0 else None
            self.tell(checkpoint(self.blobs, step, epoch))

    def finish(self, step: int) -> None:
        final = (artifact(self.blobs, content="final"),)
        self.tell(TrainingFinished(step=step, trained_tokens=123, artifacts=final))

    @property
    def job(self) -> Job:
        return self.store.jobs.get_for_worker(self.assignment.job_id)

    def events(self) -> list[EventKind]:
        page = self.store.events.list_page(self.assignment.job_id, EVERYTHING)
        return [event.kind for event in page.items]


def checkpoint(blobs: Blobs, step: int, epoch: int | None) -> CheckpointPublished:
    names = ("adapter_model.safetensors", "optimizer.safetensors", "training_state.json")
    artifacts = tuple(artifact(blobs, name, str(step)) for name in (*names, "manifest.json"))
    return CheckpointPublished(step=step, epoch=epoch, artifacts=artifacts)


@pytest.fixture
def worker(store: Store, blobs: Blobs, owner: Organization) -> Worker:
    queued_job(store, owner, suffix="tickets")
    return Worker(store, blobs)


def test_a_validated_job_waits_for_training_with_its_numbers(
    store: Store, blobs: Blobs, owner: Organization
) -> None:
    queued_job(store, owner, Task.VALIDATE, hyperparameters=Hyperparameters())
    worker = Worker(store, blobs)
    worker.tell(Validated(num_examples=600))
    assert worker.job.status is JobStatus.QUEUED
    assert worker.job.hyperparameters == Hyperparameters().resolved(600)
    worker.lease()
    assert worker.assignment.task is Task.TRAIN
    assert worker.assignment.attempt == 2


def test_a_batch_that_is_sent_twice_is_stored_once(worker: Worker) -> None:
    started = TrainingStarted(step=0, total_steps=3, num_examples=9)
    worker.tell_as(1, started)
    worker.tell_as(1, started)
    assert worker.events() == [EventKind.STARTED]


def test_an_empty_batch_renews_the_lease(worker: Worker) -> None:
    leases.record(
        worker.store,
        worker.blobs,
        worker.assignment.job_id,
        worker.assignment.attempt,
        ReportBatch(sequence=0),
        NOW + timedelta(days=1),
    )
    assert worker.store.queue.list_expired(NOW + timedelta(days=1)) == []


@pytest.mark.parametrize(
    "report",
    [
        StepReported(metrics=metrics(1)),
        TrainingFinished(step=1, trained_tokens=1, artifacts=()),
        TrainingFailed(failure=Failure(code="a", message="b")),
        AttemptLost(reason="c"),
        AttemptReleased(),
    ],
    ids=lambda report: report.type,
)
def test_a_stale_attempt_is_refused_and_changes_nothing(worker: Worker, report: Report) -> None:
    stale = worker.assignment
    worker.tell(AttemptReleased())
    worker.lease()
    before = worker.job
    batch = ReportBatch(sequence=9, reports=(report,))
    with pytest.raises(StaleAttempt):
        leases.record(worker.store, worker.blobs, stale.job_id, stale.attempt, batch, NOW)
    assert worker.job == before
    assert worker.events() == []


def test_a_refused_batch_leaves_nothing_behind(database: Database, blobs: Blobs) -> None:
    owner = organization()
    with database.write() as store:
        store.accounts.add_organization(owner)
        store.models.put_base(base_model())
        queued_job(store, owner)
        its = Worker(store, blobs).assignment
    lost = Artifact(name="a", blob=Blob(sha256=SHA, size_bytes=1))
    reports = (
        StepReported(metrics=metrics(1)),
        CheckpointPublished(step=1, epoch=None, artifacts=(lost,)),
    )
    batch = ReportBatch(sequence=1, reports=reports)
    with pytest.raises(InvalidRequest), database.write() as store:
        leases.record(store, blobs, its.job_id, its.attempt, batch, NOW)
    with database.read() as store:
        assert store.events.list_page(its.job_id, EVERYTHING).items == ()


def test_the_start_is_told_and_a_later_attempts_is_a_resumption(worker: Worker) -> None:
    for step in (0, 5):
        worker.tell(TrainingStarted(step=step, total_steps=9, num_examples=3))
    assert worker.events() == [EventKind.STARTED, EventKind.RESUMED]


def test_what_a_person_should_know_is_told(worker: Worker) -> None:
    worker.tell(
        TrainingStarted(
            step=0,
            total_steps=9,
            num_examples=3,
            notes=("Each example is trained alone.",),
        )
    )
    worker.tell(DataRead(num_examples=3, num_truncated_examples=2, notes=("7 tokens are lost.",)))
    page = worker.store.events.list_page(worker.assignment.job_id, EVERYTHING)
    told = [(event.level, event.data["message"]) for event in page.items[1:]]
    assert told[0] == (Level.INFO, "Each example is trained alone.")
    assert told[1][0] is Level.WARNING
    assert told[1][1].startswith("2 of 3 examples are longer")
    assert told[2] == (Level.WARNING, "7 tokens are lost.")


def test_an_early_end_is_told(worker: Worker) -> None:
    worker.tell(
        TrainingEndedEarly(step=4, total_steps=9, num_evaluations=2, best_validation_loss=1.25)
    )
    page = worker.store.events.list_page(worker.assignment.job_id, EVERYTHING)
    [event] = page.items
    assert event.kind is EventKind.NOTE
    assert "early, after step 4 of 9" in event.data["message"]
    assert "1.25" in event.data["message"]


def test_steps_tell_when_the_job_will_be_done(worker: Worker) -> None:
    worker.tell(StepReported(metrics=metrics(1), remaining_seconds=90))
    assert worker.job.estimated_finish_at == NOW + timedelta(seconds=90)


def test_a_checkpoint_within_an_epoch_is_for_going_on_and_has_no_name(worker: Worker) -> None:
    worker.tell(checkpoint(worker.blobs, 4, epoch=None))
    assert worker.store.models.list_tuned(worker.job.organization_id) == ()
    page = worker.store.jobs.list_checkpoints(worker.assignment.job_id, EVERYTHING)
    assert page.items == ()
    assert worker.events() == []


def test_an_epochs_checkpoint_answers_by_name_without_the_state_of_training(
    worker: Worker,
) -> None:
    worker.train(3)
    models = worker.store.models.list_tuned(worker.job.organization_id)
    assert [model.step for model in models] == [1, 2]  # the last step's is the job's own model
    assert [a.name for a in models[0].artifacts] == ["adapter_model.safetensors"]
    assert worker.events().count(EventKind.CHECKPOINT) == 2


def test_an_attempt_goes_on_from_the_newest_checkpoint(worker: Worker) -> None:
    worker.tell(checkpoint(worker.blobs, 4, epoch=1))
    newest = checkpoint(worker.blobs, 6, epoch=None)
    worker.tell(newest)
    worker.tell(AttemptLost(reason="the host ended"))
    worker.lease()
    assert worker.assignment.resume_from == newest.artifacts


def test_of_many_checkpoints_the_newest_and_the_last_three_epochs_are_kept(
    worker: Worker,
) -> None:
    worker.train(11, epoch_steps=2)  # of steps in between, too
    kept = worker.store.jobs.all_checkpoints(worker.assignment.job_id)
    assert [c.step for c in kept] == [6, 8, 10, 11]
    models = worker.store.models.list_tuned(worker.job.organization_id)
    assert [model.step for model in models] == [6, 8, 10]


def test_a_run_that_is_stopped_at_an_epochs_end_keeps_the_model_of_that_epoch(
    worker: Worker,
) -> None:
    worker.tell(checkpoint(worker.blobs, 4, epoch=1), checkpoint(worker.blobs, 4, epoch=None))
    (kept,) = worker.store.jobs.all_checkpoints(worker.assignment.job_id)
    (model,) = worker.store.models.list_tuned(worker.job.organization_id)
    assert (kept.epoch, kept.tuned_model_short_id) == (1, model.short_id)


def test_a_checkpoint_has_the_figures_of_its_step(worker: Worker) -> None:
    worker.tell(StepReported(metrics=metrics(4, full_validation_loss=0.5)))
    worker.tell(checkpoint(worker.blobs, 4, epoch=1))
    (kept,) = worker.store.jobs.all_checkpoints(worker.assignment.job_id)
    assert kept.metrics["full_validation_loss"] == 0.5


def test_a_training_that_went_back_goes_on_from_what_lies_before_and_tells_each_step_once(
    worker: Worker,
) -> None:
    for step in (1, 2, 3):
        worker.tell(StepReported(metrics=metrics(step, 9, train_loss=1.0)))
        worker.tell(checkpoint(worker.blobs, step, 1 if step == 2 else None))
    message = "The loss of step 4 is not finite. The training went back."
    worker.tell(TrainingHealed(step=2, went_back=True, message=message))
    [newest] = worker.store.jobs.all_checkpoints(worker.job.id)[-1:]
    assert newest.step == 2
    note = worker.store.events.list_page(worker.job.id, EVERYTHING).items[-1]
    assert (note.kind, note.level) == (EventKind.NOTE, Level.WARNING)
    assert note.data == {"message": message}

    tokens_before = worker.job.num_trained_tokens
    worker.tell(StepReported(metrics=metrics(3, 9, train_loss=0.5)))
    assert worker.job.num_trained_tokens == tokens_before
    assert worker.job.progress is not None
    assert worker.job.progress.step == 3
    assert worker.events().count(EventKind.STEP) == 3
    losses = [each["train_loss"] for each in worker.store.events.list_metrics(worker.job.id)]
    assert losses == [1.0, 1.0, 0.5]


def test_epochs_that_a_training_went_back_over_end_anew(worker: Worker) -> None:
    worker.train(5, epoch_steps=2)
    forgotten = worker.store.models.list_tuned(worker.job.organization_id)[-1]
    assert forgotten.step == 4
    worker.tell(TrainingHealed(step=3, went_back=True, message="It went back."))
    assert [c.step for c in worker.store.jobs.all_checkpoints(worker.job.id)] == [2]
    worker.tell(checkpoint(worker.blobs, 4, epoch=2))
    models = worker.store.models.list_tuned(worker.job.organization_id)
    assert [model.step for model in models] == [2, 4]
    assert models[1].short_id != forgotten.short_id


def test_a_training_that_only_takes_smaller_passes_keeps_its_checkpoints(worker: Worker) -> None:
    worker.tell(checkpoint(worker.blobs, 3, None))
    worker.tell(TrainingHealed(step=2, went_back=False, message="Passes are smaller."))
    assert [c.step for c in worker.store.jobs.all_checkpoints(worker.job.id)] == [3]
    assert worker.events() == [EventKind.NOTE]


def test_progress_forgives_earlier_losses(worker: Worker) -> None:
    for step in range(1, 2 * scheduling.MAX_LOSSES + 1):
        worker.tell(checkpoint(worker.blobs, step, epoch=None))
        worker.tell(AttemptLost(reason="the host ended"))
        worker.lease()
    assert worker.job.status is JobStatus.RUNNING


def test_a_worker_that_leaves_costs_the_job_nothing(worker: Worker) -> None:
    for _ in range(2 * scheduling.MAX_LOSSES):
        worker.tell(AttemptReleased())
        assert worker.job.status is JobStatus.QUEUED
        worker.lease()
    assert worker.events() == []


def test_a_failed_training_ends_the_job_with_its_reason(worker: Worker) -> None:
    failure = Failure(code="diverged", message="Step 3 has the loss nan.")
    worker.tell(TrainingFailed(failure=failure))
    assert (worker.job.status, worker.job.failure) == (JobStatus.FAILED, failure)
    assert worker.events() == [EventKind.FAILED]
    with pytest.raises(StaleAttempt):
        worker.tell()


def test_a_finished_job_has_everything_that_it_promises(worker: Worker) -> None:
    worker.train(2)
    worker.finish(2)
    job, store = worker.job, worker.store
    assert (job.status, job.finished_at, job.trained_tokens) == (JobStatus.SUCCEEDED, NOW, 123)
    assert job.tuned_model_short_id is not None
    model = store.models.find_tuned(job.tuned_model_short_id, job.organization_id)
    assert model is not None
    assert (model.step, model.suffix, model.base_model) == (None, "tickets", "base")
    last = store.jobs.all_checkpoints(job.id)[-1]
    assert last.tuned_model_short_id == job.tuned_model_short_id
    assert worker.events()[-2:] == [EventKind.MODEL_CREATED, EventKind.SUCCEEDED]
    with pytest.raises(StaleAttempt):
        worker.tell()


def test_a_finished_jobs_result_file_has_a_row_for_each_step(worker: Worker) -> None:
    worker.tell(StepReported(metrics=metrics(1, 2, train_loss=2.5)))
    worker.tell(StepReported(metrics=metrics(2, 2, train_loss=1.5, validation_loss=1.25)))
    worker.finish(2)
    assert worker.job.results_file_id is not None
    file = worker.store.files.get(worker.job.results_file_id, worker.job.organization_id, NOW)
    content = worker.blobs.path(file.blob.sha256).read_text()
    rows = list(csv.DictReader(io.StringIO(content)))
    assert content.startswith(
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy\n"
    )
    assert [row["train_loss"] for row in rows] == ["2.5", "1.5"]
    assert [row["valid_loss"] for row in rows] == ["", "1.25"]


@pytest.mark.parametrize(
    "make",
    [
        lambda lost: CheckpointPublished(step=1, epoch=1, artifacts=lost),
        lambda lost: TrainingFinished(step=1, trained_tokens=1, artifacts=lost),
    ],
    ids=["checkpoint", "finish"],
)
def test_a_model_whose_bytes_were_not_uploaded_is_refused(
    worker: Worker, make: Callable[[tuple[Artifact, ...]], Report]
) -> None:
    lost = (Artifact(name="adapter_model.safetensors", blob=Blob(sha256=SHA, size_bytes=1)),)
    with pytest.raises(InvalidRequest, match="adapter_model"):
        worker.tell(make(lost))
    assert worker.job.status is JobStatus.RUNNING


def test_stopping_a_job_fences_its_worker_and_keeps_its_checkpoints(
    worker: Worker, house: House, owner: Organization
) -> None:
    worker.tell(checkpoint(worker.blobs, 4, epoch=1))
    stopped = jobs.stop(context(worker.store, house, owner), worker.assignment.job_id)
    assert stopped.status is JobStatus.STOPPED
    with pytest.raises(StaleAttempt):
        worker.tell()
    assert len(worker.store.jobs.all_checkpoints(stopped.id)) == 1
    assert scheduling.lease(worker.store, worker.box, NOW + timedelta(days=1)) is None


def test_a_job_of_a_stranger_cannot_be_reported_on(worker: Worker) -> None:
    with pytest.raises(StaleAttempt):
        leases.record(worker.store, worker.blobs, uuid4(), 1, ReportBatch(sequence=1), NOW)
