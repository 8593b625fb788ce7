"""Chat completions: asked of the API that has them, with this one's credentials."""

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tunesmith.dialects.platform import documentation
from tunesmith.dialects.platform.auth import as_caller, secret_of
from tunesmith.domain.accounts import Scope as KeyScope

router = APIRouter(prefix="/ai/chat", tags=["chat"])

PATH = "/chat/completions"
_CREDENTIALS = (b"authorization", b"x-api-key")


@router.post("/completions", response_class=Response, openapi_extra=documentation.CHAT)
async def create_chat_completion(request: Request) -> Response:
    """OpenAI's body and answer, its errors too; who may not ask is told so in this API's words."""
    async with as_caller(request, KeyScope.INFERENCE, writes=False):
        pass
    return PassedOn(request.app.state.chat_app, secret_of(request))


class PassedOn(Response):
    """The answer of another app to the same request."""

    def __init__(self, app: ASGIApp, secret: str) -> None:
        super().__init__()
        self._app = app
        self._secret = secret

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = [pair for pair in scope["headers"] if pair[0].lower() not in _CREDENTIALS]
        bearer = (b"authorization", f"Bearer {self._secret}".encode("latin-1"))
        passed = {
            **{key: value for key, value in scope.items() if key not in _OF_THIS_APP},
            "path": PATH,
            "raw_path": PATH.encode(),
            "root_path": "",
            "headers": [*headers, bearer],
        }
        await self._app(passed, receive, send)


# What frameworks note in a scope about the app that it is in.
_OF_THIS_APP = frozenset(
    {
        "app",
        "app_root_path",
        "endpoint",
        "fastapi_function_astack",
        "fastapi_inner_astack",
        "fastapi_middleware_astack",
        "path_params",
        "route",
        "router",
    }
)
