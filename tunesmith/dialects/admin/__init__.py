"""Our own API for operators: keys, the base-model catalogue, webhooks and the queue."""

from fastapi import FastAPI

from tunesmith.dialects.admin import keys, models, queue, translate, webhooks
from tunesmith.dialects.admin.errors import render
from tunesmith.http import Foundation, render_errors_with

PREFIX = "/admin/v1"


def build(foundation: Foundation, *, webhooks_allow_private: bool) -> FastAPI:
    app = FastAPI(title="Tunesmith administration")
    app.state.foundation = foundation
    app.state.webhooks_allow_private = webhooks_allow_private
    render_errors_with(app, render)
    app.include_router(keys.router)
    app.include_router(models.router)
    app.include_router(webhooks.router)
    app.include_router(queue.router)
    return app


__all__ = ["PREFIX", "build", "translate"]
