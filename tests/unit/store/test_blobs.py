import hashlib
import os
from pathlib import Path

import pytest

from tunesmith.domain.datasets import MAX_LINE_BYTES
from tunesmith.domain.errors import NotFound, TooLarge
from tunesmith.store.blobs import Blobs

HOUR = 3600.0


def files_in(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


def make_old(path: Path) -> None:
    os.utime(path, (0, 0))


def test_bytes_come_back_under_their_hash(blobs: Blobs) -> None:
    blob = blobs.put(b"hello")
    assert blobs.has(blob.sha256)
    assert blobs.path(blob.sha256).read_bytes() == b"hello"
    assert (_sha256_of(blobs.path(blob.sha256)), blob.size_bytes) == (blob.sha256, 5)


def test_the_same_bytes_are_kept_once(blobs: Blobs, tmp_path: Path) -> None:
    assert blobs.put(b"hello") == blobs.put(b"hello")
    assert len(files_in(tmp_path)) == 1


def test_nothing_is_visible_before_the_commit(blobs: Blobs) -> None:
    with blobs.writer() as writer:
        writer.write(b"hello")
        sha256 = writer.sha256
        assert not blobs.has(sha256)
        with pytest.raises(NotFound):
            blobs.path(sha256)
        writer.commit()
    assert blobs.has(sha256)


def test_what_is_not_committed_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    with blobs.writer() as writer:
        writer.write(b"hello")
    assert files_in(tmp_path) == []


def test_an_error_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    def break_off() -> None:
        with blobs.writer() as writer:
            writer.write(b"hello")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        break_off()
    assert files_in(tmp_path) == []


def test_more_than_the_limit_is_refused_and_leaves_nothing(blobs: Blobs, tmp_path: Path) -> None:
    with blobs.writer(max_bytes=5) as writer:
        writer.write(b"hello")
        with pytest.raises(TooLarge):
            writer.write(b"!")
    assert files_in(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["", "../../etc/passwd", "a" * 63, "A" * 64, "/" * 64, "../" * 21 + "a", "é" * 64]
)
def test_a_name_that_is_no_hash_is_not_found(blobs: Blobs, name: str) -> None:
    with pytest.raises(NotFound):
        blobs.path(name)
    with pytest.raises(NotFound):
        blobs.has(name)


def test_sweeping_removes_what_is_old_and_unused(blobs: Blobs) -> None:
    used, unused, young = blobs.put(b"used"), blobs.put(b"unused"), blobs.put(b"young")
    for blob in (used, unused):
        make_old(blobs.path(blob.sha256))
    assert blobs.sweep({used.sha256}, older_than_seconds=HOUR) == 1
    assert [blobs.has(b.sha256) for b in (used, unused, young)] == [True, False, True]


def test_bytes_that_are_uploaded_again_are_young_again(blobs: Blobs) -> None:
    blob = blobs.put(b"hello")
    make_old(blobs.path(blob.sha256))
    blobs.put(b"hello")
    assert blobs.sweep(set(), older_than_seconds=HOUR) == 0


def test_sweeping_removes_uploads_that_were_never_finished(blobs: Blobs, tmp_path: Path) -> None:
    left = tmp_path / "blobs" / "incoming" / "left"
    left.write_bytes(b"half")
    make_old(left)
    assert blobs.sweep(set(), older_than_seconds=HOUR) == 1


def test_sweeping_survives_a_file_that_goes_meanwhile(blobs: Blobs, tmp_path: Path) -> None:
    (tmp_path / "blobs" / "incoming" / "gone").symlink_to(tmp_path / "nowhere")
    assert blobs.sweep(set(), older_than_seconds=HOUR) == 0


def test_chunks_are_the_bytes_in_their_order(blobs: Blobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tunesmith.store.blobs.CHUNK_BYTES", 4)
    blob = blobs.put(b"0123456789")
    assert list(blobs.chunks(blob.sha256)) == [b"0123", b"4567", b"89"]
    with pytest.raises(NotFound):
        next(blobs.chunks("0" * 64))


def test_a_line_without_end_does_not_fill_the_memory(blobs: Blobs) -> None:
    blob = blobs.put(b"short\n" + b"x" * (MAX_LINE_BYTES * 2))
    lengths = [len(line) for line in blobs.lines(blob.sha256)]
    assert lengths[0] == 6
    assert max(lengths) == MAX_LINE_BYTES + 1


def _sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
