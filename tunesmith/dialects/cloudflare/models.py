"""The models that can be run, and what a request may say about which one."""

import re

from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.models import TunedModel
from tunesmith.services import adapters, models
from tunesmith.services.context import Context

ALIAS_PREFIX = "@cf/"
INVALID_NAME = "invalid_model_name"
UNKNOWN_FINETUNE = "finetune_not_found"

_TWIN_SUFFIX = "-lora"
_NAME = re.compile(r"(@[^/]+/[^/]+/.+|[^@].*)")
_MAX_NAME_LENGTH = 300


def find_base(ctx: Context, name: str) -> BaseModel | None:
    """The original lists some models a second time, for LoRA; here that is one model more name."""
    twin = name.removesuffix(_TWIN_SUFFIX) if name.endswith(_TWIN_SUFFIX) else name + _TWIN_SUFFIX
    return models.find_base(ctx, name) or models.find_base(ctx, twin)


def base(ctx: Context, name: str) -> BaseModel:
    """The base model of that name; raises `InvalidRequest` for what can be no name."""
    found = find_base(ctx, name)
    if found is not None:
        return found
    if not name.isprintable() or len(name) > _MAX_NAME_LENGTH or not _NAME.fullmatch(name):
        raise InvalidRequest(
            f"The model name {name[:_MAX_NAME_LENGTH]!r} is invalid: it is @cf/author/model, or "
            "the name of a model on this server.",
            code=INVALID_NAME,
        )
    raise NotFound("model", name)


def finetuned(ctx: Context, base: BaseModel, finetune: str) -> TunedModel:
    """What `lora` names, by id or by name: the caller's own, or a public one."""
    try:
        found = adapters.usable_model(ctx, finetune)
    except NotFound as error:
        if error.kind != "adapter":
            raise
        raise _unknown(finetune) from error
    if found.base_model != base.name:
        raise _unknown(finetune, f": it is one of {found.base_model!r}, not of {base.name!r}")
    return found


def public_name(base: BaseModel) -> str:
    """How this API's users know a base model."""
    aliases = (alias for alias in base.aliases if alias.startswith(ALIAS_PREFIX))
    return next(aliases, base.name)


def _unknown(finetune: str, why: str = "") -> InvalidRequest:
    message = f"AiError: AiError: Finetune {finetune} not found{why}."
    return InvalidRequest(message, param="lora", code=UNKNOWN_FINETUNE)
