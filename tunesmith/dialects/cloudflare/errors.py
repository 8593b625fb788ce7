"""TunesmithError -> the envelope, with the numbers that the original's clients look for.

https://developers.cloudflare.com/workers-ai/platform/errors, as of August 2026.
"""

import math
import re
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from tunesmith.dialects.cloudflare import auth, models
from tunesmith.domain import errors
from tunesmith.http import status_of

RETRY_AFTER_SECONDS = 5
MAX_MESSAGE_LENGTH = 2000

INVALID_TOKEN = 1000
INCOMPLETE = 3003
INVALID_HEADERS = 6003
NO_ROUTE = 7000
NOT_ROUTED = 7003
NOT_AUTHENTICATED = 10000
INTERNAL = 7500  # the documentation has no number for defects

_VERIFY_PATH = "/user/tokens/verify"
_OPENAI_SHAPED = re.compile(r".*/accounts/[^/]+/ai/v1/.*")

# A status where the original's is another than the house's, and the number.
_BY_SLUG: dict[str, tuple[int | None, int]] = {
    "unknown_url": (None, NOT_ROUTED),
    "method_not_allowed": (None, 7001),
    "user_unknown": (None, 9109),
    "model_not_available": (400, 5007),
    "too_many_adapters": (None, 3036),
    "adapter_incomplete": (None, 3039),
    models.UNKNOWN_FINETUNE: (None, 3037),
    models.INVALID_NAME: (404, 3042),
    "prompt_too_long": (413, 3006),
    auth.MALFORMED_AUTHORIZATION: (None, INVALID_HEADERS),
    auth.MALFORMED_AUTH_KEY: (None, INVALID_HEADERS),
}
_BY_NOT_FOUND: dict[str, tuple[int | None, int]] = {
    "base model": (400, 5007),
    "model": (400, 5007),
    "withdrawn base model": (400, 5007),
}
_BY_KIND: dict[type[errors.TunesmithError], tuple[int | None, int]] = {
    errors.InvalidRequest: (None, INCOMPLETE),
    errors.InvalidAdapter: (None, 5004),
    errors.Unauthenticated: (None, NOT_AUTHENTICATED),
    errors.PermissionDenied: (None, NOT_AUTHENTICATED),
    errors.NotFound: (None, NOT_ROUTED),
    errors.Conflict: (None, INCOMPLETE),  # clients try a 409 again, which may go well
    errors.WrongState: (400, INCOMPLETE),
    errors.TooLarge: (None, 3006),
    errors.QuotaExceeded: (None, 3036),
    errors.RateLimited: (None, 3036),
    errors.TooManyAtOnce: (None, 3036),
    errors.Unavailable: (429, 3040),
}
_BY_STATUS = {
    401: NOT_AUTHENTICATED,
    403: NOT_AUTHENTICATED,
    404: NOT_ROUTED,
    405: 7001,
    413: 3006,
    429: 3036,
    500: INTERNAL,
    503: 3040,
}
_BY_OPENAI_CODE = {"model_not_found": 5007}
_ERROR_CHAINS = {
    auth.MALFORMED_AUTHORIZATION: 6111,
    auth.MALFORMED_AUTH_KEY: 6103,
}


def render(request: Request, error: errors.TunesmithError, status: int) -> Response:
    own_status, number = _number(error, status)
    status = own_status or status
    if isinstance(error, errors.Unauthenticated) and request.url.path.endswith(_VERIFY_PATH):
        number = INVALID_TOKEN
    body = envelope(_errors(error, number))
    if _OPENAI_SHAPED.fullmatch(request.url.path):
        body["error"] = _openai_error(error, status)
    return JSONResponse(body, status_code=status, headers=_retry(error))


def envelope(entries: list[dict[str, Any]]) -> dict[str, Any]:
    return {"result": None, "success": False, "errors": entries, "messages": []}


def frame(error: errors.TunesmithError) -> dict[str, Any]:
    """The envelope, in the midst of a stream."""
    _, number = _number(error, status_of(error))
    return envelope(_errors(error, number))


def with_envelope(body: dict[str, Any], status: int) -> dict[str, Any]:
    """An error in OpenAI's shape, and in ours beside it."""
    message = str(body["error"]["message"])
    number = _BY_OPENAI_CODE.get(body["error"].get("code") or "", _BY_STATUS.get(status))
    return envelope([_entry(number or INCOMPLETE, message)]) | body


def _retry(error: errors.TunesmithError) -> dict[str, str]:
    """Clients try a 429 again unasked."""
    if isinstance(error, errors.Unavailable):
        return {"retry-after": str(RETRY_AFTER_SECONDS)}
    if isinstance(error, errors.RateLimited):
        return {"retry-after": str(max(1, math.ceil(error.retry_after_seconds)))}
    if isinstance(error, errors.QuotaExceeded):
        return {"x-should-retry": "false"}
    return {}


def _openai_error(error: errors.TunesmithError, status: int) -> dict[str, Any]:
    return {
        "message": _printable(error.message)[:MAX_MESSAGE_LENGTH],
        "type": "server_error" if status >= 500 else "invalid_request_error",
        "param": None if error.param is None else _printable(error.param),
        "code": error.code,
    }


def _number(error: errors.TunesmithError, status: int) -> tuple[int | None, int]:
    if error.code in _BY_SLUG:
        return _BY_SLUG[error.code]
    if isinstance(error, errors.NotFound) and error.kind in _BY_NOT_FOUND:
        return _BY_NOT_FOUND[error.kind]
    for kind in type(error).__mro__:
        if kind in _BY_KIND:
            return _BY_KIND[kind]
    return None, INTERNAL if status >= 500 else INCOMPLETE


def _errors(error: errors.TunesmithError, number: int) -> list[dict[str, Any]]:
    message = _printable(error.message)[:MAX_MESSAGE_LENGTH]
    if number == NOT_ROUTED:
        return [_entry(number, message), _entry(NO_ROUTE, "No route for that URI.")]
    if number == INVALID_HEADERS:
        chain = [_entry(_ERROR_CHAINS[error.code], message)]
        return [{**_entry(number, "Invalid request headers."), "error_chain": chain}]
    entry = _entry(number, message)
    if error.param is not None:
        entry["source"] = {"pointer": "/" + _printable(error.param).replace(".", "/")}
    return [entry]


def _entry(number: int, message: str) -> dict[str, Any]:
    return {"code": number, "message": message}


def _printable(text: str) -> str:
    """Without the lone surrogates that JSON may carry and UTF-8 may not."""
    return text.encode("utf-8", "backslashreplace").decode()
