"""The OpenAI API: files, fine-tuning jobs, models and answers, for OpenAI's own clients."""

from fastapi import FastAPI

from tunesmith.dialects.openai import (
    chat,
    completions,
    files,
    integrations,
    jobs,
    models,
    uploads,
    webhooks,
)
from tunesmith.dialects.openai.errors import render
from tunesmith.dialects.openai.headers import VendorHeaders
from tunesmith.http import Foundation, render_errors_with

PREFIX = "/v1"


def build(
    foundation: Foundation,
    *,
    max_upload_bytes: int,
    max_multipart_upload_bytes: int,
    results_as_base64: bool,
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
    render_errors_with(app, render)
    app.add_middleware(VendorHeaders)
    for module in (files, uploads, jobs, models, chat, completions):
        app.include_router(module.router)
    return app


__all__ = ["PREFIX", "build", "integrations", "webhooks"]
