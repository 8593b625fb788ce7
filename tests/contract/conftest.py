"""A live server, and callers of it; for the contract tests of every dialect."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from tests.contract.server import Caller, ScriptedSampler, Server
from tests.contract.worker import Worker


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.close()


@pytest.fixture
def caller(server: Server) -> Caller:
    """Somebody new, in an organization of their own."""
    return server.new_caller()


@pytest.fixture
def sampler(server: Server) -> Iterator[ScriptedSampler]:
    server.sampler.reset()
    yield server.sampler
    server.sampler.reset()


@pytest.fixture
def advance(server: Server) -> Iterator[Callable[[float], None]]:
    """Puts the server's clock forward, by seconds, until the test is over."""

    def by(seconds: float) -> None:
        server.ahead += timedelta(seconds=seconds)

    yield by
    server.ahead = timedelta()


@pytest.fixture
def worker(server: Server) -> Worker:
    return Worker(server)
