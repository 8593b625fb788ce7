"""A job with its owner and a worker, to whom things happen one after another."""

from datetime import timedelta

from tests.factories import NOW, artifact, metrics, registration
from tunesmith.domain.assignments import (
    Assignment,
    CheckpointPublished,
    Receipt,
    Report,
    ReportBatch,
    StepReported,
    TrainingFinished,
)
from tunesmith.domain.events import EventKind
from tunesmith.domain.jobs import Job, JobStatus
from tunesmith.domain.paging import PageRequest
from tunesmith.services import jobs, leases, pausing, scheduling
from tunesmith.services.context import Context
from tunesmith.store.blobs import Blobs

EVERYTHING = PageRequest(limit=100, ascending=True)


class Scene:
    """A job, its owner, and a worker that can lease it."""

    def __init__(self, ctx: Context, job: Job) -> None:
        self.ctx, self.store, self.job_id = ctx, ctx.store, job.id
        self.now = NOW
        self.assignment: Assignment | None = None
        self.box = registration()
        scheduling.register(self.store, self.box, NOW)

    @property
    def job(self) -> Job:
        return jobs.get(self.ctx, self.job_id)

    @property
    def blobs(self) -> Blobs:
        return self.ctx.house.blobs

    def lease(self) -> Assignment | None:
        leased = scheduling.lease(self.store, self.box, self.now)
        if leased is not None:
            self.assignment, self.sequence = leased, 0
        return leased

    def tell(self, *reports: Report) -> Receipt:
        assert self.assignment is not None
        self.sequence += 1
        batch = ReportBatch(sequence=self.sequence, reports=reports)
        its = self.assignment
        return leases.record(self.store, self.blobs, its.job_id, its.attempt, batch, self.now)

    def save(self, step: int, epoch: int | None = None) -> CheckpointPublished:
        names = ("adapter_model.safetensors", "optimizer.safetensors")
        artifacts = tuple(artifact(self.blobs, name, str(step)) for name in names)
        published = CheckpointPublished(step=step, epoch=epoch, artifacts=artifacts)
        self.tell(StepReported(metrics=metrics(step)), published)
        return published

    def finish(self) -> None:
        final = (artifact(self.blobs, content="final"),)
        self.tell(TrainingFinished(step=10, trained_tokens=1, artifacts=final))

    def fall_silent(self) -> None:
        self.now += timedelta(hours=1)
        scheduling.requeue_expired(self.store, self.now)

    def pause(self) -> JobStatus:
        return pausing.pause(self.ctx, self.job_id).status

    def resume(self) -> JobStatus:
        return pausing.resume(self.ctx, self.job_id).status

    def events(self) -> list[EventKind]:
        page = self.store.events.list_page(self.job_id, EVERYTHING)
        return [event.kind for event in page.items]

    def models(self) -> list[tuple[str, int | None]]:
        return [(m.short_id, m.step) for m in self.store.models.list_tuned(self.ctx.owner)]
