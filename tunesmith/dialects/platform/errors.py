"""TunesmithError -> the envelope."""

import math
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from tunesmith.dialects.platform import translate
from tunesmith.domain import errors
from tunesmith.domain.accounts import Scope
from tunesmith.domain.jobs import Action, JobStatus
from tunesmith.http import request_id_of

UNUSABLE = "unusable"  # well-formed, but nothing can be done with it: a dataset that is not there
RETRY_AFTER_SECONDS = 5
MAX_MESSAGE_LENGTH = 2000
MAX_SHOWN_LENGTH = 100  # of an id that nothing has

_CODES = {
    400: "validation-error",
    401: "unauthorized",
    403: "scope-required",
    404: "not-found",
    405: "method-not-allowed",
    409: "invalid-state",
    413: "payload-too-large",
    422: "unprocessable",
    429: "rate-limited",
    503: "unavailable",
}


def render(request: Request, error: errors.TunesmithError, status: int) -> Response:
    if error.code in (UNUSABLE, "model_not_available") or isinstance(
        error, errors.InvalidTrainingData
    ):
        status = 422
    described = {
        "code": _CODES.get(status, "internal-error" if status >= 500 else "validation-error"),
        "message": _printable(_message(request, error))[:MAX_MESSAGE_LENGTH],
        "details": _details(error, status),
    }
    body = {"success": False, "error": described, "meta": {"requestId": request_id_of(request)}}
    return JSONResponse(body, status_code=status, headers=_retry(error, status))


def _message(request: Request, error: errors.TunesmithError) -> str:
    job_id = str(request.path_params.get("job_id", ""))[:MAX_SHOWN_LENGTH]
    match error:
        case errors.WrongState(action=Action.DELETE):
            status = translate.status(JobStatus(error.status))
            return f"Job {job_id} is {status}; stop it before deleting it."
        case errors.WrongState():
            status = translate.status(JobStatus(error.status))
            return f"Job {job_id} is {status} and cannot be {error.action}."
        case errors.NotFound(kind="job"):
            return f"There is no job {job_id!r}."
        case errors.NotFound(kind="file"):
            dataset_id = str(request.path_params.get("dataset_id", ""))[:MAX_SHOWN_LENGTH]
            return f"There is no dataset {dataset_id!r}."
        case errors.PermissionDenied() if f"'{Scope.INFERENCE.value}'" in error.message:
            return f"This key lacks the scope '{translate.INFERENCE_SCOPE}'; use a key that has it."
        case errors.InvalidTrainingData(line=int()):
            return f"The dataset cannot be used. Line {error.line}: {error.message}"
        case _:
            return error.message


def _details(error: errors.TunesmithError, status: int) -> Any:
    if isinstance(error, errors.WrongState):
        return {"status": translate.status(JobStatus(error.status))}
    if status in (400, 422) and error.param is not None:
        message = _printable(error.message)[:MAX_MESSAGE_LENGTH]
        return [{"field": _printable(translate.field(error.param)), "message": message}]
    return None


def _retry(error: errors.TunesmithError, status: int) -> dict[str, str]:
    if isinstance(error, errors.RateLimited):
        return {"retry-after": str(max(1, math.ceil(error.retry_after_seconds)))}
    return {"retry-after": str(RETRY_AFTER_SECONDS)} if status in (429, 503) else {}


def _printable(text: str) -> str:
    """Without the lone surrogates that JSON may carry and UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()
