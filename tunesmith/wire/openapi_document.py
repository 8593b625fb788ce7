"""What the OpenAPI documents of all dialects say beyond what their functions say."""

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel

STREAM: dict[str, Any] = {"text/event-stream": {"schema": {"type": "string"}}}

_METHODS = ("get", "post", "put", "delete")
_OF_FRAMEWORK = ("HTTPValidationError", "ValidationError")
_IN_PATH = re.compile(r"\{(\w+)\}")


def errors(body: type[BaseModel], statuses: Mapping[int, str]) -> dict[int | str, dict[str, Any]]:
    """For `include_router`: the statuses of errors, each with what it means."""
    return {
        status: {"model": body, "description": description}
        for status, description in statuses.items()
    }


def complete(app: FastAPI, *keys: Mapping[str, Mapping[str, str]]) -> None:
    """Give the app's document what FastAPI cannot know of it.

    `keys` are the ways to say who one is, each of one or more named security schemes.
    """
    generate = app.openapi

    @cache
    def openapi() -> dict[str, Any]:
        document = generate()
        schemas = document["components"]["schemas"]
        for name in _OF_FRAMEWORK:
            schemas.pop(name, None)
        document["components"]["securitySchemes"] = {
            name: scheme for key in keys for name, scheme in key.items()
        }
        document["security"] = [{name: [] for name in key} for key in keys]
        for path, operations in document["paths"].items():
            for method in _METHODS:
                if method in operations:
                    _complete(path, operations[method], schemas)
        return document

    app.openapi = openapi  # type: ignore[method-assign]


def _complete(path: str, operation: dict[str, Any], schemas: dict[str, Any]) -> None:
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):
        del responses["422"]  # such errors are answered as any others
    if _can_stream(operation, schemas):
        responses["200"]["content"] |= STREAM
    known = {parameter["name"] for parameter in operation.get("parameters", ())}
    for name in _IN_PATH.findall(path):
        if name not in known:
            parameter = {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
            operation.setdefault("parameters", []).append(parameter)


def _can_stream(operation: dict[str, Any], schemas: dict[str, Any]) -> bool:
    contents = operation.get("requestBody", {}).get("content", {})
    body = contents.get("application/json", {}).get("schema", {})
    name = body.get("$ref", "").rsplit("/", 1)[-1]
    return "stream" in schemas.get(name, body).get("properties", {})
