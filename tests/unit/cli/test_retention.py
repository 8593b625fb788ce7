"""`tunesmith retention --dry-run` says what the server will remove, and removes nothing."""

import os
import time
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from tunesmith.store.blobs import Blobs

HOUR = 3600


def test_what_nothing_refers_to_is_counted_once_it_is_old_enough(
    run: Run, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("orgs", "create", "acme").exit_code == 0
    blobs = Blobs(data_dir / "blobs")
    old, young = blobs.put(b"of a deleted file"), blobs.put(b"just arrived")
    os.utime(blobs.path(old.sha256), (time.time() - 3 * HOUR,) * 2)

    assert "0 blobs that nothing refers to" in run("retention", "--dry-run").stdout
    monkeypatch.setenv("TUNESMITH_RETENTION_UNUSED_HOURS", "2")
    told = run("retention", "--dry-run").stdout
    assert f"1 blobs that nothing refers to, of {old.size_bytes} bytes" in told
    assert blobs.has(old.sha256)
    assert blobs.has(young.sha256)
