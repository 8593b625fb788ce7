"""TunesmithError -> body."""

from fastapi import Request, Response
from fastapi.responses import JSONResponse

from tunesmith.domain.errors import TunesmithError


def render(request: Request, error: TunesmithError, status: int) -> Response:
    body = {"code": error.code, "message": error.message, "param": error.param}
    return JSONResponse({"error": body}, status_code=status)
