"""Wire <-> domain: finetunes and their assets."""

from collections.abc import Mapping
from datetime import datetime
from uuid import UUID, uuid5

from pydantic import ValidationError

from tunesmith.dialects.cloudflare import models
from tunesmith.dialects.cloudflare import schemas_finetunes as schemas
from tunesmith.domain.adapters import (
    FILE_NAMES,
    AdapterFile,
    AdapterState,
    NewAdapter,
    RegisteredAdapter,
)
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidAdapter, InvalidRequest
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import JobStatus

BUCKET = "finetunes"
TRAINING_SUFFIX = ".jsonl"

_RESERVED_NAME = "public"
_RESERVED_PREFIX = "cf-public-"
_RESERVED_SEGMENT = "finetune-assets"

_ORDERS = {
    "id": "id",
    "name": "name",
    "model": "base_model",
    "created_at": "created_at",
    "modified_at": "modified_at",
}
_STATUSES: dict[JobStatus, schemas.Status] = {
    JobStatus.DRAFT: "validating",
    JobStatus.VALIDATING: "validating",
    JobStatus.QUEUED: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.PAUSED: "queued",
    JobStatus.SUCCEEDED: "ready",
    JobStatus.FAILED: "failed",
    JobStatus.STOPPED: "stopped",
}


def new_adapter(body: schemas.CreateFinetune, base: BaseModel | None) -> NewAdapter:
    """Raises `InvalidRequest` for the names that this API keeps for itself."""
    name = body.name
    if name == _RESERVED_NAME or name.startswith(_RESERVED_PREFIX):
        raise InvalidRequest(f"The name {name!r} is reserved; choose another one.", param="name")
    if _RESERVED_SEGMENT in name.split("/"):
        raise InvalidRequest(f"A name has no part {_RESERVED_SEGMENT!r}.", param="name")
    return NewAdapter(
        name=name,
        base_model=body.model if base is None else base.name,
        base_model_as_given=body.model,
        description=body.description,
        is_public=body.public or False,
    )


def order(column: str) -> str:
    if column not in _ORDERS:
        raise InvalidRequest(
            f"orderBy: {column!r} is not one of {', '.join(_ORDERS)}.", param="orderBy"
        )
    return _ORDERS[column]


def finetune(adapter: RegisteredAdapter, bases: Mapping[str, BaseModel]) -> schemas.Finetune:
    return schemas.Finetune(
        id=str(adapter.id),
        name=adapter.name,
        model=_model_name(adapter, bases),
        description=adapter.description,
        public=adapter.is_public,
        created_at=adapter.created_at,
        modified_at=adapter.modified_at,
    )


def state(state: AdapterState, bases: Mapping[str, BaseModel]) -> schemas.FinetuneState:
    failure = None if state.job is None else state.job.failure
    return schemas.FinetuneState(
        **finetune(state.adapter, bases).model_dump(),
        status=_status(state),
        metrics=None if state.metrics is None else dict(state.metrics),
        error=(
            None
            if failure is None
            else schemas.TrainingError(code=failure.code, message=failure.message)
        ),
    )


def asset(finetune_id: UUID, name: str, created_at: datetime) -> schemas.Asset:
    return schemas.Asset(
        id=str(uuid5(finetune_id, name)),
        bucket_name=BUCKET,
        created_at=created_at,
        file_name=name,
        finetune_id=str(finetune_id),
        modified_at=created_at,
    )


def asset_state(finetune_id: UUID, file: AdapterFile) -> schemas.AssetState:
    return schemas.AssetState(
        **asset(finetune_id, file.name, file.created_at).model_dump(),
        size=file.blob.size_bytes,
        sha256=file.blob.sha256,
    )


def asset_name(fields: Mapping[str, str], filename: str) -> str:
    """What a form says its file is: one of the two of an adapter, or training data."""
    name = fields.get("file_name")
    if name is None and not _is_asset(filename):
        raise InvalidRequest("The part `file_name` is missing.", param="file_name")
    name = filename if name is None else name
    if "hyperparameters" in fields and not is_training_data(name):
        raise InvalidRequest(
            f"`hyperparameters` go with training data ({TRAINING_SUFFIX}) alone.",
            param="hyperparameters",
        )
    if _is_asset(name):
        return name
    pickles = " Pickled weights can run code when they are opened." if _is_pickle(name) else ""
    raise InvalidAdapter(
        f"`file_name` must be {' or '.join(FILE_NAMES)} (or end in {TRAINING_SUFFIX}, to train on "
        f"it), not {name[:200]!r}.{pickles}",
    )


def is_training_data(asset_name: str) -> bool:
    return asset_name.endswith(TRAINING_SUFFIX)


def hyperparameters(fields: Mapping[str, str]) -> Hyperparameters:
    """From the form's part of that name, if it has one."""
    text = fields.get("hyperparameters", "{}")
    try:
        given = schemas.Hyperparameters.model_validate(text.encode())
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(("hyperparameters", *map(str, first["loc"][:1])))
        raise InvalidRequest(f"{param}: {first['msg']}.", param=param) from error
    return Hyperparameters(**given.model_dump())


def _model_name(adapter: RegisteredAdapter, bases: Mapping[str, BaseModel]) -> str:
    """As it was given; else the name by which this API's users know the base model."""
    if adapter.base_model_as_given is not None:
        return adapter.base_model_as_given
    base = bases.get(adapter.base_model)
    return adapter.base_model if base is None else models.public_name(base)


def _status(state: AdapterState) -> schemas.Status:
    if state.model is not None:
        return "ready"
    return "incomplete" if state.job is None else _STATUSES[state.job.status]


def _is_asset(name: str) -> bool:
    is_plain = name.isprintable() and set(name).isdisjoint("/\\") and len(name) <= 255
    is_data = is_plain and is_training_data(name) and name != TRAINING_SUFFIX
    return name in FILE_NAMES or is_data


def _is_pickle(name: str) -> bool:
    return name.endswith((".bin", ".pt", ".pth", ".ckpt", ".pkl"))
