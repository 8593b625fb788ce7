"""Base models and tuned models."""

from dataclasses import replace
from pathlib import Path

from tunesmith.domain.accounts import Scope
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import Conflict, NotFound
from tunesmith.domain.files import Artifact
from tunesmith.domain.models import TunedModel
from tunesmith.services import audit
from tunesmith.services.context import Context


def find_base(ctx: Context, name: str) -> BaseModel | None:
    """By its name, an alias, or its Hugging Face id where that names nothing else."""
    return ctx.store.models.find_base(name)


def list_bases(ctx: Context) -> tuple[BaseModel, ...]:
    return ctx.store.models.list_bases()


def add_base(ctx: Context, model: BaseModel) -> None:
    """Offer a base model, or change the one of that name."""
    ctx.require(Scope.OPERATOR)
    before = ctx.store.models.find_base(model.name)
    is_same = before is not None and before.name == model.name
    if before is not None and is_same and before.quantization != model.quantization:
        raise Conflict(  # adapters that were trained on the one do not fit the other
            f"{model.name!r} is there, and quantised otherwise; add it under another name.",
            param="quantization",
        )
    for name in (model.name, *model.aliases):
        other = ctx.store.models.find_base(name)
        is_taken = other is not None and name in (other.name, *other.aliases)
        if other is not None and is_taken and other.name != model.name:
            raise Conflict(f"{name!r} already names the base model {other.name!r}.", param="name")
    ctx.store.models.put_base(model)
    audit.record(ctx, "base_model.put", model.name, after=model)


def delete_base(ctx: Context, name: str) -> None:
    """Take a base model out of the catalogue; its weights stay where they are."""
    ctx.require(Scope.OPERATOR)
    if not ctx.store.models.delete_base(name):
        raise NotFound("base model", name)
    ctx.store.measurements.forget_throughputs(name)  # other weights may take the name
    audit.record(ctx, "base_model.delete", name)


def find_tuned(ctx: Context, short_id: str) -> TunedModel | None:
    return ctx.store.models.find_tuned(short_id, ctx.owner)


def find_usable(ctx: Context, short_id: str) -> TunedModel | None:
    """A tuned model that the caller may ask: their own, or one that they were permitted.

    One that has still to be deployed may not be asked.
    """
    own = ctx.store.models.find_tuned(short_id, ctx.owner)
    model = own or ctx.store.models.find_permitted(short_id, ctx.owner)
    return None if model is None or ctx.store.models.is_waiting(model.id) else model


def find_named(ctx: Context, name: str) -> TunedModel | None:
    """The caller's tuned model that has been deployed under a plain name."""
    if "\0" in name:
        return None
    return ctx.store.models.find_named(name, ctx.owner)


def list_tuned(ctx: Context) -> tuple[TunedModel, ...]:
    """Those that can be asked."""
    return ctx.store.models.list_tuned(ctx.owner)


def as_base(model: TunedModel, base: BaseModel) -> BaseModel:
    """A whole model as a worker holds it: like the base that it came from, with other weights."""
    return replace(
        base,
        name=f"{base.name}:{model.short_id}",
        aliases=(),
        folder="",
        files=(),
        artifacts=model.artifacts,
        quantization=None,
        fingerprint=None,
        hub_id=None,
    )


def delete_tuned(ctx: Context, model: TunedModel) -> None:
    ctx.require(Scope.JOBS_WRITE)
    ctx.store.models.delete_tuned(model.id)
    audit.record(ctx, "model.delete", model.id, before=model)


def file_of(ctx: Context, model: TunedModel, name: str) -> tuple[Artifact, Path]:
    """One of a tuned model's files, and where its bytes lie."""
    ctx.require(Scope.JOBS_READ)
    for artifact in model.artifacts:
        if artifact.name == name:
            return artifact, ctx.house.blobs.path(artifact.blob.sha256)
    raise NotFound("file", name)
