"""Models: list, retrieve, delete; and the files of tuned ones."""

from fastapi import APIRouter
from fastapi.responses import FileResponse

from tunesmith.dialects.openai import schemas, translate
from tunesmith.dialects.openai.auth import InContext, InReadContext
from tunesmith.domain.accounts import Scope
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidRequest, NotFound, PermissionDenied
from tunesmith.domain.models import TunedModel
from tunesmith.services import adapters, models
from tunesmith.services.context import Context
from tunesmith.wire import stored_bytes

router = APIRouter(prefix="/models", tags=["models"])


def resolve(ctx: Context, name: str) -> BaseModel | TunedModel:
    """The model that the caller may ask, by its name, an alias, or an adapter's name or id.

    Raises `NotFound`.
    """
    short_id = translate.short_id_in(name)
    if short_id is None:
        named = (
            models.find_base(ctx, name)
            or models.find_named(ctx, name)
            or adapters.find_answering(ctx, name)
        )
        if named is None:
            raise NotFound("model", name, param="model")
        return named
    tuned = models.find_usable(ctx, short_id)
    if tuned is None or translate.model_name(tuned) != name:
        raise NotFound("model", name, param="model")
    return tuned


def to_ask(ctx: Context, name: str) -> BaseModel | TunedModel:
    """As `resolve`, for whoever may ask models at all; nobody else is told which there are."""
    ctx.require(Scope.INFERENCE)
    return resolve(ctx, name)


def owned(ctx: Context, name: str) -> TunedModel:
    """The caller's tuned model of that name; raises `NotFound` for others' and for base models."""
    short_id = translate.short_id_in(name)
    model = None if short_id is None else models.find_tuned(ctx, short_id)
    if model is None or translate.model_name(model) != name:
        raise NotFound("model", name, param="model")
    return model


@router.get("")
def list_models(ctx: InReadContext) -> schemas.ModelList:
    bases = [translate.model(model) for model in models.list_bases(ctx)]
    tuned = [translate.model(model) for model in models.list_tuned(ctx)]
    return schemas.ModelList(data=[*bases, *tuned])


# These come first: the name of a model may contain slashes, so it takes what is left of a path.
@router.get("/{name:path}/files")
def list_model_files(name: str, ctx: InReadContext) -> schemas.ModelFileList:
    return translate.model_files(_tuned(ctx, name).artifacts)


@router.get("/{name:path}/files/{file}", response_class=FileResponse)
def retrieve_model_file(name: str, file: str, ctx: InReadContext) -> FileResponse:
    model = _tuned(ctx, name)
    artifact, path = models.file_of(ctx, model, file)
    return stored_bytes.answer(path, artifact.blob, artifact.name, model.created_at)


@router.get("/{name:path}")
def retrieve_model(name: str, ctx: InReadContext) -> schemas.Model:
    return translate.model(resolve(ctx, name))


@router.delete("/{name:path}")
def delete_model(name: str, ctx: InContext) -> schemas.Deleted:
    ctx.require(Scope.JOBS_WRITE)
    if models.find_base(ctx, name) is not None:
        raise PermissionDenied(f"{name!r} is a base model; only fine-tuned models can be deleted.")
    models.delete_tuned(ctx, owned(ctx, name))
    return schemas.Deleted(id=name, object="model")


def _tuned(ctx: Context, name: str) -> TunedModel:
    ctx.require(Scope.JOBS_READ)
    if models.find_base(ctx, name) is not None:
        raise InvalidRequest(f"{name!r} is a base model, and has no files to download.")
    return owned(ctx, name)
