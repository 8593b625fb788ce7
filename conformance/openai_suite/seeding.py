"""A plugin for the pytest that runs OpenAI's own suite: seeds what each test takes for granted.

The objects are made by `conformance/seeded_server.py`; this only tells it which test comes next and
which of the known names occur in its source. It also marks the failures that are expected, and
writes down how the tests went.
"""

import inspect
import json
import urllib.request
from collections import Counter
from collections.abc import Iterator
from typing import Any

import openai
import pytest
from expected_failures import EXPECTED_FAILURES, STRICT_ONLY

NAMES = (
    "file-abc123",
    "file_id",
    "ft-AF1WoRqd3aJAHsqc9NY7iL8F",
    "ft:gpt-4o-mini:acemeco:suffix:abc123",
    "ft:gpt-4o-mini-2024-07-18:org:weather:B7R9VjQd",
    "cp_zc4Q7MP6XxulcVzj4MZdwsAB",
    "upload_abc123",
    "after",
)
# A test that could not be seeded is an error, and so is a server that is gone.
REFUSALS = (openai.APIStatusError, openai.APIResponseValidationError)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--harness", required=True, help="URL of the seeded server.")
    parser.addoption("--figures", required=True, help="File for the counts.")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    unseen = {*EXPECTED_FAILURES, *STRICT_ONLY}
    for item in items:
        name = item.nodeid.partition("[")[0].removeprefix("tests/api_resources/")
        name = name.replace("::TestAsync", "::Test")
        variant = item.nodeid.removesuffix("]").partition("[")[2]
        if name in EXPECTED_FAILURES or (name in STRICT_ONLY and variant != "loose"):
            reason = EXPECTED_FAILURES.get(name) or STRICT_ONLY[name]
            mark = pytest.mark.xfail(reason=reason, strict=True, raises=REFUSALS)
            item.add_marker(mark)
            unseen.discard(name)
    if unseen:
        raise pytest.UsageError(f"expected to fail, but not in the suite: {sorted(unseen)}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Iterator[None]:
    """A defect of the server is never expected."""
    try:
        return (yield)
    except openai.InternalServerError as error:
        raise AssertionError(str(error)) from error


@pytest.fixture(autouse=True)
def _seeded(request: pytest.FixtureRequest) -> Iterator[None]:
    source = inspect.getsource(request.function)
    names = [name for name in NAMES if f'"{name}"' in source]
    body = json.dumps({"test": request.node.nodeid, "names": names}).encode()
    url = f"{request.config.getoption('harness')}/seed"
    with urllib.request.urlopen(urllib.request.Request(url, body)):
        yield


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    kinds = ("passed", "failed", "error", "xfailed", "xpassed", "skipped")
    counts = {kind: len(terminalreporter.stats.get(kind, ())) for kind in kinds}
    reasons = Counter(report.wasxfail for report in terminalreporter.stats.get("xfailed", ()))
    with open(config.getoption("figures"), "w") as file:
        json.dump({"counts": counts, "reasons": dict(reasons.most_common())}, file)
