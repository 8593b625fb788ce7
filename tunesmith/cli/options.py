"""Switches over environment over defaults, for every command."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from pydantic import ValidationError

from tunesmith.cli import logs
from tunesmith.cli.output import harmless
from tunesmith.settings import Settings
from tunesmith.tracing import spans


class Exit(IntEnum):
    """What the program ends with; 2 is a wrong command line, as everywhere."""

    FAILED = 1
    NOT_FOUND = 3
    NOT_PERMITTED = 4
    UNREACHABLE = 5


AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder for the database and all files.")
]


def load_settings(**switches: Any) -> Settings:
    """The settings, with the switches that were given; ends the program on a wrong one."""
    given = {name: value for name, value in switches.items() if value is not None}
    try:
        settings = Settings(**given)
        logs.set_up(settings.log_level)
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0])
            typer.secho(
                f"TUNESMITH_{name.upper()}: {problem['msg']}", fg=typer.colors.RED, err=True
            )
        raise typer.Exit(2) from None
    except ValueError as error:
        typer.secho(f"TUNESMITH_LOG_LEVEL: {error}", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from None
    _warn_of_unknown_variables()
    return settings


@contextmanager
def traced(settings: Settings, service: str) -> Iterator[None]:
    """Spans of this process go where the settings say, if anywhere."""
    if settings.otlp_endpoint is not None:
        try:
            spans.start(settings.otlp_endpoint, service)
        except spans.MissingLibrary as error:
            fail(str(error))
    try:
        yield
    finally:
        spans.stop()


def _warn_of_unknown_variables() -> None:
    """A mistyped variable would be passed over in silence."""
    known = {f"TUNESMITH_{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith("TUNESMITH_TEST_"):  # for the tests and benchmarks
            continue
        if name.startswith("TUNESMITH_") and name not in known:
            message = f"{name} is no setting and is ignored; see `tunesmith settings`."
            typer.secho(message, fg=typer.colors.YELLOW, err=True)


def fail(message: str, code: Exit = Exit.FAILED) -> NoReturn:
    """End the program with a sentence that says what to do."""
    typer.secho(harmless(message), fg=typer.colors.RED, err=True)
    raise typer.Exit(code)


def print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))
