"""What the OpenAPI document says about every route, beyond what its function says."""

from functools import cache
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: ErrorDetail


_ERRORS = {
    400: "A field is wrong, or the state does not allow it.",
    401: "The key is missing or unknown.",
    403: "The key may not do this.",
    404: "There is no such thing, or it is somebody else's.",
    413: "The body is too large.",
    429: "A limit is reached.",
    500: "A defect; the server's log has more under the request's id.",
    503: "There is no worker just now, or the model is still loading.",
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": description}
    for status, description in _ERRORS.items()
}
_KEYS = {"type": "http", "scheme": "bearer"}
_METHODS = ("get", "post", "put", "delete")


def complete(app: FastAPI) -> None:
    """Give the app's document what FastAPI cannot know of it."""
    generate = app.openapi

    @cache
    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document["components"]["schemas"]
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        document["components"]["securitySchemes"] = {"key": _KEYS}
        document["security"] = [{"key": []}]
        for path in document["paths"].values():
            for method in _METHODS:
                if method in path:
                    _complete(path[method], schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    operation["responses"].pop("422", None)  # such errors are answered with 400
    if _can_stream(operation, schemas):
        content = operation["responses"]["200"]["content"]
        content["text/event-stream"] = {"schema": {"type": "string"}}


def _can_stream(operation: dict[str, Any], schemas: dict[str, Any]) -> bool:
    contents = operation.get("requestBody", {}).get("content", {})
    body = contents.get("application/json", {}).get("schema", {})
    name = body.get("$ref", "").rsplit("/", 1)[-1]
    return "stream" in schemas.get(name, {}).get("properties", {})
