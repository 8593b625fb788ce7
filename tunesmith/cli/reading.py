"""Files read with a bar, and files that are there whole or not at all."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated, BinaryIO

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from tunesmith.cli.output import Console
from tunesmith.domain.datasets import read_lines

File = Annotated[Path, typer.Argument(help="JSON lines: one example a line.")]


@contextmanager
def files_at_hand() -> Iterator[None]:
    """Ends the program where a file cannot be read or written."""
    try:
        yield
    except OSError as error:
        typer.secho(f"{error.filename}: {error.strerror}.", fg=typer.colors.RED, err=True)
        raise typer.Exit(2) from None


@contextmanager
def written(targets: Sequence[Path]) -> Iterator[list[BinaryIO]]:
    """Written aside, fsynced and renamed; nothing is left behind when something is raised."""
    aside = [target.with_name(target.name + ".part") for target in targets]
    try:
        with ExitStack() as stack:
            files: list[BinaryIO] = [stack.enter_context(part.open("wb")) for part in aside]
            yield files
            for file in files:
                file.flush()
                os.fsync(file.fileno())
        for part, whole in zip(aside, targets, strict=True):
            part.replace(whole)
    finally:
        for part in aside:
            part.unlink(missing_ok=True)


def with_progress(file: BinaryIO, what: str) -> Iterable[bytes]:
    """Its lines, with a bar while they are read."""
    total = os.fstat(file.fileno()).st_size
    share = TextColumn("{task.percentage:>3.0f}%")
    columns = (TextColumn("{task.description}"), BarColumn(), share, TimeRemainingColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task(what, total=total or None)
        for number, raw in enumerate(read_lines(file)):
            yield raw
            if number % 100 == 0:
                bar.update(task, completed=file.tell())


def counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' * (number != 1)}" if number else f"no {what}s"
