"""The dataset doctor on stored files: in a process of its own, as it computes for long."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import structlog

from tunesmith.doctor import frames
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import InvalidRequest, Unavailable
from tunesmith.domain.files import Blob
from tunesmith.store.blobs import Blobs

log = structlog.get_logger()

MAX_SECONDS = 600
_NO_TOKENIZER = 3  # exit code of `compute.tokens` and `compute.preview`
SHOWN_DIFF_BYTES = 256 * 1024


class _NoTokenizer(Exception):
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mended:
    blob: Blob
    num_examples: int
    lines_changed: int
    lines_dropped: int
    diff: str  # up to `SHOWN_DIFF_BYTES` of it
    is_diff_whole: bool


def examine(blobs: Blobs, blob: Blob, against: Blob | None) -> dict[str, Any]:
    """The report, as `doctor.report` makes it. Outside of transactions, as it reads for long."""
    held = None if against is None else blobs.path(against.sha256)
    return _examined(blobs.path(blob.sha256), held)


@lru_cache(maxsize=32)  # a path names its content
def _examined(path: Path, held: Path | None) -> dict[str, Any]:
    try:
        done = subprocess.run(
            _command("check", path, held), capture_output=True, timeout=MAX_SECONDS, check=True
        )
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        raise _broken_off() from error
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def count_tokens(blobs: Blobs, blob: Blob, model: BaseModel) -> dict[str, Any]:
    """What the model's tokenizer and chat template make of a file: see `compute.tokens`."""
    path = blobs.path(blob.sha256)
    with _named(model):
        return _counted(path, model.folder, model.context_tokens, model.fingerprint)


@lru_cache(maxsize=32)
def _counted(path: Path, folder: str, limit: int, fingerprint: str | None) -> dict[str, Any]:
    """The fingerprint tells a folder's content from what it was before."""
    return _computed("tokens", folder, path, limit)


def rows_seen(
    blobs: Blobs, blob: Blob, model: BaseModel, *, first: int, count: int
) -> dict[str, Any]:
    """So many rows from a line on, as the model sees them: see `compute.preview`."""
    path = blobs.path(blob.sha256)
    with _named(model):
        return _seen(path, model.folder, model.context_tokens, model.fingerprint, first, count)


@lru_cache(maxsize=8)  # up to a few MB each
def _seen(
    path: Path, folder: str, limit: int, fingerprint: str | None, first: int, count: int
) -> dict[str, Any]:
    return _computed("preview", folder, path, limit, first, count)


def _computed(module: str, *arguments: object) -> dict[str, Any]:
    command = [sys.executable, "-m", f"tunesmith.compute.{module}", *map(str, arguments)]
    try:
        done = subprocess.run(command, capture_output=True, timeout=MAX_SECONDS, check=True)
    except (subprocess.TimeoutExpired, subprocess.CalledProcessError) as error:
        if isinstance(error, subprocess.CalledProcessError) and error.returncode == _NO_TOKENIZER:
            raise _NoTokenizer(error.stderr.decode(errors="replace").strip()) from error
        raise _broken_off() from error
    made: dict[str, Any] = json.loads(done.stdout)
    return made


@contextmanager
def _named(model: BaseModel) -> Iterator[None]:
    """The reason is for the operator: it may name folders."""
    try:
        yield
    except _NoTokenizer as error:
        log.warning("no tokenizer", base_model=model.name, reason=str(error))
        raise InvalidRequest(
            f"The tokenizer of {model.name} cannot be loaded, so nothing can be counted with it. "
            "Choose another model, or have this server's operator look at that model's folder; "
            "the server's log has the reason.",
            param="model",
        ) from error


def mend(blobs: Blobs, blob: Blob, against: Blob | None, header: bytes) -> Mended:
    """A new file, stored but not yet recorded. Outside of transactions."""
    held = None if against is None else blobs.path(against.sha256)
    diff = bytearray(header)
    num_bytes = len(header)

    def difference(piece: bytes) -> None:
        nonlocal num_bytes
        num_bytes += len(piece)
        diff.extend(piece[: max(0, SHOWN_DIFF_BYTES - len(diff))])

    command = _command("mend", blobs.path(blob.sha256), held)
    with (
        blobs.writer() as writer,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as child,
    ):
        try:
            assert child.stdout is not None
            changes = frames.read(child.stdout, writer.write, difference)
        finally:
            child.kill()  # it has ended, unless something went wrong here
        if changes is None:
            raise _broken_off()
        if changes.num_examples == 0:
            raise InvalidRequest("Nothing would be left of the dataset.")
        return Mended(
            blob=writer.commit(),
            num_examples=changes.num_examples,
            lines_changed=changes.lines_changed,
            lines_dropped=changes.lines_dropped,
            diff=diff.decode(errors="replace"),
            is_diff_whole=num_bytes <= SHOWN_DIFF_BYTES,
        )


def _command(task: str, path: Path, held: Path | None) -> list[str]:
    return [
        *(sys.executable, "-m", "tunesmith.doctor", task, str(path)),
        *([] if held is None else [str(held)]),
    ]


def _broken_off() -> Unavailable:
    return Unavailable("The examination of the file broke off. Try it again.")
