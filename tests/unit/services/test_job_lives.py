"""Whatever happens to a job, in whatever order, it stays in a state that makes sense."""

import random
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import pytest
import sqlalchemy as sa

from tests.factories import context, queued_job
from tests.unit.services.scene import Scene
from tunesmith.domain.accounts import Organization
from tunesmith.domain.assignments import (
    AttemptHalted,
    AttemptLost,
    AttemptReleased,
    Report,
    TrainingFailed,
    TrainingStarted,
    Validated,
)
from tunesmith.domain.errors import StaleAttempt, WrongState
from tunesmith.domain.events import EventKind
from tunesmith.domain.jobs import Failure, JobStatus, Task
from tunesmith.services import jobs
from tunesmith.services.context import House
from tunesmith.store.database import Store

NUM_ACTIONS = 60
WAITING = (JobStatus.VALIDATING, JobStatus.QUEUED)


class Life(Scene):
    """All that can happen. What a worker tells may come late: its attempt may be over."""

    step = 0

    def work(self) -> None:
        self.now += timedelta(minutes=1)  # however often it was lost, it is its turn again
        leased = self.lease()
        if leased is not None and leased.task is Task.VALIDATE:
            self.tell(Validated(num_examples=10))

    def start(self) -> None:
        self.tell_as_trainer(TrainingStarted(step=self.step, total_steps=99, num_examples=10))

    def save_some(self) -> None:
        if self.is_trainer:
            self.step += 1
            self.save(self.step, self.step if self.step % 3 == 0 else None)

    def lose(self) -> None:
        self.tell_as_trainer(AttemptLost(reason="the host ended"))

    def release(self) -> None:
        self.tell_as_trainer(AttemptReleased())

    def halt(self) -> None:
        self.tell_as_trainer(AttemptHalted(reason="The disk is full."))

    def fail(self) -> None:
        self.tell_as_trainer(TrainingFailed(failure=Failure(code="a", message="b")))

    def finish_all(self) -> None:
        if self.is_trainer:
            self.finish()

    def stop(self) -> None:
        jobs.stop(self.ctx, self.job_id)

    @property
    def is_trainer(self) -> bool:
        return self.assignment is not None and self.assignment.task is Task.TRAIN

    def tell_as_trainer(self, *reports: Report) -> None:
        if self.is_trainer:
            self.tell(*reports)

    def check(self) -> None:
        job = self.job
        is_in_queue = bool(self.store.queue._lease(sa.true()))
        is_leased = bool(self.store.queue.list_expired(self.now + timedelta(days=1)))
        assert is_in_queue == (job.status in (*WAITING, JobStatus.RUNNING))
        if job.status is not JobStatus.VALIDATING:
            assert is_leased == (job.status is JobStatus.RUNNING)
        if job.is_pause_wanted:
            assert job.status is JobStatus.RUNNING
        assert (job.finished_at is not None) == job.status.is_final
        assert (job.tuned_model_short_id is not None) == (job.status is JobStatus.SUCCEEDED)
        assert (job.failure is not None) == (job.status is JobStatus.FAILED)
        if job.estimated_finish_at is not None:
            assert job.status is JobStatus.RUNNING
        self.check_checkpoints()

    def check_checkpoints(self) -> None:
        job = self.job
        checkpoints = self.store.jobs.all_checkpoints(job.id)
        named = {c.tuned_model_short_id for c in checkpoints} - {None}
        assert named <= {short_id for short_id, _ in self.models()}
        if job.status is JobStatus.PAUSED and checkpoints:
            assert checkpoints[-1].tuned_model_short_id is not None
        if job.status is JobStatus.SUCCEEDED:
            assert checkpoints[-1].tuned_model_short_id == job.tuned_model_short_id
        ends = [k for k in self.events() if k in ENDS]
        assert len(ends) == int(job.status.is_final)


ENDS = (EventKind.SUCCEEDED, EventKind.FAILED, EventKind.STOPPED)
FREQUENT: list[Callable[[Life], object]] = [
    Life.work,
    Life.start,
    Life.save_some,
    Life.lose,
    Life.release,
    Life.halt,
    Life.fall_silent,
    Life.pause,
    Life.resume,
]
FINAL: list[Callable[[Life], object]] = [Life.stop, Life.fail, Life.finish_all]


@pytest.mark.parametrize("seed", range(25))
def test_any_order_of_events_leaves_a_job_in_order(
    store: Store, house: House, owner: Organization, seed: int
) -> None:
    draw = random.Random(seed)
    task = draw.choice(list(Task))
    life = Life(context(store, house, owner), queued_job(store, owner, task))
    for _ in range(NUM_ACTIONS):
        action = draw.choice(FREQUENT if draw.random() < 0.97 else FINAL)
        with suppress(StaleAttempt, WrongState):
            action(life)
        life.check()
