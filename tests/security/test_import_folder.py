"""No path leads out of the import folder, however it is written and whatever is swapped."""

import itertools
import os
import threading
from pathlib import Path

import pytest

from tests.security.world import House, Tenant
from tunesmith.domain.errors import InvalidRequest
from tunesmith.services import datasets
from tunesmith.store.blobs import Blobs

SECRET = b'{"messages": "outside"}\n'
UPS = (
    "..",
    "../..",
    "../../..",
    "a/../..",
    "./..",
    "..;",
    "...",
    ". .",
    "..\\",
    "%2e%2e",
    "\uff0e\uff0e",
)
PLACES = ("outside.jsonl", "/outside.jsonl", "//outside.jsonl", "\\outside.jsonl", "etc/passwd")
STARTS = ("", "/", "//", "~/", "file://", "file:", "\\\\", "C:\\", "./", " ", "a/", "in/", "%2f")


def forms(folder: Path) -> list[str]:
    made = {f"{start}{up}/{place}" for start in STARTS for up in UPS for place in PLACES}
    made |= {f"{start}{place}" for start, place in itertools.product(STARTS, PLACES)}
    made |= {str(folder.parent / "outside.jsonl"), f"{folder}/../outside.jsonl"}
    made |= {"link.jsonl", "links/outside.jsonl", "in/up/outside.jsonl", "fifo", "in", "loop/loop"}
    made |= {"a\0b", "in\0/../../outside.jsonl", "a" * 5000, "a/" * 3000, "\n", "/dev/zero", "-"}
    return sorted(made)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With every kind of way out."""
    folder = tmp_path / "import"
    (folder / "in").mkdir(parents=True)
    (tmp_path / "outside.jsonl").write_bytes(SECRET)
    (folder / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (folder / "links").symlink_to(tmp_path)
    (folder / "in" / "up").symlink_to("../..")
    (folder / "loop").symlink_to("loop")
    os.mkfifo(folder / "fifo")
    return folder


def test_no_form_of_a_path_leads_out(folder: Path, blobs: Blobs) -> None:
    tried = forms(folder)
    assert len(tried) >= 300
    for path in tried:
        try:
            blob = datasets.import_file(blobs, folder, path, 10**6)
        except InvalidRequest:
            continue
        assert blob is None, path


def test_no_field_takes_a_path_that_leads_out(house: House, rival: Tenant) -> None:
    folder = house.data_dir.parent / "import"
    (folder.parent / "outside.jsonl").write_bytes(SECRET)
    (folder / "link.jsonl").unlink(missing_ok=True)
    (folder / "link.jsonl").symlink_to(folder.parent / "outside.jsonl")
    own = rival.ids["dataset_id"]
    for path in forms(folder)[::8]:
        for data in ({"trainingDataset": path}, {"trainingDataset": own, "validationFile": path}):
            body = {"name": "a", "baseModel": "tiny", **data}
            answer = house.ask("POST", "/api/v1/fine-tuning/jobs", rival.secret, json=body)
            assert 400 <= answer.status_code < 500, path
            assert 'outside"' not in answer.text


def test_a_link_that_is_swapped_in_meanwhile_is_not_followed(folder: Path, blobs: Blobs) -> None:
    """The folder of a good file is a link to the outside, half of the time."""
    good, bad, place = folder / "good", folder / "bad", folder / "place"
    good.mkdir()
    inside = b'{"messages": "inside"}\n'
    (good / "outside.jsonl").write_bytes(inside)
    bad.symlink_to(folder.parent)
    good.rename(place)
    is_over = threading.Event()

    def swap() -> None:
        while not is_over.is_set():
            place.rename(good)
            bad.rename(place)
            place.rename(bad)
            good.rename(place)

    thread = threading.Thread(target=swap)
    thread.start()
    found = set()
    try:
        for _ in range(2000):
            blob = datasets.import_file(blobs, folder, "place/outside.jsonl", 10**6)
            found.add(None if blob is None else blobs.path(blob.sha256).read_bytes())
    finally:
        is_over.set()
        thread.join()
    assert SECRET not in found
    assert inside in found


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    return Blobs(tmp_path / "blobs")
