"""Our own API for operators: keys and the base-model catalogue."""

from fastapi import FastAPI

from tunesmith.dialects.admin import keys, models, translate
from tunesmith.dialects.admin.errors import render
from tunesmith.http import Foundation, render_errors_with

PREFIX = "/admin/v1"


def build(foundation: Foundation) -> FastAPI:
    app = FastAPI(title="Tunesmith administration")
    app.state.foundation = foundation
    render_errors_with(app, render)
    app.include_router(keys.router)
    app.include_router(models.router)
    return app


__all__ = ["PREFIX", "build", "translate"]
