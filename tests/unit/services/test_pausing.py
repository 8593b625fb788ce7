import pytest

from tests.factories import NOW, context, queued_job
from tests.unit.services.scene import EVERYTHING, Scene
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import (
    AskAgain,
    AttemptLost,
    AttemptReleased,
    Receipt,
    ReportBatch,
    TrainingStarted,
    Wish,
)
from tunesmith.domain.errors import Conflict, StaleAttempt, WrongState
from tunesmith.domain.events import EventKind
from tunesmith.domain.jobs import Job, JobStatus, Task
from tunesmith.services import jobs, leases, pausing
from tunesmith.services.context import House
from tunesmith.store.database import Store

PAUSE = Receipt(wanted=Wish.PAUSE)
NOTHING = Receipt(wanted=None)


@pytest.fixture
def scene(store: Store, house: House, owner: Organization) -> Scene:
    return Scene(context(store, house, owner), queued_job(store, owner))


@pytest.fixture
def running(scene: Scene) -> Scene:
    scene.lease()
    return scene


def test_a_job_that_waits_is_paused_at_once(scene: Scene) -> None:
    assert scene.pause() is JobStatus.PAUSED
    assert scene.lease() is None
    assert scene.events() == [EventKind.PAUSED]


def test_a_running_job_runs_until_its_worker_lets_go(running: Scene) -> None:
    assert running.tell() == NOTHING
    assert running.pause() is JobStatus.RUNNING
    assert running.tell() == PAUSE
    running.save(4)
    assert running.tell() == PAUSE
    assert running.job.status is JobStatus.RUNNING
    running.tell(AttemptReleased())
    assert (running.job.status, running.job.is_pause_wanted) == (JobStatus.PAUSED, False)
    assert running.lease() is None


def test_the_worker_is_to_hear_at_once_of_a_pause_of_its_end_and_of_a_stop(running: Scene) -> None:
    for change in (pausing.pause, pausing.resume, jobs.stop):
        running.store.queue.news.clear()
        change(running.ctx, running.job_id)
        assert AskAgain(ask_again=running.job_id) in running.store.queue.news


def test_a_batch_that_is_sent_again_and_a_renewal_hear_what_is_wanted(running: Scene) -> None:
    running.tell()
    running.pause()
    assert running.assignment is not None
    for sequence in (0, 1):
        batch = ReportBatch(sequence=sequence)
        its = running.assignment
        receipt = leases.record(running.store, running.blobs, its.job_id, its.attempt, batch, NOW)
        assert receipt == PAUSE


def test_a_pause_publishes_its_snapshot(running: Scene) -> None:
    running.pause()
    snapshot = running.save(4)
    running.tell(AttemptReleased())
    ((short_id, step),) = running.models()
    _, page = jobs.list_checkpoints(running.ctx, running.job_id, EVERYTHING)
    (listed,) = page.items
    assert (listed.tuned_model_short_id, listed.step, step) == (short_id, 4, 4)
    assert listed.metrics["train_loss"] == 2.0
    model = running.store.models.find_tuned(short_id, running.ctx.owner)
    assert model is not None
    assert model.artifacts == snapshot.artifacts[:1]  # without the state of training
    assert running.events()[-1] is EventKind.PAUSED


def test_a_pause_at_an_epochs_end_has_that_epochs_model(running: Scene) -> None:
    running.save(4, epoch=1)
    running.pause()
    running.tell(AttemptReleased())
    assert len(running.models()) == 1


def test_a_pause_before_the_first_checkpoint_has_nothing_to_publish(running: Scene) -> None:
    running.pause()
    running.tell(AttemptReleased())
    assert running.job.status is JobStatus.PAUSED
    assert running.models() == []


def test_a_resumed_job_goes_on_from_its_snapshot(running: Scene) -> None:
    running.pause()
    snapshot = running.save(4)
    running.tell(AttemptReleased())
    assert running.resume() is JobStatus.QUEUED
    assignment = running.lease()
    assert assignment is not None
    assert (assignment.task, assignment.resume_from) == (Task.TRAIN, snapshot.artifacts)
    assert running.tell() == NOTHING
    assert running.events()[-2:] == [EventKind.PAUSED, EventKind.UNPAUSED]


def test_a_second_pause_at_the_same_step_keeps_the_snapshots_name(running: Scene) -> None:
    for _ in range(2):
        running.pause()
        running.save(4)
        running.tell(AttemptReleased())
        running.resume()
        running.lease()
    assert [step for _, step in running.models()] == [4]


def test_snapshots_of_pauses_outlast_the_epochs_that_follow(running: Scene) -> None:
    running.pause()
    running.save(1)
    running.tell(AttemptReleased())
    running.resume()
    running.lease()
    for epoch in range(1, 6):
        running.save(epoch + 1, epoch)
    assert [step for _, step in running.models()] == [1, 4, 5, 6]


def test_resuming_before_the_pause_came_about_takes_the_wish_back(running: Scene) -> None:
    running.pause()
    assert running.resume() is JobStatus.RUNNING
    assert running.tell() == NOTHING
    running.tell(AttemptReleased())  # the worker had heard of it, and stopped
    assert running.job.status is JobStatus.QUEUED


def test_pausing_twice_is_one_pause(running: Scene) -> None:
    assert [running.pause(), running.pause()] == [JobStatus.RUNNING] * 2
    running.tell(AttemptReleased())
    assert running.events().count(EventKind.PAUSED) == 1


def test_a_worker_that_dies_does_not_take_the_wish_along(running: Scene) -> None:
    running.save(4)
    running.pause()
    running.fall_silent()
    assert running.job.status is JobStatus.PAUSED
    assert [step for _, step in running.models()] == [4]
    assert running.events()[-2:] == [EventKind.INTERRUPTED, EventKind.PAUSED]
    with pytest.raises(StaleAttempt):
        running.tell()


def test_a_lost_host_lets_the_pause_come_about(running: Scene) -> None:
    running.pause()
    running.tell(AttemptLost(reason="the host ended"))
    assert running.job.status is JobStatus.PAUSED


def test_a_job_that_finishes_first_is_finished(running: Scene) -> None:
    running.pause()
    running.finish()
    assert (running.job.status, running.job.is_pause_wanted) == (JobStatus.SUCCEEDED, False)
    with pytest.raises(WrongState):
        running.resume()


def test_a_job_can_be_stopped_while_it_is_to_pause_and_when_it_is_paused(running: Scene) -> None:
    running.save(4)
    running.pause()
    running.tell(AttemptReleased())
    assert jobs.stop(running.ctx, running.job_id).status is JobStatus.STOPPED
    assert len(running.models()) == 1
    with pytest.raises(WrongState):
        running.resume()


def test_a_stop_takes_the_wish_along(running: Scene) -> None:
    running.pause()
    stopped = jobs.stop(running.ctx, running.job_id)
    assert (stopped.status, stopped.is_pause_wanted) == (JobStatus.STOPPED, False)
    with pytest.raises(StaleAttempt):
        running.tell(AttemptReleased())


@pytest.mark.parametrize(
    "status", [s for s in JobStatus if s not in (JobStatus.QUEUED, JobStatus.RUNNING)]
)
def test_what_neither_waits_nor_runs_cannot_be_paused(
    scene: Scene, owner: Organization, status: JobStatus
) -> None:
    job = queued_job(scene.store, owner)
    _put_into(scene.store, job, status)
    with pytest.raises(WrongState):
        pausing.pause(scene.ctx, job.id)


@pytest.mark.parametrize("status", [s for s in JobStatus if s is not JobStatus.PAUSED])
def test_what_is_not_paused_cannot_be_resumed(
    scene: Scene, owner: Organization, status: JobStatus
) -> None:
    job = queued_job(scene.store, owner)
    _put_into(scene.store, job, status)
    with pytest.raises(WrongState):
        pausing.resume(scene.ctx, job.id)


def test_of_two_who_change_the_wish_at_once_one_is_told_to_look_again(running: Scene) -> None:
    seen = running.job
    running.pause()
    with pytest.raises(Conflict):
        running.store.jobs.replace(seen, seen.pausing())
    with pytest.raises(Conflict):
        running.store.jobs.replace(seen, seen.requeued())


def test_a_job_that_was_started_again_tells_where_it_goes_on(running: Scene) -> None:
    started = TrainingStarted(step=0, total_steps=9, num_examples=3)
    running.tell(started)
    running.pause()
    running.tell(AttemptReleased())
    running.resume()
    running.lease()
    running.tell(started)
    kinds = [EventKind.STARTED, EventKind.PAUSED, EventKind.UNPAUSED, EventKind.RESUMED]
    assert running.events() == kinds


def _put_into(store: Store, job: Job, status: JobStatus) -> None:
    fields = {name: getattr(job, name) for name in Job.__slots__}
    store.jobs.replace(job, Job(**{**fields, "status": status}))
