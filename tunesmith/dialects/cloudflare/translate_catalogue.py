"""Wire <-> domain: base models as this API lists them."""

from dataclasses import dataclass
from functools import cache
from typing import Any
from uuid import UUID, uuid5

from pydantic import BaseModel as PydanticModel

from tunesmith.dialects.cloudflare import models
from tunesmith.dialects.cloudflare import schemas_catalogue as schemas
from tunesmith.dialects.cloudflare import schemas_run as run
from tunesmith.domain.catalog import BaseModel

SOURCE = 1

_IDS = UUID("0f0ad1ac-7e3b-4d2c-9a55-94b2f3a3a9a5")  # made up once


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What a search asks for; text that is empty asks for nothing."""

    search: str
    task: str
    author: str
    source: int | None

    def has(self, model: schemas.Model) -> bool:
        text = f"{model.name} {model.description}".lower()
        tasks = (model.task.id, model.task.name.lower())
        return (
            self.search.lower() in text
            and (not self.task or self.task.lower() in tasks)
            and (not self.author or self.author.lower() == author(model.name).lower())
            and self.source in (None, model.source)
        )


def model(base: BaseModel) -> schemas.Model:
    return schemas.Model(
        id=str(base.id),
        source=SOURCE,
        name=models.public_name(base),
        description=base.description or f"{base.title}, {base.size} parameters.",
        task=schemas.TEXT_GENERATION,
        created_at=base.created_at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
        tags=[],
        properties=_properties(base),
    )


def _properties(base: BaseModel) -> list[schemas.Property]:
    """Whatever can be run here takes LoRA adapters; only what holds is said."""
    values = {"context_window": str(base.context_tokens), "lora": "true"}
    if base.calls_functions:
        values["function_calling"] = "true"
    return [schemas.Property(property_id=name, value=value) for name, value in values.items()]


def author(name: str) -> str:
    """Of `@cf/author/model`, or `author/model`; empty for a name without."""
    parts = name.removeprefix(models.ALIAS_PREFIX).split("/")
    return parts[0] if len(parts) > 1 else ""


def named_author(name: str) -> schemas.Author:
    return schemas.Author(id=str(uuid5(_IDS, f"author {name}")), name=name)


@cache
def io_schemas() -> schemas.InputAndOutput:
    taken = _schema(run.RunText)
    taken["oneOf"] = [{"required": ["prompt"]}, {"required": ["messages"]}]
    given = _schema(run.TextAnswer)
    calls = run.CallingAnswer.model_json_schema()
    given["properties"]["tool_calls"] = calls["properties"]["tool_calls"]
    given["$defs"] |= calls["$defs"]
    return schemas.InputAndOutput(input=taken, output=given)


def _schema(kind: type[PydanticModel]) -> dict[str, Any]:
    """What is not named may be there: clients send more, and may be answered more one day."""
    return {**kind.model_json_schema(), "additionalProperties": True}
