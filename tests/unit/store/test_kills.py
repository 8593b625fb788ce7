"""Killed at any point of storing a checkpoint, the server has all of it or nothing."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from tests.factories import NOW, artifact, base_model, metrics, organization, queued_job
from tests.factories import registration as new_registration
from tests.kill_points import kill_points, only_where_traced
from tunesmith.domain.assignments import CheckpointPublished, ReportBatch, StepReported
from tunesmith.services import leases, scheduling
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database

pytestmark = [
    only_where_traced,
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
]


def test_at_each_point_of_storing_bytes(tmp_path: Path) -> None:
    folder = tmp_path / "blobs"
    content = b"weights" * 1000
    name = hashlib.sha256(content).hexdigest()
    num_stored = num_points = 0

    def put_back() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        Blobs(folder)

    for _ in kill_points(lambda: Blobs(folder).put(content), put_back):
        num_points += 1
        blobs = Blobs(folder)
        if blobs.has(name):
            num_stored += 1
            assert blobs.path(name).read_bytes() == content
        assert blobs.put(content).sha256 == name  # sent again
        assert blobs.path(name).read_bytes() == content
    assert 0 < num_stored < num_points


def test_at_each_point_of_recording_a_checkpoint(migrated_file: Path, tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs")
    folder, before = tmp_path / "database", tmp_path / "before"
    before.mkdir()
    shutil.copy(migrated_file, before / "tunesmith.db")
    worker = new_registration()
    owner = organization()
    with _opened(before) as database, database.write() as store:
        store.accounts.add_organization(owner)
        store.models.put_base(base_model())
        job = queued_job(store, owner)
        scheduling.register(store, worker, NOW)
        assert scheduling.lease(store, worker, NOW) is not None
    batch = ReportBatch(
        sequence=1,
        reports=(
            StepReported(metrics=metrics(5)),
            CheckpointPublished(step=5, epoch=1, artifacts=(artifact(blobs),)),
        ),
    )

    def put_back() -> None:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(before, folder)

    def record() -> None:
        with _opened(folder) as database, database.write() as store:
            leases.record(store, blobs, job.id, 1, batch, NOW + timedelta(seconds=1))

    def found() -> tuple[int, int, int]:
        """Steps, checkpoints and models."""
        with _opened(folder) as database, database.read() as store:
            return (
                len(store.events.list_metrics(job.id)),
                len(store.jobs.all_checkpoints(job.id)),
                len(store.models.list_tuned(owner.id)),
            )

    states = []
    for _ in kill_points(record, put_back):
        states.append(found())
        record()  # the worker had no answer
        assert found() == (1, 1, 1)
    assert len(states) >= 200
    assert set(states) == {(0, 0, 0), (1, 1, 1)}


@contextmanager
def _opened(folder: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{folder / 'tunesmith.db'}")
    try:
        yield database
    finally:
        database.close()
