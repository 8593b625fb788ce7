"""Base models, hardware and estimates over the wire, as the command line asks for them."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.contract.server import ALIAS, BASE, Server
from tests.factories import registration
from tunesmith.domain.accounts import USER_SCOPES, Scope
from tunesmith.domain.devices import Device, DeviceKind
from tunesmith.services import scheduling

CPU = Device(kind=DeviceKind.CPU, name="Some CPU", memory_bytes=2**34, count=4)
H200 = Device(kind=DeviceKind.CUDA, name="NVIDIA H200", memory_bytes=140 * 2**30, count=4)
ESTIMATE = {"base_model": BASE, "num_examples": 100}
READS = (("GET", "base-models"), ("GET", "known-models"), ("GET", "hardware"))
WRITES = (("PUT", "base-models"), ("DELETE", f"base-models/{BASE}"), ("POST", "estimates"))

Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(server: Server) -> Iterator[Ask]:
    admin = server.new_caller(frozenset({Scope.OPERATOR}))

    with httpx.Client(base_url=f"{server.url}/admin/v1/", trust_env=False) as client:

        def ask(method: str, path: str, body: Any = None, secret: str = admin.secret) -> Any:
            headers = {"authorization": f"Bearer {secret}"}
            return client.request(method, path, json=body, headers=headers)

        yield ask


def entry(name: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": name,
        "folder": "/nowhere/else",
        "source": "test",
        "num_parameters": 1000,
        "context_tokens": 512,
        "learning_rate": 1e-4,
        "files": {"model.safetensors": 2000},
        **changes,
    }


def test_an_entry_is_listed_as_it_was_put(ask: Ask) -> None:
    name = f"put-{uuid4().hex[:16]}"
    facts = {"licence": "mit", "provider": "Acme", "hub_id": f"acme/{name}", "tasks": ["x"]}
    put = entry(name, aliases=[f"{name}-alias"], calls_functions=True, **facts)
    assert ask("PUT", "base-models", put).status_code == 204
    (listed,) = [model for model in ask("GET", "base-models").json() if model["name"] == name]
    assert put.items() <= listed.items()
    assert listed["weights"] == "missing"
    made = ask("POST", "estimates", {**ESTIMATE, "base_model": f"acme/{name}"}).json()
    assert made["base_model"] == name
    assert ask("DELETE", f"base-models/{name}").status_code == 204
    assert ask("POST", "estimates", {**ESTIMATE, "base_model": name}).status_code == 404


def test_a_known_model_tells_under_which_names_it_is_here(ask: Ask) -> None:
    def known() -> dict[str, Any]:
        models = {model["name"]: model for model in ask("GET", "known-models").json()}
        return dict(models["qwen3-0.6b"])

    assert (known()["enabled_as"], known()["licence"]) == ([], "apache-2.0")
    ask("PUT", "base-models", entry("my-qwen", hub_id=known()["hub_id"]))
    assert known()["enabled_as"] == ["my-qwen"]
    ask("DELETE", "base-models/my-qwen")


def test_hardware_is_what_workers_have_at_the_operators_prices(
    ask: Ask, server: Server, advance: Callable[[float], None]
) -> None:
    advance(24 * 3600)  # whoever came before has gone
    with server.database.write() as store:
        for name, device in (("laptop", CPU), ("box", H200)):
            me = replace(registration(name), devices=(device,))
            scheduling.register(store, me, server.house.now())
    assert ask("GET", "hardware").json() == [
        {
            "id": "nvidia-h200-4x",
            "name": "NVIDIA H200",
            "kind": "cuda",
            "gpu_memory_bytes": 140 * 2**30,
            "num_gpus": 4,
            "cost_per_hour": 14.0,
        },
        {
            "id": "cpu",
            "name": "Some CPU",
            "kind": "cpu",
            "gpu_memory_bytes": 0,
            "num_gpus": 0,
            "cost_per_hour": 0.6,
        },
    ]


def test_an_estimate_grows_with_the_examples(ask: Ask) -> None:
    sizes = (1, 7, 26, 34, 8333, 8334, 12_501, 100_000, 10**9)
    made = [ask("POST", "estimates", {**ESTIMATE, "num_examples": n}).json() for n in sizes]
    for figure in ("minutes", "cost"):
        figures = [one[figure] for one in made]
        assert figures == sorted(figures)
        assert figures[-1] > figures[0]
    assert all(isinstance(one["minutes"], int) and one["minutes"] >= 1 for one in made)


def test_an_estimate_is_of_any_of_a_models_names(ask: Ask) -> None:
    assert ask("POST", "estimates", {**ESTIMATE, "base_model": ALIAS}).json()["base_model"] == BASE


@pytest.mark.parametrize(
    ("changes", "status", "param"),
    [
        ({"base_model": "nothing"}, 404, "base_model"),
        ({"base_model": "\x00"}, 400, "base_model"),
        ({"num_examples": 0}, 400, "num_examples"),
        ({"num_examples": 10**30}, 400, "num_examples"),
        ({"num_examples": "many"}, 400, "num_examples"),
        ({"num_examples": 1.5}, 400, "num_examples"),
        ({"num_epochs": 1000}, 400, "num_epochs"),
        ({"tokens_per_example": -1}, 400, "tokens_per_example"),
        ({"colour": "red"}, 400, "colour"),
    ],
)
def test_an_estimate_of_nothing_is_refused_by_name(
    ask: Ask, changes: dict[str, Any], status: int, param: str
) -> None:
    refused = ask("POST", "estimates", {**ESTIMATE, **changes})
    assert refused.status_code == status
    assert refused.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "changes",
    [
        {"aliases": [""]},
        {"aliases": ["two words"]},
        {"aliases": ["nul\x00"]},
        {"tasks": []},
        {"licence": ""},
        {"folder": None},
    ],
)
def test_an_entry_that_makes_no_sense_is_refused(ask: Ask, changes: dict[str, Any]) -> None:
    assert ask("PUT", "base-models", {**entry("odd"), **changes}).status_code == 400


def test_an_alias_of_another_model_is_refused(ask: Ask) -> None:
    refused = ask("PUT", "base-models", entry("odd", aliases=[ALIAS]))
    assert refused.status_code == 409
    assert BASE in refused.json()["error"]["message"]


@pytest.mark.parametrize(("method", "path"), READS + WRITES)
def test_the_catalogue_is_for_administrators(
    server: Server, ask: Ask, method: str, path: str
) -> None:
    user = server.new_caller(USER_SCOPES)
    body = {"PUT": entry("odd"), "POST": ESTIMATE}.get(method)
    assert ask(method, path, body, secret=user.secret).status_code == 403
    assert ask(method, path, body, secret="ts_wrong").status_code == 401
