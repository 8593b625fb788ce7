"""Cloudflare's API for Workers AI: finetunes, for wrangler and Cloudflare's own clients."""

from fastapi import FastAPI
from starlette.types import ASGIApp

from tunesmith.dialects.cloudflare import (
    account,
    assets,
    catalogue,
    documentation,
    finetunes,
    openai_shaped,
    run,
)
from tunesmith.dialects.cloudflare.errors import render
from tunesmith.dialects.cloudflare.paths import LenientPaths
from tunesmith.http import Foundation, render_errors_with
from tunesmith.services.limits import Limiter

PREFIX = "/client/v4"


def build(
    foundation: Foundation, *, openai_app: ASGIApp, limiter: Limiter | None = None
) -> FastAPI:
    """`openai_app` answers what is asked in OpenAI's form below an account."""
    app = FastAPI(
        title="Tunesmith, Cloudflare dialect",
        description="Finetunes and answers, as Cloudflare's clients know them.",
        strict_content_type=False,
        redirect_slashes=False,
    )
    app.state.foundation = foundation
    app.state.openai_app = openai_app
    app.state.limiter = limiter or Limiter({})
    render_errors_with(app, render)
    app.add_middleware(LenientPaths)
    # The names of finetunes and of models take the rest of a path.
    for module in (account, assets, finetunes, catalogue):
        app.include_router(module.router, responses=documentation.ERRORS)
    for module in (openai_shaped, run):
        app.include_router(module.router, responses=documentation.RUN_ERRORS)
    documentation.complete(app)
    return app
