"""Chat completions: asked of the API that has them, with this one's credentials."""

from fastapi import APIRouter, Request, Response

from tunesmith.dialects.platform import documentation
from tunesmith.dialects.platform.auth import as_caller, secret_of
from tunesmith.domain.accounts import Scope
from tunesmith.wire.handing_on import HandedOn

router = APIRouter(prefix="/ai/chat", tags=["chat"])

PATH = "/chat/completions"


@router.post("/completions", response_class=Response, openapi_extra=documentation.CHAT)
async def create_chat_completion(request: Request) -> Response:
    """OpenAI's body, with all of its fields, and answer, its errors too.

    Who may not ask is told so in this API's words.
    """
    async with as_caller(request, Scope.INFERENCE, writes=False):
        pass
    return HandedOn(
        request.app.state.chat_app, PATH, secret_of(request), credentials=("x-api-key",)
    )
