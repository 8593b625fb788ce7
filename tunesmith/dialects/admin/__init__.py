"""Our own API for those who administer: organizations, users, keys, the audit log, the base-model
catalogue, webhooks and the queue; and jobs again."""

from fastapi import FastAPI

from tunesmith.dialects.admin import (
    audit,
    jobs,
    keys,
    models,
    organizations,
    queue,
    translate,
    users,
    webhooks,
)
from tunesmith.dialects.admin.errors import render
from tunesmith.http import Foundation, render_errors_with

PREFIX = "/admin/v1"


def build(foundation: Foundation, *, webhooks_allow_private: bool) -> FastAPI:
    app = FastAPI(title="Tunesmith administration")
    app.state.foundation = foundation
    app.state.webhooks_allow_private = webhooks_allow_private
    render_errors_with(app, render)
    for module in (organizations, users, keys, audit, jobs, queue, models, webhooks):
        app.include_router(module.router)
    return app


__all__ = ["PREFIX", "build", "translate"]
