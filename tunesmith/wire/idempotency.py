"""The header `Idempotency-Key`, on requests that create something."""

from collections.abc import Callable
from typing import TypeVar

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from tunesmith.services import idempotency
from tunesmith.services.context import Context

HEADER = "idempotency-key"
REPLAYED = "idempotency-replayed"
Answer = TypeVar("Answer", bound=BaseModel)


def once(
    request: Request, ctx: Context, asked: str, act: Callable[[], Answer], status: int = 200
) -> Answer | Response:
    """What `act` answers; under a key that was used before, the answer that was given then.

    `asked` is what the request says, apart from its path: two requests are the same if it is.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    said = f"{request.url.path}\n{asked}".encode("utf-8", "surrogatepass")
    done = idempotency.once(ctx, key, said, lambda: act().model_dump(mode="json", by_alias=True))
    headers = {REPLAYED: "true"} if done.is_replayed else {}
    return JSONResponse(done.answer, status_code=status, headers=headers)
