"""Small things that these tests need again and again."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Self

import httpx

from tests import adapter_files
from tests.contract.server import Caller, Server
from tunesmith.domain.adapters import AdapterLimits

MODEL = "@cf/tunesmith/tiny-lora"
CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"


class Account:
    """Somebody with raw requests below `/accounts/{account_id}/ai`."""

    def __init__(self, server: Server, caller: Caller) -> None:
        self.id = caller.organization.id.hex
        self.caller = caller
        self.http = httpx.Client(
            base_url=f"{server.url}/client/v4/accounts/{self.id}/ai",
            headers={"Authorization": f"Bearer {caller.secret}"},
            verify=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    def create(self, name: str = "mine", **fields: Any) -> httpx.Response:
        return self.http.post("/finetunes", json={"model": MODEL, "name": name, **fields})

    def created(self, name: str = "mine", **fields: Any) -> dict[str, Any]:
        return result(self.create(name, **fields))

    def upload(self, finetune: str, name: str, content: bytes, **fields: str) -> httpx.Response:
        return self.http.post(
            f"/finetunes/{finetune}/finetune-assets",
            data={"file_name": name, **fields},
            files={"file": ("blob", content)},
        )

    def whole(self, name: str = "mine", **fields: Any) -> dict[str, Any]:
        """A finetune with both of its files."""
        finetune = self.created(name, **fields)
        result(self.upload(finetune["id"], CONFIG, adapter_files.config()))
        result(self.upload(finetune["id"], WEIGHTS, adapter_files.weights()))
        return finetune

    def list_(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = result(self.http.get("/finetunes"))
        return found

    def one(self, finetune: str) -> dict[str, Any]:
        found: dict[str, Any] = result(self.http.get(f"/finetunes/{finetune}"))
        return found

    def file_names(self, finetune: str) -> list[str]:
        assets = result(self.http.get(f"/finetunes/{finetune}/finetune-assets"))
        return [asset["file_name"] for asset in assets]


def result(answer: httpx.Response) -> Any:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["success"], body["errors"], body["messages"]) == (True, [], [])
    return body["result"]


def refused(answer: httpx.Response, status: int, *numbers: int) -> list[dict[str, Any]]:
    """The answer is a failure in the envelope with these numbers; returns its errors."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert (body["success"], body["result"], body["messages"]) == (False, None, [])
    assert tuple(error["code"] for error in body["errors"]) == numbers
    errors: list[dict[str, Any]] = body["errors"]
    return errors


@contextmanager
def limits(server: Server, **changes: Any) -> Iterator[None]:
    house = server.house
    before = house.adapter_limits
    object.__setattr__(house, "adapter_limits", replace(AdapterLimits(), **changes))
    try:
        yield
    finally:
        object.__setattr__(house, "adapter_limits", before)
