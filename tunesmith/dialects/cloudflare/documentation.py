"""What the OpenAPI document says about every route, beyond what its function says."""

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel

from tunesmith.wire import openapi_document


class Source(BaseModel):
    pointer: str


class ErrorEntry(BaseModel):
    code: int
    message: str
    source: Source | None = None
    error_chain: list["ErrorEntry"] = []


class Failure(BaseModel):
    result: None
    success: Literal[False]
    errors: list[ErrorEntry]
    messages: list[Any]


ERRORS = openapi_document.errors(
    Failure,
    {
        400: "A field is wrong, or the state does not allow it.",
        401: "The credentials are missing or unknown.",
        403: "The credentials may not do this, or are for another account.",
        404: "There is no such thing, or it is somebody else's.",
        413: "The body is too large.",
        429: "A limit is reached, or there is no capacity just now.",
        500: "A defect; the server's log has more under the request's id.",
    },
)
RUN_ERRORS = ERRORS | openapi_document.errors(Failure, {405: "The model cannot take a finetune."})


def openai_body(*required: str, streams: bool = False) -> dict[str, Any]:
    """For a route whose body is that of another API, and has `lora` beside it."""
    properties: dict[str, Any] = {
        "model": {"type": "string"},
        "lora": {"type": "string", "description": "The id or the name of a finetune."},
        **({"stream": {"type": "boolean"}} if streams else {}),
        **{name: {} for name in required},
    }
    schema = {"type": "object", "required": ["model", *required], "properties": properties}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def complete(app: FastAPI) -> None:
    openapi_document.complete(
        app,
        {"token": {"type": "http", "scheme": "bearer"}},
        {
            "email": {"type": "apiKey", "in": "header", "name": "X-Auth-Email"},
            "key": {"type": "apiKey", "in": "header", "name": "X-Auth-Key"},
        },
    )
