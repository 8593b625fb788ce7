"""Asking a server over HTTP, as any program would, with answers that say what to do next."""

import difflib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote
from uuid import UUID, uuid4

import httpx

from tunesmith import app as application
from tunesmith.cli import tls
from tunesmith.cli.options import Exit, fail, load_settings
from tunesmith.cli.ownership import find_server
from tunesmith.dialects import openai, platform
from tunesmith.dialects.platform.translate import inner_job_id
from tunesmith.domain.errors import NotFound
from tunesmith.domain.ids import to_base36
from tunesmith.settings import Settings

_TIMEOUT = httpx.Timeout(60.0, connect=10.0)
_TRIES = 4
_PAGE = 100


class Remote:
    """One server, and the key that it is asked with. Every failure ends the program in words."""

    def __init__(self, url: str, secret: str, certificate: Path | None = None) -> None:
        self.url = url
        self.http = httpx.Client(
            base_url=url,
            headers={"Authorization": f"Bearer {secret}"},
            timeout=_TIMEOUT,
            trust_env=False,
            verify=tls.context(url, certificate) or True,
        )

    def ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Tried again while the server is away or busy; what creates is created once."""
        headers = {"Idempotency-Key": str(uuid4())} if method == "POST" else {}
        for is_last in (*[False] * (_TRIES - 1), True):
            try:
                answer = self.http.request(method, path, headers=headers, **content)
            except httpx.TransportError as error:
                if is_last:
                    self.unreachable(error)
            else:
                if is_last or answer.status_code != 503:
                    return self.checked(answer)
            time.sleep(0.5)
        raise AssertionError  # the last try returns or ends the program

    def read(self, path: str, **query: Any) -> Any:
        return self.ask("GET", path, params=query).json()

    def pages(self, path: str, most: int, **query: Any) -> Iterator[dict[str, Any]]:
        """What an OpenAI list has, page by page, up to so many."""
        after: dict[str, Any] = {}
        while most > 0:
            page = self.read(path, limit=min(most, _PAGE), **query, **after)
            yield from page["data"]
            most -= len(page["data"])
            if not page["data"] or not page["has_more"]:
                return
            after = {"after": page["data"][-1]["id"]}

    def checked(self, answer: httpx.Response) -> httpx.Response:
        if not answer.is_error:
            return answer
        answer.read()
        message = _message(answer)
        match answer.status_code:
            case 401:
                fail(f"{message} Set TUNESMITH_API_KEY to a key of {self.url}.", Exit.NOT_PERMITTED)
            case 403:
                fail(f"{message} `tunesmith keys create` makes other keys.", Exit.NOT_PERMITTED)
            case 404:
                fail(message + self._hint(message), Exit.NOT_FOUND)
        fail(message)

    def unreachable(self, error: Exception) -> NoReturn:
        fail(
            f"{self.url} cannot be reached ({error}). Is the server running? `tunesmith serve` "
            "starts one; TUNESMITH_URL says where it is.",
            Exit.UNREACHABLE,
        )

    def _hint(self, message: str) -> str:
        """The model that was perhaps meant."""
        if "model" not in message:
            return ""
        answer = self.http.get(f"{openai.PREFIX}/models")
        names = [] if answer.is_error else [model["id"] for model in answer.json()["data"]]
        asked = re.search("[`'\"]([^`'\"]+)[`'\"]", message)
        close = difflib.get_close_matches(asked[1] if asked else "", names, 1)
        return f" Did you mean {close[0]}?" if close else " `tunesmith models list` shows them."


@contextmanager
def connected(data_dir: Path | None) -> Iterator[Remote]:
    """The server at TUNESMITH_URL where there is a key for it, else that of the data folder."""
    settings = load_settings(data_dir=data_dir)
    if settings.api_key is None or data_dir is not None:
        remote = _of_data_folder(settings)
    else:
        remote = Remote(settings.url, settings.api_key.get_secret_value(), settings.ca_file)
    with remote.http:
        yield remote


def _of_data_folder(settings: Settings) -> Remote:
    """Where its server listens, and the operator's key, which only the folder's owner can read."""
    found = find_server(settings.data_dir)
    if found is None:
        fail(
            f"No server is running on {settings.data_dir.resolve()}. Start one with `tunesmith "
            "serve`, say where its folder is with --data-dir, or set TUNESMITH_URL and "
            "TUNESMITH_API_KEY.",
            Exit.UNREACHABLE,
        )
    key = (settings.data_dir / application.ADMIN_KEY_FILE).read_text().strip()
    url, certificate = found
    return Remote(url, key, certificate)


def job_path(job_id: str) -> str:
    """Of a job in OpenAI's dialect, whichever dialect or database its id is from."""
    return f"{openai.PREFIX}/fine_tuning/jobs/{openai.translate.outer_id('ftjob-', inner(job_id))}"


def platform_job_path(job_id: str) -> str:
    return f"{platform.PREFIX}/fine-tuning/jobs/ftjob_{to_base36(inner(job_id))}"


def model_path(name: str) -> str:
    return f"{openai.PREFIX}/models/{quote(name, safe='/:@')}"


def inner(job_id: str) -> UUID:
    for read in (
        UUID,
        lambda text: openai.translate.inner_id("job", text),
        inner_job_id,
    ):
        try:
            return read(job_id)
        except (ValueError, NotFound):
            continue
    fail(f"{job_id!r} is no job's id; `tunesmith jobs list` shows them.", Exit.NOT_FOUND)


def _message(answer: httpx.Response) -> str:
    try:
        said = answer.json()
        error = said.get("error") or said["errors"][0]
        return str(error["message"] if isinstance(error, dict) else error)
    except (ValueError, KeyError, TypeError, IndexError, AttributeError):
        return f"The server answered {answer.status_code}."
