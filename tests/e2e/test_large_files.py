"""Files far larger than the memory that the server may take for them."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service

MEBIBYTE = 1024 * 1024
NUM_PARTS = 16
PART = bytes(range(256)) * (208 * MEBIBYTE // NUM_PARTS // 256)  # 208 MiB in all
MAX_GROWTH = 50 * MEBIBYTE


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Service]:
    service = Service(tmp_path / "data", "server")
    service.start()
    yield service
    service.kill()


def memory(server: Service, kind: str) -> int:
    """Bytes resident now (VmRSS) or at the most so far (VmHWM)."""
    assert server.process is not None
    status = Path(f"/proc/{server.process.pid}/status")
    if not status.is_file():
        pytest.skip("this system does not tell a process's memory")
    (line,) = (line for line in status.read_text().splitlines() if line.startswith(kind))
    return int(line.split()[1]) * 1024


def test_a_large_file_in_parts_takes_little_memory(server: Service) -> None:
    client = server.client
    client.uploads.upload_file_chunked(  # what is loaded only when it is needed
        file=b"x", filename="a", bytes=1, mime_type="a/b", purpose="user_data"
    )
    before = memory(server, "VmRSS")
    upload = client.uploads.create(
        bytes=NUM_PARTS * len(PART), filename="a", mime_type="a/b", purpose="user_data"
    )
    parts = [client.uploads.parts.create(upload.id, data=PART).id for _ in range(NUM_PARTS)]
    digest = hashlib.md5(PART * NUM_PARTS).hexdigest()
    done = client.uploads.complete(upload.id, part_ids=parts, md5=digest)
    assert done.file is not None
    assert done.file.bytes == NUM_PARTS * len(PART)
    growth = memory(server, "VmHWM") - before
    print(f"{done.file.bytes // MEBIBYTE} MiB uploaded, {growth / MEBIBYTE:.1f} MiB more memory")
    assert growth < MAX_GROWTH
