"""The pages about the dialects: one line per route and per field, read from the code.

Routes, fields, types and limits come from the OpenAPI document of the routers, so that new ones are
here as soon as they are there; what is refused and what is ignored comes from the request schemas.
"""

import importlib
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from pydantic import BaseModel

from tunesmith.dialects import cloudflare, openai, platform
from tunesmith.wire.json_body import Request

NOTE = (
    "<!-- Written by scripts/reference_dialects.py: change the code, then run scripts.reference. "
    "-->"
)
Schema = dict[str, Any]

# What the original's client can ask for and this service does not serve.
_STORED = "answers are not stored"
_WEBHOOKS = "the operator sets webhooks up"
_DOCUMENTS = "this service converts no documents"

NOT_SERVED_OF_OPENAI: dict[str, tuple[str, str]] = {
    "chat.completions.list": ("GET /chat/completions", _STORED),
    "chat.completions.retrieve": ("GET /chat/completions/{completion_id}", _STORED),
    "chat.completions.update": ("POST /chat/completions/{completion_id}", _STORED),
    "chat.completions.delete": ("DELETE /chat/completions/{completion_id}", _STORED),
    "chat.completions.messages.list": ("GET /chat/completions/{completion_id}/messages", _STORED),
    "responses.retrieve": ("GET /responses/{response_id}", _STORED),
    "responses.delete": ("DELETE /responses/{response_id}", _STORED),
    "responses.cancel": ("POST /responses/{response_id}/cancel", _STORED),
    "responses.input_items.list": ("GET /responses/{response_id}/input_items", _STORED),
    "responses.compact": ("POST /responses/compact", "its encrypted form is the original's own"),
    "responses.input_tokens.count": ("POST /responses/input_tokens", "not available yet"),
    "responses.connect": ("GET /responses", "answers come over HTTP, not over a WebSocket"),
    "webhooks.create": ("POST /webhook_endpoints", _WEBHOOKS),
    "webhooks.list": ("GET /webhook_endpoints", _WEBHOOKS),
    "webhooks.retrieve": ("GET /webhook_endpoints/{id}", _WEBHOOKS),
    "webhooks.update": ("POST /webhook_endpoints/{id}", _WEBHOOKS),
    "webhooks.delete": ("DELETE /webhook_endpoints/{id}", _WEBHOOKS),
    "webhooks.rotate_secret": ("POST /webhook_endpoints/{id}/rotate_secret", _WEBHOOKS),
    "webhooks.test": ("POST /webhook_endpoints/{id}/test", _WEBHOOKS),
    "webhooks.event_types.list": ("GET /webhook_event_types", _WEBHOOKS),
}
NOT_SERVED_OF_CLOUDFLARE: dict[str, tuple[str, str]] = {
    "ai.to_markdown.supported": ("GET /accounts/{account_id}/ai/tomarkdown/supported", _DOCUMENTS),
    "ai.to_markdown.transform": ("POST /accounts/{account_id}/ai/tomarkdown", _DOCUMENTS),
}

# Why a field changes nothing about the answer here; every ignored field has its reason.
_EARLIER = "what came with an earlier answer"
_PREFIXES = "shared prefixes are found without a hint"
_NOBODY_WATCHED = "users are not watched for misuse"
WHY_IGNORED = {
    "access_programs": "there are none here",
    "annotations": _EARLIER,
    "caller": _EARLIER,
    "description": "the schema says what the answer has to be",
    "id": _EARLIER,
    "image": "no images are made",
    "include_obfuscation": "streams are not padded",
    "index": "calls are taken in the order of the list",
    "max_tool_calls": "it counts built-in tools, of which there are none",
    "metadata": "answers are not stored",
    "mime_type": "bytes are served as bytes, whatever they are called",
    "moderation": "nothing is moderated",
    "phase": _EARLIER,
    "prediction": "it is a hint for speed, not for what is said",
    "prompt_cache_key": _PREFIXES,
    "prompt_cache_options": _PREFIXES,
    "prompt_cache_retention": _PREFIXES,
    "reasoning": "models answer without a reasoning phase",
    "reasoning_effort": "models answer without a reasoning phase",
    "safety_identifier": _NOBODY_WATCHED,
    "service_tier": "there is one tier",
    "status": _EARLIER,
    "store": "answers are not stored",
    "strict": "required calls keep to the parameters, strict or not",
    "user": _NOBODY_WATCHED,
    "verbosity": "models are not asked to be brief or long",
}
_MAX_REPEATED = 2  # lines of an object that is described wherever it stands


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """`not_served` has, by the call of the client, the route and the reason."""

    module: ModuleType
    title: str
    clients: str
    not_served: dict[str, tuple[str, str]]

    @property
    def prefix(self) -> str:
        return str(self.module.PREFIX)


DIALECTS = {
    "openai.md": Dialect(
        module=openai,
        title="OpenAI dialect",
        clients="OpenAI's own clients",
        not_served=NOT_SERVED_OF_OPENAI,
    ),
    "cloudflare.md": Dialect(
        module=cloudflare,
        title="Cloudflare dialect",
        clients="wrangler and Cloudflare's own SDKs",
        not_served=NOT_SERVED_OF_CLOUDFLARE,
    ),
    "platform.md": Dialect(
        module=platform,
        title="Platform dialect",
        clients="programs that send an `X-API-Key`",
        not_served={},
    ),
}


@dataclass(frozen=True, slots=True)
class Line:
    field: str
    kind: str
    standing: str
    text: str

    def __str__(self) -> str:
        cells = (f"`{self.field}`" if self.field else "*any other*", self.kind, self.standing)
        return f"| {' | '.join((*cells, self.text))} |".replace("  ", " ")


class Page:
    """Walks the OpenAPI document."""

    def __init__(self, dialect: Dialect) -> None:
        app = FastAPI()
        self._dialect = dialect
        self._modules = list(_modules_with_routers(dialect))
        for module in self._modules:
            app.include_router(module.router)
        document = app.openapi()
        self._paths: Schema = document["paths"]
        self._components: Schema = document.get("components", {}).get("schemas", {})
        self._classes = {kind.__name__: kind for kind in _subclasses(BaseModel, dialect)}
        self._told: dict[str, tuple[str, str]] = {}  # route and field that describe an object
        self._current = ""

    def text(self) -> str:
        lines = [
            f"# {self._dialect.title}",
            NOTE,
            "",
            f"Served under `{self._dialect.prefix}`, for {self._dialect.clients}.",
            "",
            "*Honoured*: the field does what it says. *Refused*: an error names it, unless its",
            "value asks for nothing. *Ignored*: it changes nothing about the answer here. A field",
            "that is not listed is refused, unless *any other field* is said to be ignored.",
        ]
        for module in self._modules:
            title = (module.__doc__ or module.__name__).strip().partition("\n")[0]
            lines += ["", f"## {title.split(':')[0].removesuffix('.')}"]
            for route in module.router.routes:
                if isinstance(route, APIRoute):
                    lines += self._route(route)
        lines += self._always_null()
        if self._dialect.not_served:
            lines += self._not_served()
        return "\n".join(lines) + "\n"

    def _route(self, route: APIRoute) -> Iterator[str]:
        for method in sorted(route.methods or ()):
            operation = self._paths.get(route.path_format, {}).get(method.lower())
            if operation is None:  # answered, but no part of the API
                continue
            self._current = f"{method} {self._dialect.prefix}{route.path_format}"
            yield from ("", f"### {self._current}")
            if operation.get("description"):
                yield from ("", " ".join(operation["description"].split()))
            lines = list(self._lines(operation))
            if lines:
                yield from ("", "| Field | Type | | |", "|---|---|---|---|")
                yield from map(str, lines)

    def _lines(self, operation: Schema) -> Iterator[Line]:
        for parameter in operation.get("parameters", ()):
            if parameter["in"] == "query":
                schema = parameter["schema"] | {"description": parameter.get("description", "")}
                name, is_required = parameter["name"], parameter.get("required", False)
                if parameter.get("style") == "deepObject":
                    name, schema = f"{name}[key]", schema | schema["additionalProperties"]
                yield self._honoured(name, schema, is_required)
        for content in operation.get("requestBody", {}).get("content", {}).values():
            yield from self._fields(content["schema"], "", ())

    def _fields(self, schema: Schema, prefix: str, seen: tuple[str, ...]) -> Iterator[Line]:
        """The fields of an object, and of the objects in it; each class once on the way down."""
        name, schema = self._resolved(schema)
        if name and name in seen:
            return
        for field, inner in schema.get("properties", {}).items():
            path = f"{prefix}{field}"
            objects = list(_objects_in(inner))
            line = self._honoured(path, inner, field in schema.get("required", ()))
            if prefix and "const" in inner:  # what tells one kind of object from another
                line = replace(line, text=" ".join(schema.get("description", "").split()))
            yield replace(line, text=". ".join(filter(None, (line.text, self._see(objects)))))
            for part, suffix in objects:
                yield from self._object(part, f"{path}{suffix}", (*seen, name))
        yield from self._not_honoured(name, prefix)

    def _object(self, schema: Schema, path: str, seen: tuple[str, ...]) -> Iterator[Line]:
        name, _ = self._resolved(schema)
        if name in self._told:
            return
        lines = list(self._fields(schema, f"{path}.", seen))
        if name and len(lines) > _MAX_REPEATED:
            self._told[name] = (self._current, path)
        yield from lines

    def _see(self, objects: list[tuple[Schema, str]]) -> str:
        names = [self._resolved(schema)[0] for schema, _ in objects]
        places = dict.fromkeys(self._told[name] for name in names if name in self._told)
        here = self._current
        said = [f"`{path}`" if route == here else f"`{path}` of {route}" for route, path in places]
        return f"Its fields are those of {' and '.join(said)}" if said else ""

    def _not_honoured(self, name: str, prefix: str) -> Iterator[Line]:
        kind = self._classes.get(name)
        if kind is None:
            return
        if issubclass(kind, Request):
            for field in sorted(kind.UNAVAILABLE):
                allowed = ", ".join(f"`{json.dumps(value)}`" for value in kind.UNAVAILABLE[field])
                text = f"unless it is {allowed} or null" if allowed else ""
                yield Line(f"{prefix}{field}", "", "refused", text)
            for field in sorted(kind.IGNORED):
                yield Line(f"{prefix}{field}", "", "ignored", WHY_IGNORED[field])
            if kind.model_config.get("extra") == "ignore":
                yield Line(f"{prefix}*", "", "ignored", "any other field")
        elif kind.model_config.get("extra") in (None, "ignore"):
            yield Line(f"{prefix}*", "", "ignored", "any other field")

    def _honoured(self, path: str, schema: Schema, is_required: bool) -> Line:
        text = schema.get("description") or self._resolved(schema)[1].get("description", "")
        needed = "honoured, required" if is_required else "honoured"
        return Line(path, self._type(schema), needed, " ".join(text.split()))

    def _type(self, schema: Schema) -> str:
        """In words, with the limits; an object is described by the lines that follow it."""
        options = schema.get("anyOf") or schema.get("oneOf")
        if options:
            kinds = [self._type(option) for option in options if option.get("type") != "null"]
            return ", ".join(dict.fromkeys(kinds))
        _, schema = self._resolved(schema)
        if "enum" in schema or "const" in schema:
            return ", ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
        kind = schema.get("type", "anything")
        if kind == "array":
            return f"list of {self._type(schema.get('items', {}))}{_limits(schema, 'Items')}"
        names = {"string": "text", "integer": "whole number", "boolean": "true or false"}
        if schema.get("format") == "binary":
            return "bytes"
        return f"{names.get(kind, kind)}{_limits(schema, 'Length')}"

    def _resolved(self, schema: Schema) -> tuple[str, Schema]:
        """The name of the class, if it is one, and what is known about it."""
        if "allOf" in schema:
            return self._resolved(schema["allOf"][0])
        if "$ref" not in schema:
            return "", schema
        name = schema["$ref"].rsplit("/", 1)[-1]
        return name.rsplit("__", 1)[-1].split("-")[0], self._components[name]

    def _always_null(self) -> Iterator[str]:
        heading = ["", "## Fields of answers that are always null", ""]
        for name, schema in sorted(self._components.items()):
            kind = self._classes.get(name.rsplit("__", 1)[-1].split("-")[0])
            if kind is not None and issubclass(kind, Request):
                continue
            for field, inner in schema.get("properties", {}).items():
                if inner.get("type") == "null":
                    yield from heading
                    heading = []
                    yield f"- `{field}` of {_words(name)}"

    def _not_served(self) -> Iterator[str]:
        yield from ("", "## Routes of the original that are not served", "")
        yield "They answer 404 or 405, as do all those of the original that are not named here."
        yield from ("", "| Route | In the client | Why |", "|---|---|---|")
        for method, (route, why) in self._dialect.not_served.items():
            verb, path = route.split()
            yield f"| {verb} {self._dialect.prefix}{path} | `client.{method}` | {why} |"


def page(name: str) -> str:
    return Page(DIALECTS[name]).text()


def requests(name: str) -> Iterator[type[Request]]:
    """All kinds of bodies, and of the objects in them, that say what they ignore."""
    dialect = DIALECTS[name]
    for _ in _modules_with_routers(dialect):
        pass  # which imports their schemas
    return (kind for kind in _subclasses(BaseModel, dialect) if issubclass(kind, Request))


def _modules_with_routers(dialect: Dialect) -> Iterator[Any]:
    package = dialect.module
    for found in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        module = importlib.import_module(found.name)
        if isinstance(getattr(module, "router", None), APIRouter):
            yield module


def _subclasses(kind: type[BaseModel], dialect: Dialect) -> Iterator[type[BaseModel]]:
    for child in kind.__subclasses__():
        if child.__module__.startswith(f"{dialect.module.__name__}."):
            yield child
        yield from _subclasses(child, dialect)


def _objects_in(schema: Schema, suffix: str = "") -> Iterator[tuple[Schema, str]]:
    """The objects that a field may hold, and how their place is written."""
    if "$ref" in schema or "properties" in schema:
        yield schema, suffix
    for key in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(key, ()):
            yield from _objects_in(option, suffix)
    if isinstance(schema.get("items"), dict):
        yield from _objects_in(schema["items"], f"{suffix}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _objects_in(schema["additionalProperties"], f"{suffix}.*")


def _limits(schema: Schema, what: str) -> str:
    """The bounds of a number, or of the length of a text or list."""
    low, high = schema.get("minimum"), schema.get("maximum")
    unit = ""
    if f"min{what}" in schema or f"max{what}" in schema:
        low, high = schema.get(f"min{what}"), schema.get(f"max{what}")
        unit = " characters" if what == "Length" else ""
    above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    bounds = (("at least", low), ("above", above), ("at most", high), ("below", below))
    said = [f"{word} {_number(bound)}{unit}" for word, bound in bounds if bound is not None]
    if low is not None and high is not None:
        said = [f"{_number(low)} to {_number(high)}{unit}"]
    return "".join(f", {bound}" for bound in said)


def _number(value: float) -> str:
    if abs(value) >= 2**53:
        return f"{'-' if value < 0 else ''}2^{abs(int(value)).bit_length() - 1}"
    return f"{value:,.0f}" if value == int(value) else f"{value:g}"


def _words(name: str) -> str:
    return "".join(f" {c.lower()}" if c.isupper() else c for c in name).strip()
