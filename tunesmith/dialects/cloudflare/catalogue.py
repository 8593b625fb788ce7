"""The catalogue: models, what goes in and out of them, tasks and authors."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from tunesmith.dialects.cloudflare import models, translate, translate_catalogue
from tunesmith.dialects.cloudflare import schemas_catalogue as schemas
from tunesmith.dialects.cloudflare.auth import InReadContext
from tunesmith.dialects.cloudflare.schemas import ResultPage
from tunesmith.domain.accounts import Scope
from tunesmith.services import models as base_models
from tunesmith.services.context import Context

router = APIRouter(prefix="/accounts/{account_id}/ai", tags=["models"])


@router.get("/models/search")
def search_models(
    ctx: InReadContext,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    per_page: Annotated[int, Query(ge=1, le=1000)] = 50,
    search: str = "",
    task: Annotated[str, Query(description="A task's name or id.")] = "",
    author: str = "",
    source: Annotated[int | None, Query(description="All that is here is of source 1.")] = None,
    hide_experimental: Annotated[bool, Query(description="There are none.")] = False,
    include_deprecated: Annotated[bool, Query(description="There are none.")] = False,
    format: Annotated[Literal[""], Query(description="No other forms are available.")] = "",
) -> ResultPage[schemas.Model]:
    wanted = translate_catalogue.Wanted(search=search, task=task, author=author, source=source)
    found = [model for model in _models(ctx) if wanted.has(model)]
    return translate.page_of(found, page, per_page)


@router.get("/models/schema")
def get_model_schema(ctx: InReadContext, model: str) -> schemas.ModelSchema:
    """What every model here takes and gives, as JSON schemas."""
    _require(ctx)
    models.base(ctx, model)
    return schemas.ModelSchema(result=translate_catalogue.io_schemas())


@router.get("/tasks/search")
def list_tasks(ctx: InReadContext) -> schemas.Tasks:
    _require(ctx)
    return schemas.Tasks(result=[schemas.TEXT_GENERATION])


@router.get("/authors/search")
def list_authors(ctx: InReadContext) -> schemas.Authors:
    names = sorted({translate_catalogue.author(model.name) for model in _models(ctx)})
    return schemas.Authors(
        result=[translate_catalogue.named_author(name) for name in names if name]
    )


def _models(ctx: Context) -> list[schemas.Model]:
    _require(ctx)
    return [translate_catalogue.model(base) for base in base_models.list_bases(ctx)]


def _require(ctx: Context) -> None:
    ctx.require(Scope.JOBS_READ, Scope.JOBS_WRITE)
