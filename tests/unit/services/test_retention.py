from datetime import timedelta
from uuid import uuid4

import pytest

from tests.factories import NOW, artifact, job, organization
from tunesmith.domain.events import EventKind
from tunesmith.domain.jobs import Checkpoint, Job, JobStatus
from tunesmith.domain.models import TunedModel
from tunesmith.services import retention
from tunesmith.services.jobs import tell
from tunesmith.services.retention import Policy
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database, Store

POLICY = Policy(checkpoint_days=7, checkpoints_kept=1, event_days=7)
LATER = NOW + timedelta(days=8)


def with_checkpoints(store: Store, blobs: Blobs, status: JobStatus) -> Job:
    """Three, of which the last is the job's own model."""
    owner = organization(uuid4().hex)
    its = job(owner, status, finished_at=NOW if status.is_final else None)
    store.accounts.add_organization(owner)
    store.jobs.add(its)
    for step in (1, 2, 3):
        model = TunedModel(
            id=uuid4(),
            short_id=f"m{step}{uuid4().hex[:6]}",
            organization_id=owner.id,
            organization_slug=owner.slug,
            job_id=its.id,
            base_model="base",
            suffix=None,
            step=None if step == 3 else step,
            artifacts=(artifact(blobs, content=str(step)),),
            created_at=NOW,
        )
        store.models.add_tuned(model)
        store.jobs.add_checkpoint(
            Checkpoint(
                id=uuid4(),
                job_id=its.id,
                step=step,
                epoch=step,
                artifacts=model.artifacts,
                tuned_model_short_id=model.short_id,
                metrics={},
                created_at=NOW,
            )
        )
    tell(store, its, EventKind.STARTED, now=NOW)
    return its


def test_only_finished_jobs_lose_what_is_old_and_never_their_model(
    database: Database, blobs: Blobs
) -> None:
    with database.write() as store:
        done = with_checkpoints(store, blobs, JobStatus.SUCCEEDED)
        runs = with_checkpoints(store, blobs, JobStatus.RUNNING)
        keep_none = Policy(checkpoint_days=7, checkpoints_kept=0, event_days=7)
        told = retention.look(store, keep_none, LATER)
        assert retention.remove_some(store, keep_none, LATER) == told
        assert (told.num_checkpoints, told.num_events) == (2, 1)
        assert told.num_bytes > 0
        assert not retention.remove_some(store, keep_none, LATER)
        assert [c.step for c in store.jobs.all_checkpoints(done.id)] == [3]
        assert len(store.jobs.all_checkpoints(runs.id)) == 3
        assert len(store.models.list_tuned(done.organization_id)) == 1
        assert store.events.has(runs.id, EventKind.STARTED)
        assert not store.events.has(done.id, EventKind.STARTED)


@pytest.mark.parametrize(("policy", "now"), [(POLICY, NOW), (Policy(), LATER)])
def test_nothing_goes_too_early_or_unless_it_is_asked_for(
    database: Database, blobs: Blobs, policy: Policy, now: object
) -> None:
    with database.write() as store:
        with_checkpoints(store, blobs, JobStatus.FAILED)
        assert not retention.remove_some(store, policy, now)  # type: ignore[arg-type]
