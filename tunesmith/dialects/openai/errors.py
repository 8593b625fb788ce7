"""TunesmithError -> the envelope, in the words that the original's clients look for."""

import math
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from tunesmith.dialects.openai import translate, translate_jobs
from tunesmith.domain import errors
from tunesmith.domain.jobs import JobStatus
from tunesmith.http import status_of

RETRY_AFTER_SECONDS = 5
MAX_RETRY_AFTER_SECONDS = 60  # what is longer, clients read in different ways
MAX_MESSAGE_LENGTH = 2000

# The house's slugs that have no counterpart in the original, which says null there.
_WITHOUT_CODE = frozenset(
    {
        errors.TunesmithError.code,
        errors.InvalidRequest.code,
        errors.PermissionDenied.code,
        errors.Conflict.code,
        errors.WrongState.code,
        errors.TooLarge.code,
        errors.NotFound.code,
    }
)
_CODES = {"prompt_too_long": "context_length_exceeded"}


def render(request: Request, error: errors.TunesmithError, status: int) -> Response:
    if isinstance(error, errors.NotFound) and error.param == "after":
        # The house knows ids as UUIDs; the caller knows what was sent.
        sent = request.query_params.get("after", error.reference)
        error = errors.NotFound(translate.kind_of_id(sent), sent, param="after")
    if isinstance(error, errors.WrongState):
        status = 400  # clients try a 409 again
    return JSONResponse(body(error, status), status_code=status, headers=_retry(error, status))


def _retry(error: errors.TunesmithError, status: int) -> dict[str, str]:
    """Whether and when to try again: clients do it unasked after 408, 409, 429 and from 500 up."""
    if isinstance(error, errors.RateLimited):
        seconds = min(error.retry_after_seconds, MAX_RETRY_AFTER_SECONDS)
        return {
            "retry-after": str(max(1, math.ceil(seconds))),
            "retry-after-ms": str(math.ceil(seconds * 1000)),
        }
    if status == 503:
        return {"retry-after": str(RETRY_AFTER_SECONDS)}
    if status == 409 or isinstance(error, errors.QuotaExceeded):
        return {"x-should-retry": "false"}
    return {}


def body(error: errors.TunesmithError, status: int) -> dict[str, Any]:
    """The envelope; clients compare its printed form, so the order of the keys matters."""
    message, param, code = _words(error)
    return {
        "error": {
            "message": _printable(message)[:MAX_MESSAGE_LENGTH],
            "type": _type(error, status),
            "param": None if param is None else _printable(param),
            "code": code,
        }
    }


def frame(error: errors.TunesmithError) -> dict[str, Any]:
    """The envelope, in the midst of a stream."""
    return body(error, status_of(error))


def _type(error: errors.TunesmithError, status: int) -> str:
    if isinstance(error, errors.QuotaExceeded):
        return "insufficient_quota"
    if isinstance(error, errors.RateLimited):
        return error.unit
    return "server_error" if status >= 500 else "invalid_request_error"


def _words(error: errors.TunesmithError) -> tuple[str, str | None, str | None]:
    """Message, param and code."""
    match error:
        case errors.NotFound():
            return _not_found_words(error)
        case errors.WrongState(action="stopped"):
            status = translate_jobs.status(JobStatus(error.status))
            return f"Job has already completed: its status is {status}.", None, None
        case errors.WrongState():
            status = translate_jobs.status(JobStatus(error.status))
            return f"Job cannot be {error.action}: its status is {status}.", None, None
        case errors.Unauthenticated():
            return error.message, None, "invalid_api_key"
        case errors.QuotaExceeded():
            return error.message, error.param, "insufficient_quota"
        case _:
            code = None if error.code in _WITHOUT_CODE else _CODES.get(error.code, error.code)
            return error.message, error.param, code


def _not_found_words(error: errors.NotFound) -> tuple[str, str | None, str | None]:
    reference = translate.reference(error.kind, error.reference)
    match error.kind:
        case "file":
            return f"No such File object: {reference}", error.param or "id", None
        case "upload":
            return f"No such Upload object: {reference}", error.param or "id", None
        case "job":
            message = f"Could not find fine tune: {reference}"
            return message, error.param or "fine_tune_id", "fine_tune_not_found"
        case "withdrawn base model":
            message = (
                f"The base model `{reference}` of this fine-tuned model is not offered any more."
            )
            return message, error.param, "model_not_found"
        case "response":
            message = f"No such response: {reference}. Responses are not kept on this server."
            return message, error.param, "unknown_url"
        case "endpoint":
            return f"{reference} is not available on this server.", None, "unknown_url"
        case "model" | "base model":
            message = f"The model `{reference}` does not exist or you do not have access to it."
            return message, error.param or "model", "model_not_found"
        case _:
            return f"No such {error.kind}: {reference}", error.param, None


def _printable(text: str) -> str:
    """Without the lone surrogates that JSON may carry and UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()
