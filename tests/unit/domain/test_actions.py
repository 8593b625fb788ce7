"""What a job's owner can do with it, in each of its states."""

import pytest

from tests.factories import job, organization
from tunesmith.domain.errors import WrongState
from tunesmith.domain.jobs import Action, JobStatus

STOP, RESTART, DEPLOY, DELETE = Action
ALLOWED = {
    JobStatus.DRAFT: {STOP, DELETE},
    JobStatus.VALIDATING: {STOP, DELETE},
    JobStatus.QUEUED: {STOP, DELETE},
    JobStatus.PAUSED: {STOP, DELETE},
    JobStatus.RUNNING: {STOP},
    JobStatus.SUCCEEDED: {DEPLOY, DELETE},
    JobStatus.FAILED: {RESTART, DELETE},
    JobStatus.STOPPED: {RESTART, DELETE},
}


@pytest.mark.parametrize("status", JobStatus)
@pytest.mark.parametrize("action", Action)
def test_each_action_is_for_some_states_and_no_others(status: JobStatus, action: Action) -> None:
    its = job(organization(), status)
    if action in ALLOWED[status]:
        its.require(action)
        return
    with pytest.raises(WrongState) as refused:
        its.require(action)
    assert (refused.value.action, refused.value.status) == (action, status)
