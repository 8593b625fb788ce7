"""The wire: models, tasks and authors.

https://developers.cloudflare.com/api/resources/ai/subresources/models, as of August 2026.
"""

from typing import Any

from pydantic import BaseModel

from tunesmith.dialects.cloudflare.schemas import Envelope


class Task(BaseModel):
    id: str
    name: str
    description: str


class Property(BaseModel):
    property_id: str
    value: str


class Model(BaseModel):
    id: str
    source: int
    name: str
    description: str
    task: Task
    created_at: str
    tags: list[str]
    properties: list[Property]


class InputAndOutput(BaseModel):
    input: dict[str, Any]
    output: dict[str, Any]


class Author(BaseModel):
    id: str
    name: str


TEXT_GENERATION = Task(
    id="c329a1f9-323d-4e91-b2aa-582dd4188d34",
    name="Text Generation",
    description="Models that write text, from a prompt or as the answer in a conversation.",
)

ModelSchema = Envelope[InputAndOutput]
Tasks = Envelope[list[Task]]
Authors = Envelope[list[Author]]
