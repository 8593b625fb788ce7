"""The Responses API: answers are not kept, so there is none to ask for, go on from or cancel."""

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import models, translate_responses
from tunesmith.dialects.openai import schemas_responses as schemas
from tunesmith.dialects.openai.auth import InReadContext, Secret, as_caller
from tunesmith.dialects.openai.response_events import ResponseFrames
from tunesmith.dialects.openai.schemas_response_objects import Response
from tunesmith.dialects.openai.translate_answers import Head, head
from tunesmith.domain.assignments import SampleRequest
from tunesmith.domain.errors import NotFound
from tunesmith.http import foundation_of
from tunesmith.services import inference, metering
from tunesmith.services.context import Context
from tunesmith.services.metering import Meter
from tunesmith.wire import streams
from tunesmith.wire.streams import Blame

router = APIRouter(prefix="/responses", tags=["answers"])


@router.post("", response_model=Response)
async def create_response(
    _: Secret, request: Request, body: schemas.CreateResponse
) -> Response | StreamingResponse:
    async with as_caller(request, writes=False) as ctx:
        head, wanted, meter = await run_in_threadpool(_prepare, ctx, body)
    house = foundation_of(request).house
    schema = "tools" if wanted[0].required_tools else "text.format"
    parts = streams.merged(house.sampler, wanted, Blame(prompt="input", schema=schema), meter)
    draft = translate_responses.Draft(head, body, house.now)
    if body.stream:
        return await streams.respond(request, parts, ResponseFrames(draft))
    (answer,) = await streams.unless_left(request, streams.collected(parts, 1))
    return translate_responses.response(draft, answer)


@router.post("/compact", include_in_schema=False)
@router.post("/input_tokens", include_in_schema=False)
def refuse(request: Request, _: InReadContext) -> None:
    raise NotFound("endpoint", f"{request.method} {request.url.path}")


@router.get("/{response_id}", include_in_schema=False)
@router.delete("/{response_id}", include_in_schema=False)
@router.post("/{response_id}/cancel", include_in_schema=False)
@router.get("/{response_id}/input_items", include_in_schema=False)
def find_response(response_id: str, _: InReadContext) -> None:
    raise NotFound("response", response_id)


def _prepare(ctx: Context, body: schemas.CreateResponse) -> tuple[Head, list[SampleRequest], Meter]:
    model = models.to_ask(ctx, body.model)
    wanted = inference.chat_requests(
        ctx,
        model,
        translate_responses.messages(body),
        translate_responses.sampling(body),
        1,
        translate_responses.tools(body),
    )
    return head("resp_", model, ctx.now()), wanted, metering.meter(ctx, model)
