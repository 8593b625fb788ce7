"""Chat completions."""

from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import models, streams, translate_chat
from tunesmith.dialects.openai import schemas_chat as schemas
from tunesmith.dialects.openai.auth import Secret, as_caller
from tunesmith.domain.assignments import SampleRequest
from tunesmith.http import foundation_of
from tunesmith.services import inference
from tunesmith.services.context import Context

router = APIRouter(prefix="/chat", tags=["answers"])


@router.post("/completions", response_model=schemas.ChatCompletion)
async def create_chat_completion(
    _: Secret, request: Request, body: schemas.CreateChatCompletion
) -> schemas.ChatCompletion | StreamingResponse:
    async with as_caller(request, writes=False) as ctx:
        head, wanted = await run_in_threadpool(_prepare, ctx, body)
    parts = streams.merged(foundation_of(request).house.sampler, wanted)
    if body.stream:
        return await streams.respond(request, parts, translate_chat.ChatFrames(head, body))
    answers = await streams.unless_left(request, streams.collected(parts, len(wanted)))
    return translate_chat.chat_completion(head, answers)


def _prepare(
    ctx: Context, body: schemas.CreateChatCompletion
) -> tuple[translate_chat.Head, list[SampleRequest]]:
    model = models.resolve(ctx, body.model)
    messages, sampling = translate_chat.messages(body), translate_chat.chat_sampling(body)
    wanted = inference.chat_requests(ctx, model, messages, sampling, body.n or 1)
    return translate_chat.head("chatcmpl-", model, ctx.now()), wanted
