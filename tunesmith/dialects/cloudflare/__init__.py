"""Cloudflare's API for Workers AI: finetunes, for wrangler and Cloudflare's own clients."""

from fastapi import FastAPI

from tunesmith.dialects.cloudflare import account, assets, finetunes
from tunesmith.dialects.cloudflare.errors import render
from tunesmith.dialects.cloudflare.paths import LenientPaths
from tunesmith.http import Foundation, render_errors_with

PREFIX = "/client/v4"


def build(foundation: Foundation) -> FastAPI:
    app = FastAPI(
        title="Tunesmith, Cloudflare dialect",
        description="Finetunes and answers, as Cloudflare's clients know them.",
        strict_content_type=False,
        redirect_slashes=False,
    )
    app.state.foundation = foundation
    render_errors_with(app, render)
    app.add_middleware(LenientPaths)
    for module in (account, assets, finetunes):  # the names of finetunes take the rest of a path
        app.include_router(module.router)
    return app
