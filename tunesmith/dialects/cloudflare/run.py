"""Running a model: text from a prompt or a conversation, with or without a finetune."""

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.cloudflare import models, translate_run
from tunesmith.dialects.cloudflare import schemas_run as schemas
from tunesmith.dialects.cloudflare.auth import as_caller
from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import SampleRequest
from tunesmith.domain.errors import Unavailable
from tunesmith.http import foundation_of
from tunesmith.services import inference, metering
from tunesmith.services.context import Context
from tunesmith.services.limits import Limiter, MeteredSampler
from tunesmith.services.metering import Meter
from tunesmith.wire import streams

router = APIRouter(prefix="/accounts/{account_id}/ai/run", tags=["answers"])


@router.post("/{model:path}", response_model=schemas.Run)
async def run_model(
    model: str, request: Request, body: schemas.RunText
) -> schemas.Run | StreamingResponse:
    """A model's name may have its slashes escaped or not."""
    async with as_caller(request, writes=False) as ctx:
        wanted, meter = await run_in_threadpool(_prepare, ctx, model, body)
        owner, key = ctx.owner, ctx.key.id
    limiter: Limiter = request.app.state.limiter
    sampler = MeteredSampler(foundation_of(request).house.sampler, limiter, owner, key)
    if body.rejects_if_busy and sampler.is_busy:
        raise Unavailable("Out of capacity: every worker is busy, and `rejectIfBusy` is set.")
    limiter.admit(owner, key)
    parts = streams.merged(sampler, [wanted], _blame(body, wanted), meter)
    if body.stream:
        return await streams.respond(request, parts, translate_run.TextFrames())
    (answer,) = await streams.unless_left(request, streams.collected(parts, 1))
    return schemas.Run(result=translate_run.text_answer(body, answer))


def _prepare(ctx: Context, name: str, body: schemas.RunText) -> tuple[SampleRequest, Meter]:
    ctx.require(Scope.INFERENCE)  # before anything is said about what there is
    base = models.base(ctx, name)
    model = base if body.lora is None else models.finetuned(ctx, base, body.lora)
    sampling, meter = translate_run.sampling(body), metering.meter(ctx, model)
    if body.raw:
        prompt = translate_run.raw_prompt(body)
        return inference.text_requests(ctx, model, [prompt], sampling, 1)[0], meter
    conversation, tools = translate_run.messages(body), translate_run.tools(body)
    return inference.chat_requests(ctx, model, conversation, sampling, 1, tools)[0], meter


def _blame(body: schemas.RunText, wanted: SampleRequest) -> streams.Blame:
    return streams.Blame(
        prompt="prompt" if body.messages is None else "messages",
        schema="tools" if wanted.required_tools else "response_format",
    )
