from collections.abc import Callable
from uuid import uuid4

import pytest

from tests.factories import NOW, job, organization
from tunesmith.domain.errors import WrongState
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import Failure, Job, JobStatus

Action = Callable[[Job], Job]
FAILURE = Failure(code="diverged", message="The loss is not a number.")


def validate(job: Job) -> Job:
    return job.validated(Hyperparameters().resolved(10))


def start(job: Job) -> Job:
    return job.started(NOW)


def requeue(job: Job) -> Job:
    return job.requeued()


def stop(job: Job) -> Job:
    return job.stopped(NOW)


def fail(job: Job) -> Job:
    return job.failed(FAILURE, NOW)


def succeed(job: Job) -> Job:
    return job.succeeded(
        model_name="base-abc",
        tuned_model_short_id="abcd1234",
        results_file_id=uuid4(),
        trained_tokens=5,
        now=NOW,
    )


ACTIONS: tuple[Action, ...] = (validate, start, requeue, stop, fail, succeed)
ALLOWED: dict[tuple[JobStatus, Action], JobStatus] = {
    (JobStatus.VALIDATING, validate): JobStatus.QUEUED,
    (JobStatus.QUEUED, start): JobStatus.RUNNING,
    (JobStatus.RUNNING, requeue): JobStatus.QUEUED,
    (JobStatus.RUNNING, succeed): JobStatus.SUCCEEDED,
    (JobStatus.VALIDATING, fail): JobStatus.FAILED,
    (JobStatus.QUEUED, fail): JobStatus.FAILED,
    (JobStatus.RUNNING, fail): JobStatus.FAILED,
    (JobStatus.DRAFT, stop): JobStatus.STOPPED,
    (JobStatus.VALIDATING, stop): JobStatus.STOPPED,
    (JobStatus.QUEUED, stop): JobStatus.STOPPED,
    (JobStatus.RUNNING, stop): JobStatus.STOPPED,
    (JobStatus.PAUSED, stop): JobStatus.STOPPED,
}


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.__name__)
def test_every_action_is_allowed_in_its_states_alone(status: JobStatus, action: Action) -> None:
    before = job(organization(), status)
    expected = ALLOWED.get((status, action))
    if expected is None:
        with pytest.raises(WrongState, match=status.value):
            action(before)
    else:
        assert action(before).status is expected


@pytest.mark.parametrize("action", [stop, fail, succeed], ids=lambda action: action.__name__)
def test_an_ended_job_knows_when_and_expects_no_end_any_more(action: Action) -> None:
    ended = action(job(organization(), JobStatus.RUNNING, estimated_finish_at=NOW))
    assert ended.status.is_final
    assert (ended.finished_at, ended.estimated_finish_at) == (NOW, None)


def test_a_failed_job_says_why() -> None:
    assert fail(job(organization())).failure == FAILURE


def test_a_job_that_waits_again_promises_no_end() -> None:
    running = job(organization(), JobStatus.RUNNING, estimated_finish_at=NOW)
    assert requeue(running).estimated_finish_at is None
