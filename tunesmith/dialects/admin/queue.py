"""The queue: who is next, why the others wait, and which jobs matter more."""

from uuid import UUID

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas, translate
from tunesmith.dialects.admin.auth import InContext
from tunesmith.services import queue_report, quotas

router = APIRouter()


@router.get("/queue")
def list_queue(ctx: InContext) -> list[schemas.QueuedJob]:
    """Of every organization, in the order in which they would begin."""
    return [translate.queued_job(one) for one in queue_report.list_all(ctx)]


@router.put("/jobs/{job_id}/priority", status_code=204)
def set_priority(job_id: UUID, body: schemas.SetPriority, ctx: InContext) -> None:
    """From 1 to 5; 5 goes first. It says nothing to a job that runs already."""
    quotas.prioritize(ctx, job_id, body.priority)
