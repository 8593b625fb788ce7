"""What is the same for every id, status and event."""

from uuid import UUID, uuid4

import pytest
from fastapi import Request

from tests.contract.server import now
from tunesmith.dialects.openai import errors, translate, translate_jobs
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import Conflict, NotFound
from tunesmith.domain.events import Event, EventKind
from tunesmith.domain.files import Blob, FilePurpose
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import Job, JobStatus, PinnedFile
from tunesmith.domain.paging import Page

ACME = Organization(id=uuid4(), name="Acme", slug="acme", created_at=now())

PREFIXES = {
    "file": "file-",
    "job": "ftjob-",
    "event": "ftevent-",
    "checkpoint": "ftckpt_",
    "upload": "upload_",
    "part": "part_",
}


def some_job(status: JobStatus = JobStatus.RUNNING) -> Job:
    blob = Blob(sha256="0" * 64, size_bytes=1)
    return Job(
        id=uuid4(),
        organization_id=ACME.id,
        base_model="base",
        training_file=PinnedFile(file_id=uuid4(), blob=blob),
        validation_file=None,
        hyperparameters=Hyperparameters(),
        seed=0,
        suffix=None,
        metadata=None,
        status=status,
        attempt=1,
        created_at=now(),
        estimated_finish_at=now(),
    )


@pytest.mark.parametrize("kind", PREFIXES)
@pytest.mark.parametrize("inner", [UUID(int=0), UUID(int=1), UUID(int=2**128 - 1), uuid4()])
def test_an_id_comes_back_as_it_went(kind: str, inner: UUID) -> None:
    prefix = PREFIXES[kind]
    outer = translate.outer_id(prefix, inner)
    assert len(outer) == len(prefix) + (22 if kind == "file" else 24)
    assert translate.inner_id(kind, outer) == inner
    assert translate.kind_of_id(outer) == kind


@pytest.mark.parametrize(
    "outer", ["", "file-", "file-" + "0" * 21, "file-" + "0" * 23, "file-" + "z" * 22]
)
def test_what_is_no_id_is_not_found(outer: str) -> None:
    with pytest.raises(NotFound):
        translate.inner_id("file", outer)
    with pytest.raises(NotFound):
        translate.inner_id("file", "file-" + "é" * 22)


@pytest.mark.parametrize("purpose", FilePurpose)
def test_every_purpose_has_a_name(purpose: FilePurpose) -> None:
    name = translate.purpose_name(purpose)
    assert translate.purpose(name) is purpose


@pytest.mark.parametrize("status", JobStatus)
def test_every_status_has_a_name(status: JobStatus) -> None:
    shown = translate_jobs.job(some_job(status), ACME)
    assert shown.status == translate_jobs.status(status)
    assert (shown.estimated_finish is not None) == (status is JobStatus.RUNNING)


@pytest.mark.parametrize("kind", [kind for kind in EventKind if kind is not EventKind.STEP])
def test_every_kind_of_event_has_words(kind: EventKind) -> None:
    event = Event(id=uuid4(), job_id=uuid4(), created_at=now(), kind=kind)
    page = Page(items=(event,), has_more=False)
    (shown,) = translate_jobs.events(page, some_job(), ACME).data
    assert shown.message


def test_figures_that_are_no_numbers_are_left_out() -> None:
    data = {"step": 1, "total_steps": 2, "train_loss": float("nan"), "grad_norm": float("inf")}
    event = Event(
        id=uuid4(), job_id=uuid4(), created_at=now(), kind=EventKind.STEP, step=1, data=data
    )
    page = Page(items=(event,), has_more=False)
    (shown,) = translate_jobs.events(page, some_job(), ACME).data
    assert shown.data == {"step": 1, "total_steps": 2}


def test_a_conflict_is_not_to_be_tried_again() -> None:
    request = Request({"type": "http", "query_string": b"", "headers": []})
    answer = errors.render(request, Conflict("The job has changed."), 409)
    assert answer.headers["x-should-retry"] == "false"
