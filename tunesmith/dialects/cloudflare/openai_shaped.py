"""Answers in OpenAI's form below an account: whoever speaks that form is handed the request."""

import json
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

from tunesmith.dialects.cloudflare import errors, models
from tunesmith.dialects.cloudflare.auth import as_caller, credentials_of
from tunesmith.dialects.cloudflare.documentation import openai_body
from tunesmith.domain.accounts import Scope, digest_of
from tunesmith.domain.errors import InvalidRequest
from tunesmith.services.context import Context
from tunesmith.wire.handing_on import HandedOn
from tunesmith.wire.json_body import check_json

router = APIRouter(prefix="/accounts/{account_id}/ai/v1", tags=["answers"])

_OWN_HEADERS = ("x-auth-email", "x-auth-key", "x-auth-user-service-key")


@router.post("/chat/completions", openapi_extra=openai_body("messages", streams=True))
async def create_chat_completion(request: Request) -> Response:
    """As in the OpenAI dialect, with all of its fields, and with `lora`."""
    return await _handed_on(request, "/chat/completions")


@router.post("/completions", openapi_extra=openai_body("prompt", streams=True))
async def create_completion(request: Request) -> Response:
    """As in the OpenAI dialect, with all of its fields, and with `lora`."""
    return await _handed_on(request, "/completions")


@router.post("/responses", openapi_extra=openai_body("input", streams=True))
async def create_response(request: Request) -> Response:
    """As in the OpenAI dialect, with all of its fields, and with `lora`."""
    return await _handed_on(request, "/responses")


@router.post("/embeddings", openapi_extra=openai_body("input"))
async def create_embeddings(request: Request) -> Response:
    """As in the OpenAI dialect, with all of its fields, and with `lora`."""
    return await _handed_on(request, "/embeddings")


@router.get("/models")
async def list_models(request: Request) -> Response:
    """As in the OpenAI dialect."""
    return await _handed_on(request, "/models")


async def _handed_on(request: Request, path: str) -> Response:
    body = await request.body()
    async with as_caller(request, writes=False) as ctx:
        if body:
            ctx.require(Scope.INFERENCE)  # before anything is said about what there is
            body = await run_in_threadpool(_with_plain_model, ctx, body)
        secret = next(
            credential.secret
            for credential in credentials_of(request)
            if digest_of(credential.secret) == ctx.key.digest
        )
    return HandedOn(
        request.app.state.openai_app,
        path,
        secret,
        credentials=_OWN_HEADERS,
        body=body,
        wrap=_EnvelopedErrors,
    )


def _with_plain_model(ctx: Context, body: bytes) -> bytes:
    """What only this API says about the model, in words that every one knows."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return body  # which is refused where it goes
    if not isinstance(fields, dict) or not isinstance(fields.get("model"), str):
        return body
    for name, value in fields.items():
        check_json(value, name)
    lora = fields.pop("lora", None)
    if lora is None:
        base = models.find_base(ctx, fields["model"])
        model = fields["model"] if base is None else base.name
    elif isinstance(lora, str):
        model = str(models.finetuned(ctx, models.base(ctx, fields["model"]), lora).id)
    else:
        raise InvalidRequest("`lora` must be the id or the name of a finetune.", param="lora")
    return json.dumps({**fields, "model": model}).encode()


class _EnvelopedErrors:
    """A `send` that puts the envelope of this API beside the error of an answer."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self._start: Message | None = None  # of an error, held back
        self._body = b""

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] >= 400:
            self._start = message
            return
        if self._start is None:
            await self._send(message)
            return
        self._body += message.get("body", b"")
        if message.get("more_body"):
            return
        body = _enveloped(self._body, self._start["status"])
        headers = MutableHeaders(raw=list(self._start["headers"]))
        headers["content-length"] = str(len(body))
        await self._send({**self._start, "headers": headers.raw})
        await self._send({**message, "body": body})


def _enveloped(body: bytes, status: int) -> bytes:
    said: dict[str, Any] = json.loads(body)
    return json.dumps(errors.with_envelope(said, status)).encode()
