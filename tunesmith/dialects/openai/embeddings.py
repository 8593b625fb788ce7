"""Embeddings of texts."""

import asyncio
import base64
import struct

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from tunesmith.dialects.openai import models
from tunesmith.dialects.openai import schemas_embeddings as schemas
from tunesmith.dialects.openai.auth import Secret, as_caller
from tunesmith.dialects.openai.translate import model_name
from tunesmith.domain.assignments import EmbedRequest, SampleOutput, SamplePart
from tunesmith.http import foundation_of
from tunesmith.services import inference, metering
from tunesmith.services.context import Context
from tunesmith.services.metering import Meter
from tunesmith.services.ports import Sampler
from tunesmith.wire import streams

MAX_AT_ONCE = 32  # of one request's texts on their way to workers

router = APIRouter(prefix="/embeddings", tags=["answers"])


@router.post("")
async def create_embeddings(
    _: Secret, request: Request, body: schemas.CreateEmbedding
) -> schemas.EmbeddingList:
    async with as_caller(request, writes=False) as ctx:
        model, wanted, meter = await run_in_threadpool(_prepare, ctx, body)
    sampler = foundation_of(request).house.sampler
    made = await streams.unless_left(request, _embed_all(sampler, wanted, body, meter))
    num_tokens = sum(tokens for _, tokens in made)
    return schemas.EmbeddingList(
        data=[
            schemas.Embedding(index=index, embedding=embedding)
            for index, (embedding, _) in enumerate(made)
        ],
        model=model,
        usage=schemas.EmbeddingUsage(prompt_tokens=num_tokens, total_tokens=num_tokens),
    )


def _prepare(ctx: Context, body: schemas.CreateEmbedding) -> tuple[str, list[EmbedRequest], Meter]:
    model = models.to_ask(ctx, body.model)
    wanted = inference.embed_requests(ctx, model, body.input)
    return model_name(model), wanted, metering.meter(ctx, model)


Made = tuple[list[float] | str, int]  # an embedding as it is sent, and its text's tokens


async def _embed_all(
    sampler: Sampler, requests: list[EmbedRequest], body: schemas.CreateEmbedding, meter: Meter
) -> list[Made]:
    """In the order of the requests. The first failure ends and cancels them all."""
    gate = asyncio.Semaphore(MAX_AT_ONCE)

    async def embed(index: int, request: EmbedRequest) -> Made:
        async with gate:
            output = await sampler.embed(request)
        if output.part is SamplePart.FAILED:
            raise streams.failure(output, streams.Blame(prompt="input"))
        meter.see(index, output)
        return _made(output, body)

    tasks = [asyncio.create_task(embed(*numbered)) for numbered in enumerate(requests)]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        meter.close()


def _made(output: SampleOutput, body: schemas.CreateEmbedding) -> Made:
    vector = inference.unit_vector(output.embedding, body.dimensions)
    sent = _base64(vector) if body.encoding_format == "base64" else vector
    return sent, output.prompt_tokens


def _base64(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
