"""Wire <-> domain."""

from datetime import datetime

from tunesmith.dialects.admin import schemas
from tunesmith.domain.accounts import Key
from tunesmith.domain.catalog import BaseModel, WeightFile
from tunesmith.services.accounts import NewKey


def key(key: Key) -> schemas.Key:
    return schemas.Key(
        id=key.id,
        name=key.name,
        visible_prefix=key.visible_prefix,
        scopes=sorted(key.scopes),
        created_at=key.created_at,
        expires_at=key.expires_at,
        email=key.email,
    )


def created_key(new: NewKey) -> schemas.CreatedKey:
    return schemas.CreatedKey(**key(new.key).model_dump(), key=new.secret)


def new_base_model(entry: schemas.BaseModelEntry, now: datetime) -> BaseModel:
    fields = entry.model_dump(exclude={"aliases", "files"})
    return BaseModel(
        **fields,
        aliases=tuple(entry.aliases),
        files=tuple(WeightFile(name=n, size_bytes=s) for n, s in entry.files.items()),
        created_at=now,
    )


def base_model(model: BaseModel) -> schemas.BaseModelEntry:
    return schemas.BaseModelEntry(
        name=model.name,
        aliases=list(model.aliases),
        folder=model.folder,
        source=model.source,
        num_parameters=model.num_parameters,
        context_tokens=model.context_tokens,
        learning_rate=model.learning_rate,
        files={file.name: file.size_bytes for file in model.files},
    )
