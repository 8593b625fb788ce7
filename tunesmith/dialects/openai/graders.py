"""Graders: validate, run."""

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import schemas_graders as schemas
from tunesmith.dialects.openai import translate_graders
from tunesmith.dialects.openai.auth import InReadContext, Secret, as_caller
from tunesmith.domain.accounts import Scope
from tunesmith.domain.graders import Sample
from tunesmith.services import grading

router = APIRouter(prefix="/fine_tuning/alpha/graders", tags=["graders"])


@router.post("/validate")
def validate_grader(body: schemas.ValidateGrader, ctx: InReadContext) -> schemas.ValidatedGrader:
    ctx.require(Scope.JOBS_WRITE)
    return schemas.ValidatedGrader(grader=body.grader)


@router.post("/run")
async def run_grader(_: Secret, request: Request, body: schemas.RunGrader) -> schemas.GraderRun:
    async with as_caller(request, writes=False) as ctx:
        ctx.require(Scope.JOBS_WRITE)
    grader, sample = translate_graders.runnable(body.grader), Sample(text=body.model_sample)
    grade = await run_in_threadpool(grading.grade, grader, sample, body.item or {})
    return translate_graders.grader_run(body.grader, grade)
