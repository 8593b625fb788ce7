"""The dataset doctor, on stored datasets."""

import json
from collections.abc import Iterator
from dataclasses import replace

import httpx
import pytest

from tests.contract.platform.support import refusal, upload
from tests.contract.server import BASE, Server
from tunesmith.app import TINY_FOLDER

GOOD = [json.dumps({"prompt": f"{n} + 1 =", "completion": f"{n + 1}"}) for n in range(12)]


def stored(http: httpx.Client, lines: list[str]) -> str:
    answer = http.post("/datasets", files={"file": ("sums.jsonl", "\n".join(lines).encode())})
    return str(answer.json()["id"])


def test_a_good_dataset_has_no_findings(http: httpx.Client) -> None:
    dataset = stored(http, GOOD)

    assert http.get(f"/datasets/{dataset}/findings").json() == {
        "dataset": dataset,
        "against": None,
        "examples": 12,
        "trainable": True,
        "fixable": 0,
        "counts": [],
        "findings": [],
        "hasMore": False,
    }


def test_findings_name_rule_line_and_path(http: httpx.Client) -> None:
    dataset = stored(http, [*GOOD, '{"prompt": "a", "completion": 3}', GOOD[2]])
    found = http.get(f"/datasets/{dataset}/findings").json()

    assert not found["trainable"]
    assert found["counts"] == [
        {"rule": "format.not-text", "severity": "error", "count": 1},
        {"rule": "duplicate.exact", "severity": "warning", "count": 1},
    ]
    assert [(f["rule"], f["line"], f["path"], f["seenLine"]) for f in found["findings"]] == [
        ("format.not-text", 13, "$.completion", None),
        ("duplicate.exact", 14, "$", 3),
    ]


def test_leaks_into_another_dataset(http: httpx.Client) -> None:
    dataset, held = stored(http, GOOD), stored(http, GOOD[4:5])
    found = http.get(f"/datasets/{dataset}/findings", params={"against": held}).json()

    assert [(f["rule"], f["line"]) for f in found["findings"]] == [("leak.exact", 5)]


def test_a_fix_is_a_new_dataset_with_its_diff(http: httpx.Client) -> None:
    dataset = stored(http, [*GOOD, "", GOOD[2]])
    answer = http.post(f"/datasets/{dataset}/fix", json={"name": "Sums, mended"})
    made = answer.json()

    assert answer.status_code == 201
    assert (made["linesChanged"], made["linesDropped"], made["diffIsWhole"]) == (0, 2, True)
    assert made["diff"].startswith("--- sums.jsonl\n+++ sums-mended.jsonl\n@@ -13 +12,0 @@\n-\n")
    new = made["dataset"]
    assert (new["name"], new["fileName"], new["examples"]) == (
        "Sums, mended",
        "sums-mended.jsonl",
        12,
    )
    assert http.get(f"/datasets/{new['id']}").json() == new
    assert http.get(f"/datasets/{new['id']}/findings").json()["findings"] == []
    assert http.get(f"/datasets/{dataset}").json()["examples"] == 13


def test_a_fix_that_would_leave_nothing_is_refused(http: httpx.Client) -> None:
    dataset = stored(http, GOOD)

    refusal(
        http.post(f"/datasets/{dataset}/fix", json={"against": dataset}), 400, "validation-error"
    )


def test_a_dataset_that_is_not_there(http: httpx.Client) -> None:
    there = upload(http)

    refusal(http.get("/datasets/ds_1/findings"), 404, "not-found")
    refusal(http.get(f"/datasets/{there}/findings?against=ds_1"), 404, "not-found")
    refusal(http.post("/datasets/ds_1/fix", json={}), 404, "not-found")


@pytest.mark.parametrize("what", ["tokens", "rows"])
def test_tokens_are_those_of_a_base_model_that_there_is(
    http: httpx.Client, stranger: httpx.Client, what: str
) -> None:
    path = f"/datasets/{stored(http, GOOD)}/{what}"

    refusal(http.get(path), 422, "unprocessable")
    refusal(http.get(path, params={"baseModel": "nobody/nothing"}), 422, "unprocessable")
    refusal(http.get(f"/datasets/ds_1/{what}", params={"baseModel": BASE}), 404, "not-found")
    refusal(stranger.get(path, params={"baseModel": BASE}), 404, "not-found")


@pytest.mark.parametrize("query", [{"line": 0}, {"line": "two"}, {"limit": 21}, {"limit": 0}])
def test_a_look_at_rows_is_bounded(http: httpx.Client, query: dict[str, str | int]) -> None:
    path = f"/datasets/{stored(http, GOOD)}/rows"

    refusal(http.get(path, params={"baseModel": BASE, **query}), 400, "validation-error")


@pytest.fixture
def weights_of_base(server: Server) -> Iterator[None]:
    """The server's base model has a folder with a tokenizer for once."""
    with server.database.read() as store:
        before = store.models.find_base(BASE)
    assert before is not None
    for model in (replace(before, folder=str(TINY_FOLDER)), before):
        with server.database.write() as store:
            store.models.put_base(model)
        if model is not before:
            yield


@pytest.mark.usefixtures("weights_of_base")
def test_rows_are_seen_with_what_is_learned_of_them(http: httpx.Client) -> None:
    path = f"/datasets/{stored(http, GOOD)}/rows"
    asked = {"baseModel": BASE, "line": 11, "limit": 1}
    seen = http.get(path, params=asked, timeout=120).json()  # a tokenizer is loaded for it

    (row,) = seen["rows"]
    (text,) = row["texts"]
    assert (row["line"], row["refused"], seen["hasMore"]) == (11, None, True)
    assert "".join(piece["text"] for piece in text["pieces"] if piece["learned"]) == "11<|end|>"
    assert (
        text["tokens"] == sum(piece["tokens"] for piece in text["pieces"]) > text["trainedTokens"]
    )
