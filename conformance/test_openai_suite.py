"""OpenAI's Python SDK brings tests of its own: they pass against our server."""

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from conformance.conftest import Figure
from conformance.environments import ROOT, environment, python_with, sdist_of

VERSION = "3.52.0"
NEEDS = ("pytest", "pytest-asyncio", "pytest-xdist", "rich", "trio", "inline-snapshot")
WHAT = (
    "fine_tuning",
    "uploads",
    "test_files.py",
    "test_uploads.py",
    "test_models.py",
    "chat/test_completions.py",
    "test_completions.py",
    "test_embeddings.py",
    "test_responses.py",
    "responses",
    "webhooks",
    "test_webhooks.py",
)
START_SECONDS = 120


def test_openais_own_suite_passes(tmp_path: Path, figure: Figure) -> None:
    sources = sdist_of("openai", VERSION)
    python = python_with(f"openai-{VERSION}-suite", f"openai[aiohttp]=={VERSION}", *NEEDS)
    counts = tmp_path / "counts.json"
    with seeded_server(tmp_path / "data") as url:
        command = [python, "-m", "pytest", "-p", "seeding", "-n", "0", "-W", "default", "-q"]
        options = ["--harness", url, "--figures", counts, "--tb", "line", "--durations", "5"]
        done = subprocess.run(
            [*command, *options, *(f"tests/api_resources/{path}" for path in WHAT)],
            cwd=sources,
            env=environment(
                TEST_API_BASE_URL=f"{url}/v1",
                PYTHONPATH=str(ROOT / "conformance" / "openai_suite"),
            ),
        )
    figure(f"OpenAI Python SDK {VERSION}, its own suite", _told(json.loads(counts.read_text())))
    assert done.returncode == 0


def _told(figures: dict[str, dict[str, int]]) -> str:
    """How many tests passed, and for each reason how many did not."""
    words = {"xfailed": "fail as expected", "xpassed": "pass unexpectedly"}
    counts = [f"{n} {words.get(kind, kind)}" for kind, n in figures["counts"].items() if n]
    reasons = [f"{n:6} {why}" for why, n in figures["reasons"].items()]
    return "\n".join([", ".join(counts), *reasons])


@contextmanager
def seeded_server(folder: Path) -> Iterator[str]:
    """The URL of a running `conformance/seeded_server.py`."""
    log, address = folder.with_suffix(".log"), folder / "url"
    command = [sys.executable, "-m", "conformance.seeded_server", folder]
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(PYTHONPATH=str(ROOT)), stdout=output, stderr=output
        )
    try:
        deadline = time.monotonic() + START_SECONDS
        while not address.is_file() or not address.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
        yield address.read_text()
    finally:
        process.terminate()
        process.wait()
