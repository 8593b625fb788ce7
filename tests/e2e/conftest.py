"""A service with a very small random base model, made on the spot."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.service import Service
from tests.tiny_models import make_tiny_llama

BASE = "random-llama"
ServiceMaker = Callable[..., Service]


@pytest.fixture(scope="session")
def base_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_llama(tmp_path_factory.mktemp("base") / "random-llama")


@pytest.fixture(scope="module")
def make_service(
    tmp_path_factory: pytest.TempPathFactory, base_folder: Path
) -> Iterator[ServiceMaker]:
    """Services that offer `BASE`, not yet started; ended with the module."""
    made: list[Service] = []

    def make(command: str = "serve", **settings: str) -> Service:
        service = Service(tmp_path_factory.mktemp("service") / "data", command, **settings)
        service.run("models", "add", BASE, "--from", str(base_folder))
        made.append(service)
        return service

    yield make
    for service in made:
        if service.process is not None and service.process.poll() is None:
            service.kill()


@pytest.fixture(scope="module")
def service(make_service: ServiceMaker) -> Service:
    started = make_service()
    started.start()
    return started


def conversations(num_rows: int, start: int = 0) -> bytes:
    """Training rows whose answers follow from the question."""
    colours = ["red", "green", "blue", "black", "white"]
    rows = []
    for number in range(start, start + num_rows):
        colour = colours[number % len(colours)]
        messages = [
            {"role": "system", "content": "Answer with the code of the colour."},
            {"role": "user", "content": f"Item {number} is {colour}."},
            {"role": "assistant", "content": f"code-{colour[:2]}"},
        ]
        rows.append(json.dumps({"messages": messages}))
    return "\n".join(rows).encode()
