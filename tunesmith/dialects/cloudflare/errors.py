"""TunesmithError -> the envelope, with the numbers that the original's clients look for.

https://developers.cloudflare.com/workers-ai/platform/errors, as of August 2026.
"""

import math
from typing import Any

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from tunesmith.dialects.cloudflare import auth
from tunesmith.domain import errors

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

# A status where the original's is another than the house's, and the number.
_BY_SLUG: dict[str, tuple[int | None, int]] = {
    "unknown_url": (None, NOT_ROUTED),
    "method_not_allowed": (None, 7001),
    "user_unknown": (None, 9109),
    "model_not_available": (400, 5007),
    "too_many_adapters": (None, 3036),
    "adapter_incomplete": (None, 3039),
    auth.MALFORMED_AUTHORIZATION: (None, INVALID_HEADERS),
    auth.MALFORMED_AUTH_KEY: (None, INVALID_HEADERS),
}
_BY_NOT_FOUND: dict[str, tuple[int | None, int]] = {
    "base model": (400, 5007),
    "model": (400, 5007),
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
    errors.Unavailable: (429, 3040),
}
_ERROR_CHAINS = {
    auth.MALFORMED_AUTHORIZATION: 6111,
    auth.MALFORMED_AUTH_KEY: 6103,
}


def render(request: Request, error: errors.TunesmithError, status: int) -> Response:
    own_status, number = _number(error, status)
    status = own_status or status
    if isinstance(error, errors.Unauthenticated) and request.url.path.endswith(_VERIFY_PATH):
        number = INVALID_TOKEN
    headers = {}
    if isinstance(error, errors.Unavailable):
        headers["retry-after"] = str(RETRY_AFTER_SECONDS)
    if isinstance(error, errors.RateLimited):
        headers["retry-after"] = str(math.ceil(error.retry_after_seconds))
    if isinstance(error, errors.QuotaExceeded):
        headers["x-should-retry"] = "false"  # clients try a 429 again
    body = {"result": None, "success": False, "errors": _errors(error, number), "messages": []}
    return JSONResponse(body, status_code=status, headers=headers)


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
