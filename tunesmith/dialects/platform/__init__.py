"""The platform API: fine-tuning jobs, their observation, datasets and chat, by scoped keys."""

from collections.abc import Callable
from pathlib import Path
from uuid import UUID

from anyio import CapacityLimiter
from fastapi import FastAPI
from starlette.types import ASGIApp

from tunesmith.dialects.platform import (
    catalogue,
    chat,
    datasets,
    documentation,
    findings,
    identity,
    jobs,
    observation,
    overview,
)
from tunesmith.dialects.platform.errors import render
from tunesmith.dialects.platform.paths import BothSlashForms
from tunesmith.http import Foundation, render_errors_with

PREFIX = "/api/v1"
EXAMINATIONS_AT_ONCE = 2  # each takes a core for as long as it lasts


def build(
    foundation: Foundation,
    *,
    max_upload_bytes: int,
    import_dir: Path | None,
    chat_app: ASGIApp,
    file_id_of: Callable[[str], UUID | None],
    short_id_of: Callable[[str], str | None],
) -> FastAPI:
    """`chat_app` answers `/chat/completions`.

    `file_id_of` and `short_id_of` read another API's ids of files and names of tuned models.
    """
    app = FastAPI(
        title="Tunesmith, platform dialect",
        description="Fine-tuning jobs, by keys with scopes.",
        redirect_slashes=False,
    )
    app.state.foundation = foundation
    app.state.max_upload_bytes = max_upload_bytes
    app.state.import_dir = import_dir
    app.state.chat_app = chat_app
    app.state.file_id_of = file_id_of
    app.state.short_id_of = short_id_of
    app.state.examining = CapacityLimiter(EXAMINATIONS_AT_ONCE)
    render_errors_with(app, render)
    app.add_middleware(BothSlashForms)
    for module in (jobs, observation, overview, catalogue, datasets, findings, identity):
        app.include_router(module.router, responses=documentation.ERRORS)
    app.include_router(overview.answers_router, responses=documentation.ERRORS)
    app.include_router(chat.router, responses=documentation.CHAT_ERRORS)
    documentation.complete(app)
    return app
