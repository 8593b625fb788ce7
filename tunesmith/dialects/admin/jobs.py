"""Jobs: what no other dialect has a word for."""

from uuid import UUID

from fastapi import APIRouter

from tunesmith.dialects.admin import schemas
from tunesmith.dialects.admin.auth import InContext
from tunesmith.services import jobs

router = APIRouter()


@router.post("/jobs/{job_id}/reproduce", status_code=201)
def reproduce_job(job_id: UUID, ctx: InContext) -> schemas.CreatedJob:
    """Train once more what a job of the caller's organization has trained."""
    return schemas.CreatedJob(id=jobs.reproduce(ctx, job_id).id)
