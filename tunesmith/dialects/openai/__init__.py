"""The OpenAI API: files, fine-tuning jobs, models and answers, for OpenAI's own clients."""

from fastapi import Depends, FastAPI

from tunesmith.dialects.openai import (
    chat,
    completions,
    documentation,
    embeddings,
    files,
    graders,
    integrations,
    jobs,
    models,
    permissions,
    responses,
    uploads,
    webhooks,
)
from tunesmith.dialects.openai.errors import render
from tunesmith.dialects.openai.headers import VendorHeaders
from tunesmith.dialects.openai.limits import within_limits
from tunesmith.http import Foundation, render_errors_with
from tunesmith.services.limits import Limiter

PREFIX = "/v1"


def build(
    foundation: Foundation,
    *,
    max_upload_bytes: int,
    max_multipart_upload_bytes: int,
    results_as_base64: bool,
    limiter: Limiter | None = None,
) -> FastAPI:
    app = FastAPI(
        title="Tunesmith, OpenAI dialect",
        description="Fine-tuning and answers, as OpenAI's clients know them.",
        strict_content_type=False,
    )
    app.state.foundation = foundation
    app.state.max_upload_bytes = max_upload_bytes
    app.state.max_multipart_upload_bytes = max_multipart_upload_bytes
    app.state.results_as_base64 = results_as_base64
    app.state.limiter = limiter or Limiter({})
    render_errors_with(app, render)
    app.add_middleware(VendorHeaders)
    # Jobs are asked for all the time, and routes are tried one after another.
    for module in (jobs, files, uploads, permissions, graders, models):
        app.include_router(module.router, responses=documentation.ERRORS)
    for module in (chat, completions, responses, embeddings):
        app.include_router(
            module.router, dependencies=[Depends(within_limits)], responses=documentation.ERRORS
        )
    documentation.complete(app)
    return app


__all__ = ["PREFIX", "build", "integrations", "translate", "webhooks"]
