"""What the OpenAPI document says about every route, beyond what its function says."""

from fastapi import FastAPI
from pydantic import BaseModel

from tunesmith.wire import openapi_document


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorBody(BaseModel):
    error: ErrorDetail


ERRORS = openapi_document.errors(
    ErrorBody,
    {
        400: "A field is wrong, or the state does not allow it.",
        401: "The key is missing or unknown.",
        403: "The key may not do this.",
        404: "There is no such thing, or it is somebody else's.",
        413: "The body is too large.",
        429: "A limit is reached.",
        500: "A defect; the server's log has more under the request's id.",
        503: "There is no worker just now, or the model is still loading.",
    },
)


def complete(app: FastAPI) -> None:
    openapi_document.complete(app, {"key": {"type": "http", "scheme": "bearer"}})
