"""Datasets, and the other ways to name training data."""

import json
import os

import httpx
import pytest

from tests.contract.platform.support import (
    EXAMPLES,
    JOBS,
    create_job,
    inner,
    refusal,
    retrieve,
    upload,
)
from tests.contract.server import BASE, Server
from tests.contract.worker import Worker

TEXTS = b'{"text": "Once upon a time."}\n' * 12


def test_a_dataset_is_what_was_sent(http: httpx.Client) -> None:
    answer = http.post(
        "/datasets", files={"file": ("path/to/train.jsonl", TEXTS)}, data={"name": " Tales "}
    )
    made = answer.json()
    assert answer.status_code == 201
    assert (made["name"], made["fileName"], made["examples"]) == ("Tales", "train.jsonl", 12)
    assert made["bytes"] == len(TEXTS)
    assert http.get(f"/datasets/{made['id']}").json() == made
    assert http.get("/datasets").json()["datasets"] == [made]


def test_a_dataset_without_a_name_has_its_files(http: httpx.Client) -> None:
    assert http.get(f"/datasets/{upload(http)}").json()["name"] == "train.jsonl"


def test_datasets_come_in_pages(http: httpx.Client) -> None:
    made = [upload(http) for _ in range(5)]
    pages = [http.get("/datasets", params={"limit": 2, "offset": o}).json() for o in (0, 2, 4)]
    assert [page["count"] for page in pages] == [5, 5, 5]
    assert [d["id"] for page in pages for d in page["datasets"]] == made[::-1]
    refusal(http.get("/datasets?limit=0"), 400, "validation-error")


def test_a_deleted_dataset_is_gone(http: httpx.Client) -> None:
    dataset = upload(http)
    answer = http.delete(f"/datasets/{dataset}")
    assert (answer.status_code, answer.content) == (204, b"")
    refusal(http.get(f"/datasets/{dataset}"), 404, "not-found")
    refusal(http.delete(f"/datasets/{dataset}"), 404, "not-found")


@pytest.mark.parametrize(
    "content", [b"", b"\n\n", b"no JSON", b"[1]\n", b"\xff\xfe\n", b'{"a": "\\ud800"}\n']
)
def test_what_is_plainly_no_dataset_is_refused(http: httpx.Client, content: bytes) -> None:
    answer = http.post("/datasets", files={"file": ("t.jsonl", content)})
    assert refusal(answer, 400, "validation-error")["details"][0]["field"] == "file"


def test_a_form_without_a_file_is_refused(http: httpx.Client) -> None:
    refusal(http.post("/datasets", files={"name": (None, "x")}), 400, "validation-error")
    refusal(http.post("/datasets", content=b"{}"), 400, "validation-error")
    answer = http.post("/datasets", files={"file": ("t", EXAMPLES)}, data={"name": "x" * 201})
    refusal(answer, 400, "validation-error")


def test_a_file_in_the_import_folder_becomes_a_dataset_once(
    http: httpx.Client, server: Server, worker: Worker
) -> None:
    folder = server.import_dir / "tales"
    folder.mkdir()
    (folder / "train.jsonl").write_bytes(TEXTS)
    (folder / "valid.jsonl").write_bytes(TEXTS + TEXTS)
    job = create_job(http, trainingDataset="tales/train.jsonl", validationFile="valid.jsonl")
    create_job(http, trainingDataset="tales/train.jsonl")
    shown = retrieve(http, job)
    assert shown["trainingDataset"] == "tales/train.jsonl"
    assert shown["trainingFile"] == "train.jsonl"
    assert shown["validationFile"] == "valid.jsonl"
    told = worker.lease(inner(job))
    assert told.validation_file is not None
    assert worker.bytes_of(told.training_file) == TEXTS
    assert worker.bytes_of(told.validation_file) == TEXTS + TEXTS
    names = [d["fileName"] for d in http.get("/datasets").json()["datasets"]]
    assert sorted(names) == ["train.jsonl", "valid.jsonl"]


def test_a_validation_file_may_be_another_dataset_by_its_name(http: httpx.Client) -> None:
    upload(http, TEXTS, "valid.jsonl")
    job = create_job(http, validationFile="valid.jsonl")
    assert retrieve(http, job)["validationFile"] == "valid.jsonl"


@pytest.mark.parametrize("kind", ["file", "folder", "middle", "pipe", "directory"])
def test_nothing_leads_out_of_the_import_folder(
    http: httpx.Client, server: Server, kind: str
) -> None:
    outside = server.import_dir.parent / f"outside-{kind}"
    outside.mkdir()
    (outside / "secret.jsonl").write_bytes(TEXTS)
    inside = server.import_dir / f"trap-{kind}"
    inside.mkdir()
    path = f"trap-{kind}/secret.jsonl"
    match kind:
        case "file":
            (inside / "secret.jsonl").symlink_to(outside / "secret.jsonl")
        case "folder":
            inside.rmdir()
            inside.symlink_to(outside)
        case "middle":
            (inside / "on").symlink_to(outside)
            path = f"trap-{kind}/on/secret.jsonl"
        case "pipe":
            os.mkfifo(inside / "secret.jsonl")
        case "directory":
            (inside / "secret.jsonl").mkdir()
    body = {"name": "x", "baseModel": BASE, "trainingDataset": path}
    refusal(http.post(JOBS, json=body), 422, "unprocessable")


@pytest.mark.parametrize(
    "row",
    [
        {"instruction": "Greet.", "output": "Hello."},
        {"instruction": "Sum up.", "input": "A tale.", "output": "Short."},
        {"text": "Once."},
        {"prompt": "1 + 1 =", "completion": " 2"},
    ],
)
def test_each_format_makes_a_job(http: httpx.Client, row: dict[str, str]) -> None:
    assert create_job(http, trainingDataset=upload(http, (json.dumps(row) + "\n").encode() * 10))
