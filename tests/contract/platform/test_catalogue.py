"""Base models, hardware and estimates."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from tests.contract.platform.golden import assert_like
from tests.contract.platform.support import create_job, refusal, retrieve
from tests.contract.server import ALIAS, BASE

ESTIMATE = "/fine-tuning/estimate-cost"


def estimate(http: httpx.Client, size: int, model: str = BASE) -> dict[str, Any]:
    answer = http.post(ESTIMATE, json={"baseModel": model, "datasetSize": size})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_base_models_are_as_documented_and_can_be_tuned(http: httpx.Client) -> None:
    listed = http.get("/fine-tuning/base-models").json()
    assert_like(listed, "base_models")
    (entry,) = [model for model in listed["models"] if model["id"] == BASE]
    assert entry["parameterCount"] == "1K"
    assert entry["maxSequenceLength"] == 512
    assert retrieve(http, create_job(http, baseModel=entry["id"]))["baseModel"] == entry["id"]


def test_hardware_is_as_documented(http: httpx.Client, advance: Callable[[float], None]) -> None:
    advance(30 * 24 * 3600)  # whoever came before has gone
    listed = http.get("/fine-tuning/hardware").json()
    assert_like(listed, "hardware")
    assert [entry["id"] for entry in listed["hardware"]] == ["cpu"]


def test_an_estimate_is_as_documented_and_grows_with_the_data(http: httpx.Client) -> None:
    sizes = (1, 100, 10_000, 1_000_000, 10**9)
    estimates = [estimate(http, size) for size in sizes]
    for made in estimates:
        assert_like(made, "estimate")
    minutes = [made["estimatedTimeMinutes"] for made in estimates]
    assert minutes == sorted(minutes)
    assert minutes[-1] > minutes[0]
    assert estimate(http, 100, ALIAS)["baseModel"] == ALIAS


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"datasetSize": 5}, 400, "validation-error", "baseModel"),
        ({"baseModel": BASE}, 400, "validation-error", "datasetSize"),
        ({"baseModel": BASE, "datasetSize": 0}, 400, "validation-error", "datasetSize"),
        ({"baseModel": BASE, "datasetSize": "5"}, 400, "validation-error", "datasetSize"),
        ({"baseModel": BASE, "datasetSize": 1.5}, 400, "validation-error", "datasetSize"),
        ({"baseModel": BASE, "datasetSize": 10**30}, 400, "validation-error", "datasetSize"),
        ({"baseModel": "gpt-9", "datasetSize": 5}, 422, "unprocessable", "baseModel"),
    ],
)
def test_what_cannot_be_estimated_is_refused_by_name(
    http: httpx.Client, body: dict[str, Any], status: int, code: str, field: str
) -> None:
    error = refusal(http.post(ESTIMATE, json=body), status, code)
    assert [detail["field"] for detail in error["details"]] == [field]
