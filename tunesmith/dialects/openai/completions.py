"""Completions of plain text, the older way to ask."""

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import models, translate_completions
from tunesmith.dialects.openai import schemas_completions as schemas
from tunesmith.dialects.openai.auth import Secret, as_caller
from tunesmith.dialects.openai.translate_answers import Head, head
from tunesmith.domain.assignments import SampleRequest
from tunesmith.http import foundation_of
from tunesmith.services import inference, metering
from tunesmith.services.context import Context
from tunesmith.services.metering import Meter
from tunesmith.wire import streams
from tunesmith.wire.streams import Blame

router = APIRouter(prefix="/completions", tags=["answers"])


@router.post("", response_model=schemas.Completion)
async def create_completion(
    _: Secret, request: Request, body: schemas.CreateCompletion
) -> schemas.Completion | StreamingResponse:
    async with as_caller(request, writes=False) as ctx:
        head, wanted, meter = await run_in_threadpool(_prepare, ctx, body)
    sampler = foundation_of(request).house.sampler
    parts = streams.merged(sampler, wanted, Blame(prompt="prompt"), meter)
    if body.stream:
        return await streams.respond(request, parts, translate_completions.TextFrames(head, body))
    answers = await streams.unless_left(request, streams.collected(parts, len(wanted)))
    return translate_completions.completion(head, body, answers)


def _prepare(
    ctx: Context, body: schemas.CreateCompletion
) -> tuple[Head, list[SampleRequest], Meter]:
    model = models.to_ask(ctx, body.model)
    sampling = translate_completions.text_sampling(body)
    wanted = inference.text_requests(ctx, model, body.prompt, sampling, body.num_drawn)
    meter = metering.meter(ctx, model, answers_per_prompt=body.num_drawn)
    return head("cmpl-", model, ctx.now()), wanted, meter
