"""Wire <-> domain: ids, times, names, purposes, pages."""

import re
import string
from collections.abc import Mapping
from datetime import datetime, timedelta
from uuid import UUID

from pydantic import TypeAdapter, ValidationError

from tunesmith.dialects.openai import schemas
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.files import Artifact, File, FilePurpose
from tunesmith.domain.models import TunedModel
from tunesmith.domain.paging import Page, PageRequest

_BASE62 = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PAIRS = [high + low for high in _BASE62 for low in _BASE62]
_LENGTHS = {
    "file-": 22,
    "ftjob-": 24,
    "ftevent-": 24,
    "ftckpt_": 24,
    "upload_": 24,
    "part_": 24,
    "evt_": 24,
    "cp_": 24,
    "org-": 24,
    "chatcmpl-": 24,
    "cmpl-": 24,
    "call_": 24,
    "resp_": 24,
    "msg_": 24,
    "fc_": 24,
}
_PREFIXES = {
    "file": "file-",
    "job": "ftjob-",
    "event": "ftevent-",
    "checkpoint": "ftckpt_",
    "upload": "upload_",
    "part": "part_",
    "permission": "cp_",
}
_SHORT_ID = re.compile(r"ft:.*:([A-Za-z0-9]{8})(?::ckpt-step-\d+)?", re.DOTALL)

_PURPOSES = {
    FilePurpose.TRAINING: "fine-tune",
    FilePurpose.RESULTS: "fine-tune-results",
    FilePurpose.ASSISTANTS: "assistants",
    FilePurpose.BATCH: "batch",
    FilePurpose.VISION: "vision",
    FilePurpose.USER_DATA: "user_data",
    FilePurpose.EVALS: "evals",
}
UPLOAD_PURPOSES = ("fine-tune", "assistants", "batch", "vision", "user_data", "evals")
BATCH_LIFETIME = timedelta(days=30)
EXPIRY_FIELDS = ("expires_after", "expires_after[anchor]", "expires_after[seconds]")
_EXPIRY: TypeAdapter[schemas.ExpiresAfter | None] = TypeAdapter(schemas.ExpiresAfter | None)
_PURPOSES_BY_NAME = {name: purpose for purpose, name in _PURPOSES.items()}


def outer_id(prefix: str, inner: UUID) -> str:
    """Such as `file-` and 22 digits to the base of 62, zeros first."""
    number, digits = inner.int, ""
    while number:
        number, pair = divmod(number, len(_PAIRS))
        digits = _PAIRS[pair] + digits
    return prefix + digits.rjust(_LENGTHS[prefix], "0")


def inner_id(kind: str, outer: str, *, param: str | None = None) -> UUID:
    """The UUID in an id of this kind; raises `NotFound`, as for an unknown one, if it has none."""
    prefix = _PREFIXES[kind]
    digits = outer.removeprefix(prefix)
    is_whole = outer.startswith(prefix) and len(digits) == _LENGTHS[prefix]
    number = 2**128
    if is_whole and all(digit in _BASE62 for digit in digits):
        number = 0
        for digit in digits:
            number = number * 62 + _BASE62.index(digit)
    if number >= 2**128:
        raise NotFound(kind, outer, param=param)
    return UUID(int=number)


def find_file_id(outer: str) -> UUID | None:
    """The UUID in the id of a file; None for what is none."""
    try:
        return inner_id("file", outer)
    except NotFound:
        return None


def kind_of_id(outer: str) -> str:
    """Whose cursor this looks like."""
    kinds = (kind for kind, prefix in _PREFIXES.items() if outer.startswith(prefix))
    return next(kinds, "item")


def reference(kind: str, reference: str) -> str:
    """What was not found, under the name by which callers know it."""
    if kind not in _PREFIXES:
        return reference
    try:
        return outer_id(_PREFIXES[kind], UUID(reference))
    except ValueError:
        return reference


def file_id(inner: UUID) -> str:
    return outer_id("file-", inner)


def seconds(at: datetime) -> int:
    return int(at.timestamp())


def page_request(
    kind: str, limit: int, after: str | None, *, ascending: bool = False
) -> PageRequest:
    cursor = inner_id(kind, after, param="after") if after else None
    return PageRequest(limit=limit, after=cursor, ascending=ascending)


def purpose_name(purpose: FilePurpose) -> str:
    return _PURPOSES[purpose]


def purpose(name: str) -> FilePurpose | None:
    return _PURPOSES_BY_NAME.get(name)


def upload_purpose(name: str) -> FilePurpose:
    """What an upload may be for; raises `InvalidRequest`, also for what only we make."""
    if name not in UPLOAD_PURPOSES:
        raise InvalidRequest(
            f"{name[:100]!r} is not one of {list(UPLOAD_PURPOSES)!r}.", param="purpose"
        )
    return _PURPOSES_BY_NAME[name]


def expires_after(fields: Mapping[str, str]) -> schemas.ExpiresAfter | None:
    """From a form: bracketed fields, as the clients send them, or one field with JSON."""
    bracketed = {
        name.removeprefix("expires_after[").removesuffix("]"): fields[name]
        for name in EXPIRY_FIELDS[1:]
        if name in fields
    }
    as_json = fields.get("expires_after")
    if bracketed and as_json is not None:
        raise InvalidRequest("Send `expires_after` once.", param="expires_after")
    try:
        if as_json is not None:
            return _EXPIRY.validate_json(as_json)
        return _EXPIRY.validate_strings(bracketed) if bracketed else None
    except ValidationError as error:
        first = error.errors()[0]
        param = ".".join(("expires_after", *map(str, first["loc"])))
        raise InvalidRequest(f"{param}: {first['msg']}.", param=param) from error


def lifetime(purpose: FilePurpose, expiry: schemas.ExpiresAfter | None) -> timedelta | None:
    """How long a file stays, if it goes by itself."""
    if expiry is not None:
        return timedelta(seconds=expiry.seconds)
    return BATCH_LIFETIME if purpose is FilePurpose.BATCH else None


def file(file: File) -> schemas.File:
    return schemas.File(
        id=file_id(file.id),
        bytes=file.blob.size_bytes,
        created_at=seconds(file.created_at),
        filename=file.filename,
        purpose=purpose_name(file.purpose),
        expires_at=None if file.expires_at is None else seconds(file.expires_at),
    )


def files(page: Page[File]) -> schemas.FileList:
    data = [file(item) for item in page.items]
    return schemas.FileList(
        data=data,
        first_id=data[0].id if data else None,
        last_id=data[-1].id if data else None,
        has_more=page.has_more,
    )


def tuned_model_name(
    *, base_model: str, organization: str, suffix: str | None, short_id: str, step: int | None
) -> str:
    """`ft:<base>:<organization>:<suffix>:<short id>`, and the step of a checkpoint."""
    shown = re.sub(r"[^\w.-]|_", "-", suffix or "")
    name = f"ft:{base_model}:{organization}:{shown}:{short_id}"
    return name if step is None else f"{name}:ckpt-step-{step}"


def short_id_in(name: str) -> str | None:
    """What tells tuned models apart, from the name of one; None for any other name."""
    found = _SHORT_ID.fullmatch(name)
    return None if found is None else found[1]


def model_name(model: BaseModel | TunedModel) -> str:
    if isinstance(model, BaseModel):
        return model.name
    return tuned_model_name(
        base_model=model.base_model,
        organization=model.organization_slug,
        suffix=model.suffix,
        short_id=model.short_id,
        step=model.step,
    )


def model(model: BaseModel | TunedModel) -> schemas.Model:
    owner = "system" if isinstance(model, BaseModel) else model.organization_slug
    return schemas.Model(id=model_name(model), created=seconds(model.created_at), owned_by=owner)


def model_files(artifacts: tuple[Artifact, ...]) -> schemas.ModelFileList:
    data = [
        schemas.ModelFile(name=a.name, bytes=a.blob.size_bytes, sha256=a.blob.sha256)
        for a in artifacts
    ]
    return schemas.ModelFileList(data=data)
