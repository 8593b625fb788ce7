"""What the OpenAPI document says about every route, beyond what its function says."""

from typing import Any, Literal

from fastapi import FastAPI
from pydantic import BaseModel

from tunesmith.wire import openapi_document


class ErrorDetail(BaseModel):
    code: str
    message: str
    details: Any


class ErrorMeta(BaseModel):
    requestId: str


class Failure(BaseModel):
    success: Literal[False]
    error: ErrorDetail
    meta: ErrorMeta


class ChatFailure(BaseModel):
    """OpenAI's, or this API's for who may not ask."""

    error: dict[str, Any]


_STATUSES = {
    400: "A field is wrong.",
    401: "The key is missing or unknown.",
    403: "The key lacks the scope.",
    404: "There is no such thing, or it is somebody else's.",
    409: "The state does not allow it.",
    413: "The body is too large.",
    422: "Well-formed, but nothing can be done with it.",
    429: "A limit is reached.",
    500: "A defect; the server's log has more under the request's id.",
    503: "There is no worker just now, or the model is still loading.",
}
ERRORS = openapi_document.errors(Failure, _STATUSES)
CHAT_ERRORS = openapi_document.errors(ChatFailure, _STATUSES)


_CHAT_BODY = {
    "type": "object",
    "required": ["model", "messages"],
    "properties": {
        "model": {"type": "string"},
        "messages": {"type": "array"},
        "stream": {"type": "boolean"},
    },
}
CHAT: dict[str, Any] = {  # the rest is another API's
    "requestBody": {"required": True, "content": {"application/json": {"schema": _CHAT_BODY}}},
    "responses": {"200": {"content": {"application/json": {"schema": {"type": "object"}}}}},
}


def query(**schemas: dict[str, Any]) -> dict[str, Any]:
    """For a route that reads its query by hand."""
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "schema": schema}
            for name, schema in schemas.items()
        ]
    }


def complete(app: FastAPI) -> None:
    openapi_document.complete(
        app,
        {"key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}},
        {"bearer": {"type": "http", "scheme": "bearer"}},
    )
