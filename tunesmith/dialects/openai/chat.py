"""Chat completions."""

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import models, translate_chat
from tunesmith.dialects.openai import schemas_chat as schemas
from tunesmith.dialects.openai.auth import Secret, as_caller
from tunesmith.dialects.openai.schemas_chat_objects import ChatCompletion
from tunesmith.dialects.openai.translate_answers import Head, head
from tunesmith.domain.assignments import SampleRequest
from tunesmith.http import foundation_of
from tunesmith.services import inference, metering
from tunesmith.services.context import Context
from tunesmith.services.metering import Meter
from tunesmith.wire import streams
from tunesmith.wire.streams import Blame

router = APIRouter(prefix="/chat", tags=["answers"])


@router.post("/completions", response_model=ChatCompletion)
async def create_chat_completion(
    _: Secret, request: Request, body: schemas.CreateChatCompletion
) -> ChatCompletion | StreamingResponse:
    async with as_caller(request, writes=False) as ctx:
        head, wanted, meter = await run_in_threadpool(_prepare, ctx, body)
    schema = "tools" if wanted[0].required_tools else "response_format"
    blame = Blame(prompt="messages", schema=schema)
    parts = streams.merged(foundation_of(request).house.sampler, wanted, blame, meter)
    if body.stream:
        return await streams.respond(request, parts, translate_chat.ChatFrames(head, body))
    answers = await streams.unless_left(request, streams.collected(parts, len(wanted)))
    return translate_chat.chat_completion(head, body, answers)


def _prepare(
    ctx: Context, body: schemas.CreateChatCompletion
) -> tuple[Head, list[SampleRequest], Meter]:
    model = models.to_ask(ctx, body.model)
    wanted = inference.chat_requests(
        ctx,
        model,
        translate_chat.messages(body),
        translate_chat.chat_sampling(body),
        body.num_choices,
        translate_chat.tools(body),
    )
    meter = metering.meter(ctx, model, answers_per_prompt=body.num_choices)
    return head("chatcmpl-", model, ctx.now()), wanted, meter
