"""Where the clients' servers come from, and the figures that are printed at the end."""

import os
import shutil
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.service import Service

FIGURES = pytest.StashKey[dict[str, str]]()
Figure = Callable[[str, str], None]


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Notes a line of the summary: what was run, and how it went."""
    figures = request.config.stash.setdefault(FIGURES, {})
    return figures.__setitem__


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """`tunesmith serve`, as anyone would run it."""
    running = Service(tmp_path_factory.mktemp("service") / "data")
    running.start()
    yield running
    running.stop()


@pytest.fixture
def needs_node() -> None:
    """CONFORMANCE=python leaves the Node clients out; else a machine without npm fails."""
    if os.environ.get("CONFORMANCE") == "python":
        pytest.skip("CONFORMANCE=python leaves the Node clients out")
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    assert not missing, f"{missing} not found; CONFORMANCE=python leaves the Node clients out"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    figures = terminalreporter.config.stash.get(FIGURES, {})
    if figures:
        terminalreporter.section("conformance")
    width = max(map(len, figures), default=0)
    for name, result in figures.items():
        terminalreporter.write_line(f"{name:{width}}  {result}")
