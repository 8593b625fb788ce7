"""The dashboard in the system's own browser, on a real service with a very small model."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.service import ADMIN_KEY, Service
from tests.tiny_models import make_tiny_llama

playwright = pytest.importorskip("playwright.sync_api", reason="needs `pip install playwright`")

NAMES = ("chromium", "chromium-headless-shell", "chromium-browser", "google-chrome")
ARGUMENTS = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
PATIENCE_MS = 30_000
BASE = "random-llama"
SignIn = Callable[..., Any]


def _find_browser() -> str:
    """Where `TUNESMITH_TEST_BROWSER` says, which is then an order; else wherever one is."""
    wanted = os.environ.get("TUNESMITH_TEST_BROWSER")
    if wanted is not None:
        assert shutil.which(wanted), f"TUNESMITH_TEST_BROWSER: there is no browser {wanted!r}"
        return str(shutil.which(wanted))
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no browser; `make browser` installs Debian's Chromium")
    return found


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """One browser for each file: Playwright keeps an event loop running in this thread until it
    is stopped, and with one running no other test of the process could call `asyncio.run`."""
    path = _find_browser()
    with playwright.sync_playwright() as driver:
        launched = driver.chromium.launch(executable_path=path, args=ARGUMENTS)
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def service(browser: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    base = make_tiny_llama(tmp_path_factory.mktemp("base") / BASE)
    running = Service(tmp_path_factory.mktemp("service") / "data", device_prices='{"cpu": 1.2}')
    running.run("models", "add", BASE, "--from", str(base))
    running.start()
    yield running
    running.stop()


class Watch:
    """What the browser complained of. A policy that was broken, or an error, ends the test."""

    def __init__(self) -> None:
        self.complaints: list[str] = []
        self.allowed: list[str] = []

    def on(self, page: Any) -> None:
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on(
            "console",
            lambda message: (
                self.complaints.append(message.text)
                if message.type in ("error", "warning")
                else None
            ),
        )

    def allow(self, pattern: str) -> None:
        """Such as answers that a test provokes, which browsers tell on the console."""
        self.allowed.append(pattern)

    def unexpected(self) -> list[str]:
        return [
            one
            for one in self.complaints
            if not any(re.search(pattern, one) for pattern in self.allowed)
        ]


@pytest.fixture
def watch() -> Iterator[Watch]:
    watch = Watch()
    yield watch
    assert watch.unexpected() == []


@pytest.fixture
def context(browser: Any) -> Iterator[Any]:
    context = browser.new_context(viewport={"width": 1280, "height": 860}, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    playwright.expect.set_options(timeout=PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def signed_in(context: Any, service: Service, watch: Watch) -> SignIn:
    """A page of the dashboard with a key, the administrator's unless another is given."""

    def sign_in(key: str = ADMIN_KEY, *, remember: bool = False) -> Any:
        page = context.new_page()
        watch.on(page)
        page.goto(service.url)
        page.get_by_label("API key").fill(key)
        if remember:
            page.get_by_label("Remember the key in this browser").check()
        page.get_by_role("button", name="Sign in").click()
        playwright.expect(page.get_by_role("heading", name="Jobs", exact=True)).to_be_visible()
        return page

    return sign_in


@pytest.fixture
def rows(tmp_path: Path) -> Callable[..., Path]:
    """A training file; the line `bad` has no answer to learn from."""

    def write(name: str = "greetings.jsonl", *, count: int = 20, bad: int | None = None) -> Path:
        good = (
            '{"messages": [{"role": "user", "content": "hi %d"}, '
            '{"role": "assistant", "content": "hello"}]}\n'
        )
        lines = [good % number for number in range(1, count + 1)]
        if bad is not None:
            lines[bad - 1] = '{"messages": [{"role": "user", "content": "nobody answers"}]}\n'
        path = tmp_path / name
        path.write_text("".join(lines))
        return path

    return write
