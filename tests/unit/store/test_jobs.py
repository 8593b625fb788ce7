from dataclasses import replace
from uuid import uuid4

import pytest

from tests.factories import NOW, SHA, artifact, job, organization, queued_job, registration
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import Conflict, NotFound
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import Hyperparameters, Method
from tunesmith.domain.jobs import (
    Checkpoint,
    Failure,
    Integration,
    Job,
    JobStatus,
    PinnedFile,
    Progress,
)
from tunesmith.domain.models import TunedModel
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database


@pytest.fixture
def owner(database: Database) -> Organization:
    made = organization()
    with database.write() as store:
        store.accounts.add_organization(made)
    return made


def full_job(owner: Organization) -> Job:
    return job(
        owner,
        validation_file=PinnedFile(file_id=uuid4(), blob=Blob(sha256="cd" * 32, size_bytes=9)),
        hyperparameters=Hyperparameters(learning_rate_multiplier=0.1),
        suffix="tickets",
        metadata={"team": "red"},
        finished_at=NOW,
        estimated_finish_at=NOW,
        trained_tokens=2**40,
        failure=Failure(code="diverged", message="No.", param="training_file"),
        tuned_model_short_id="abcd1234",
        results_file_id=uuid4(),
        method=Method.DPO,
        initial_model=tuned_model(owner),
        integrations=(
            Integration(kind="wandb", project="p", name=None, entity="e", tags=("a", "b")),
        ),
        is_pause_wanted=True,
        request_digest="ab" * 32,
        name="Support",
        description="Ours",
        key_id=uuid4(),
        needs_deployment=True,
        started_at=NOW,
        updated_at=NOW,
        progress=Progress(step=3, total_steps=9, tokens=300, train_loss=1.5, validation_loss=None),
        model_name="base-abc",
    )


def tuned_model(owner: Organization) -> TunedModel:
    weights = Artifact(name="adapter_model.safetensors", blob=Blob(sha256="ef" * 32, size_bytes=9))
    return TunedModel(
        id=uuid4(),
        short_id="abcdefgh",
        organization_id=owner.id,
        organization_slug=owner.slug,
        job_id=uuid4(),
        base_model="base",
        suffix=None,
        step=4,
        artifacts=(weights,),
        created_at=NOW,
    )


def checkpoint(its: Job, step: int, short_id: str | None = None) -> Checkpoint:
    return Checkpoint(
        id=uuid4(),
        job_id=its.id,
        step=step,
        epoch=None if short_id is None else 1,
        artifacts=(Artifact(name="a", blob=Blob(sha256=SHA, size_bytes=1)),),
        tuned_model_short_id=short_id,
        metrics={"train_loss": 1.5},
        created_at=NOW,
    )


def test_a_job_comes_back_as_it_was(database: Database, owner: Organization) -> None:
    for made in (job(owner, updated_at=NOW), full_job(owner)):
        with database.write() as store:
            store.jobs.add(made)
        with database.read() as store:
            assert store.jobs.get(made.id, owner.id) == made


def test_a_job_of_somebody_else_is_not_found(database: Database, owner: Organization) -> None:
    with database.write() as store:
        made = job(owner)
        store.jobs.add(made)
        with pytest.raises(NotFound):
            store.jobs.get(made.id, uuid4())


def test_a_change_is_written(database: Database, owner: Organization) -> None:
    with database.write() as store:
        made = job(owner)
        store.jobs.add(made)
        store.jobs.replace(made, made.started(NOW))
        assert store.jobs.get(made.id, owner.id).status is JobStatus.RUNNING


def test_a_change_of_a_job_in_another_status_is_refused(
    database: Database, owner: Organization
) -> None:
    with database.write() as store:
        made = job(owner)
        store.jobs.add(made)
        store.jobs.replace(made, made.stopped(NOW))
        with pytest.raises(Conflict):
            store.jobs.replace(made, made.started(NOW))
        assert store.jobs.get(made.id, owner.id).status is JobStatus.STOPPED


def test_a_change_by_an_older_attempt_is_refused(database: Database, owner: Organization) -> None:
    with database.write() as store:
        made = queued_job(store, owner)
        box = registration()
        store.queue.lease(made, box.name, box.incarnation, NOW, NOW)
        with pytest.raises(Conflict):
            store.jobs.replace(made, made.started(NOW))


def test_a_step_has_one_checkpoint_the_newest(database: Database, owner: Organization) -> None:
    with database.write() as store:
        its = job(owner)
        store.jobs.add(its)
        first, second, again = checkpoint(its, 5), checkpoint(its, 9), checkpoint(its, 5)
        for one in (first, second, again):
            store.jobs.add_checkpoint(one)
        assert store.jobs.all_checkpoints(its.id) == (again, second)


def test_bytes_are_in_use_while_anything_needs_them(
    database: Database, owner: Organization, blobs: Blobs
) -> None:
    its = full_job(owner)
    assert its.validation_file is not None
    weights = artifact(blobs)
    model = TunedModel(
        id=uuid4(),
        short_id="abcd1234",
        organization_id=owner.id,
        organization_slug=owner.slug,
        job_id=its.id,
        base_model="base",
        suffix=None,
        step=None,
        artifacts=(weights,),
        created_at=NOW,
    )
    state = replace(
        checkpoint(its, 1),
        artifacts=(Artifact(name="s", blob=Blob(sha256="01" * 32, size_bytes=1)),),
    )
    with database.write() as store:
        store.jobs.add(its)
        store.jobs.add_checkpoint(state)
        store.models.add_tuned(model)
        assert store.files.blobs_in_use() == {
            its.training_file.blob.sha256,
            its.validation_file.blob.sha256,
            weights.blob.sha256,
            "01" * 32,
            "ef" * 32,  # of the model that the job goes on from
        }
        store.models.delete_tuned(model.id)
        store.jobs.delete_checkpoint(state.id)
        assert len(store.files.blobs_in_use()) == 3
