"""Writes the pages of docs/reference that say what the code says."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, get_origin

import typer
from pydantic import SecretStr

from scripts import reference_dialects
from tunesmith.cli.main import app
from tunesmith.domain import errors
from tunesmith.http import status_of
from tunesmith.settings import Settings

FOLDER = Path(__file__).parent.parent / "docs" / "reference"
NOTE = "<!-- Written by scripts/reference.py: change the code, then run it. -->"


def settings_page() -> str:
    lines = [
        "# Settings",
        NOTE,
        "",
        "Read once, at the start, from the environment. A switch on the command line wins.",
        "`tunesmith settings` shows the values in force, secrets masked.",
        "",
        "| Variable | Type | Default | What it is |",
        "|---|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = "" if field.default is None else f"`{field.default}`"
        kind = _type_name(field.annotation)
        lines.append(f"| `TUNESMITH_{name.upper()}` | {kind} | {default} | {field.description} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    lines = ["# Command line", NOTE, "", str(app.info.help)]
    for path, command in _commands(typer.main.get_command(app), ("tunesmith",)):
        arguments = [p for p in command.params if p.param_type_name == "argument"]
        options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
        usage = " ".join([*path, *(p.name.upper() for p in arguments)])
        lines += ["", f"## {usage}", "", _unwrapped(command.help or "")]
        shown = [(p.name.upper(), p) for p in arguments]
        shown += [(", ".join(p.opts), p) for p in options if p.name != "help"]
        if shown:
            lines += ["", "| | Default | |", "|---|---|---|"]
        for name, parameter in shown:
            text = getattr(parameter, "help", None) or ""
            lines.append(f"| `{name}` | {_default_of(parameter)} | {text} |")
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    lines = [
        "# Errors",
        NOTE,
        "",
        "Whatever goes wrong in a request is one of these, and each dialect gives it the form that",
        "its clients know. The code is stable, the message is a sentence for people.",
        "",
        "| Error | Kind of | Status | Code | |",
        "|---|---|---|---|---|",
    ]
    for kind in _subclasses(errors.TunesmithError):
        parent = kind.__mro__[1].__name__
        note = _unwrapped(vars(kind).get("__doc__") or "")
        lines.append(f"| {kind.__name__} | {parent} | {_status(kind)} | `{kind.code}` | {note} |")
    lines += [
        "",
        "Anything else is a defect: status 500, code `server_error`, and the request's id, under",
        "which the server's log has more.",
    ]
    return "\n".join(lines) + "\n"


PAGES = {
    **{name: partial(reference_dialects.page, name) for name in reference_dialects.DIALECTS},
    "settings.md": settings_page,
    "cli.md": cli_page,
    "errors.md": errors_page,
}


def _commands(command: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """The commands of a tree, with the words that call them. Typer brings its own click."""
    children: dict[str, Any] = getattr(command, "commands", {})
    if not children:
        yield path, command
    for name, child in children.items():
        yield from _commands(child, (*path, name))


def _default_of(parameter: Any) -> str:
    if parameter.required:
        return "required"
    default = parameter.default
    return "" if default is None or default == () or default is False else f"`{default}`"


def _unwrapped(text: str) -> str:
    paragraphs = text.strip().split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def _type_name(annotation: Any) -> str:
    if get_origin(annotation) is dict:
        return "JSON object"
    kinds = getattr(annotation, "__args__", (annotation,))
    names = {SecretStr: "secret", str: "text", int: "whole number", float: "number"}
    names |= {bool: "true or false", Path: "path"}
    return ", ".join(names.get(kind, str(kind)) for kind in kinds if kind is not type(None))


def _subclasses(
    kind: type[errors.TunesmithError],
) -> Iterator[type[errors.TunesmithError]]:
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__:
            yield child
            yield from _subclasses(child)


def _status(kind: type[errors.TunesmithError]) -> int:
    return status_of(kind.__new__(kind))


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page())
        print(f"docs/reference/{name}")


if __name__ == "__main__":
    main()
