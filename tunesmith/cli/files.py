"""Files, from anywhere: bring, list, fetch and remove them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from tunesmith.cli.options import AsJson, DataDir, fail, print_json
from tunesmith.cli.output import Console, Table
from tunesmith.cli.remote import Remote, connected
from tunesmith.dialects import openai

app = typer.Typer(help="Files of data.", no_args_is_help=True)

FileId = Annotated[str, typer.Argument(help="As `tunesmith files list` shows it.")]

_PATH = f"{openai.PREFIX}/files"
_PART_BYTES = 64 * 2**20  # the largest that a part of an upload may have


@app.command("upload")
def upload_file(
    file: Annotated[Path, typer.Argument(help="JSON lines.")],
    purpose: Annotated[str, typer.Option(help="What for.")] = "fine-tune",
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """Bring a file to the server."""
    with connected(data_dir) as remote:
        made = upload(remote, file, purpose)
    if as_json:
        print_json(made)
    else:
        typer.echo(made["id"])


def upload(remote: Remote, file: Path, purpose: str = "fine-tune") -> dict[str, Any]:
    """With a bar; in parts where it is large, so that a broken connection costs one of them."""
    check_lines(file)
    size = file.stat().st_size
    with _progress() as progress, file.open("rb") as content:
        bar = progress.add_task(f"uploading {file.name}", total=size)
        if size > _PART_BYTES:
            return _upload_parts(remote, file, purpose, progress)
        with progress.wrap_file(content, total=size, task_id=bar) as shown:
            files = {"file": (file.name, shown)}
            made = remote.ask("POST", _PATH, data={"purpose": purpose}, files=files)
    answer: dict[str, Any] = made.json()
    return answer


def _upload_parts(remote: Remote, file: Path, purpose: str, progress: Progress) -> dict[str, Any]:
    [bar] = progress.task_ids
    body = {
        "bytes": file.stat().st_size,
        "filename": file.name,
        "purpose": purpose,
        "mime_type": "application/jsonl",
    }
    uploads = f"{openai.PREFIX}/uploads"
    upload_id = remote.ask("POST", uploads, json=body).json()["id"]
    parts = []
    with file.open("rb") as content:
        while part := content.read(_PART_BYTES):
            made = remote.ask("POST", f"{uploads}/{upload_id}/parts", files={"data": part}).json()
            parts.append(made["id"])
            progress.advance(bar, len(part))
    done = remote.ask("POST", f"{uploads}/{upload_id}/complete", json={"part_ids": parts})
    answer: dict[str, Any] = done.json()["file"]
    return answer


def check_lines(file: Path) -> None:
    """What is no JSON is told here, with its line, and not when it has been uploaded."""
    if not file.is_file():
        fail(f"There is no file {file}.")
    if file.suffix not in (".jsonl", ".json"):
        return
    is_empty = True
    with file.open("rb") as content:
        for number, line in enumerate(content, 1):
            if not line.strip():
                continue
            is_empty = False
            try:
                json.loads(line)
            except ValueError as error:
                fail(f"{file}, line {number}: no JSON ({error}). Each line is one example.")
    if is_empty:
        fail(f"{file} is empty.")


@app.command("list")
def list_files(
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest first.")] = 20,
    as_json: AsJson = False,
    data_dir: DataDir = None,
) -> None:
    """List the newest files."""
    with connected(data_dir) as remote:
        files = list(remote.pages(_PATH, limit))
    if as_json:
        print_json(files)
        return
    if not files:
        typer.echo("No files. `tunesmith files upload FILE` brings one.")
        return
    table = Table("file", "name", "size", "purpose")
    for file in files:
        table.add_row(file["id"], file["filename"], decimal(file["bytes"]), file["purpose"])
    Console().print(table)


@app.command("show")
def show_file(file_id: FileId, data_dir: DataDir = None) -> None:
    """Show what is known of a file, as JSON."""
    with connected(data_dir) as remote:
        print_json(remote.read(f"{_PATH}/{file_id}"))


@app.command("download")
def download_file(
    file_id: FileId,
    to: Annotated[Path | None, typer.Argument(help="By default the file's own name.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Fetch a file's bytes."""
    with connected(data_dir) as remote:
        known = remote.read(f"{_PATH}/{file_id}")
        target = to or Path(Path(known["filename"]).name)
        if target.exists():
            fail(f"{target} is there already; name another.")
        fetch(remote, f"{_PATH}/{file_id}/content", target)
    typer.echo(target)


def fetch(remote: Remote, path: str, target: Path) -> None:
    """Into a file beside the target first: a broken download leaves none that looks whole."""
    aside = target.with_name(f"{target.name}.partial")
    with remote.http.stream("GET", path) as answer, _progress() as progress:
        remote.checked(answer)
        length = answer.headers.get("content-length")
        bar = progress.add_task(f"fetching {target.name}", total=int(length) if length else None)
        with aside.open("wb") as file:
            for piece in answer.iter_bytes():
                file.write(piece)
                progress.advance(bar, len(piece))
    aside.replace(target)


@app.command("rm")
def remove_file(file_id: FileId, data_dir: DataDir = None) -> None:
    """Remove a file; jobs that use it keep their bytes."""
    with connected(data_dir) as remote:
        remote.ask("DELETE", f"{_PATH}/{file_id}")


def _progress() -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
