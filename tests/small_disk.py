"""A disk of so many bytes, which really runs full."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def small_disk(folder: Path, size_bytes: int) -> Iterator[Path]:
    """A tmpfs on `folder`; the test is skipped, and says so, where none may be mounted."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_bytes}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
        refusal = mounted.stderr.strip() if mounted.returncode else None
    except FileNotFoundError:
        refusal = "there is no mount"
    if refusal is not None:
        pytest.skip(f"No tmpfs can be mounted here: {refusal}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
