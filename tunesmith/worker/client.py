"""The worker protocol, from the worker's side."""

import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import httpx
import structlog
from pydantic import TypeAdapter

from tunesmith.domain.assignments import Assignment, Receipt, Registration, ReportBatch
from tunesmith.domain.errors import (
    DiskFull,
    StaleAttempt,
    TunesmithError,
    Unauthenticated,
    Unavailable,
)
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.jobs import Task

log = structlog.get_logger()

PREFIX = "/fleet/v1"
_ASSIGNMENT: TypeAdapter[Assignment | None] = TypeAdapter(Assignment | None)
_REGISTRATION = TypeAdapter(Registration)
_BATCH = TypeAdapter(ReportBatch)
_RECEIPT = TypeAdapter(Receipt)
_CHUNK_BYTES = 1024 * 1024
Result = TypeVar("Result")


class Refused(TunesmithError):
    """The server answered, and will not change its mind."""

    code = "refused"


class ServerFull(Unavailable):
    """The server is there, and its disk is full."""


class Client:
    def __init__(self, server_url: str, key: str, tls: ssl.SSLContext | None = None) -> None:
        self.server_url = server_url.rstrip("/")
        self.key = key
        self.tls = tls
        self._http = httpx.Client(
            base_url=self.server_url + PREFIX,
            headers={"Authorization": f"Bearer {key}"},
            timeout=httpx.Timeout(60.0, connect=5.0),
            verify=self.tls or True,
        )

    def register(self, registration: Registration) -> None:
        self._post("/register", _REGISTRATION.dump_json(registration))

    def lease(self, registration: Registration, task: Task) -> Assignment | None:
        answer = self._post(f"/lease?task={task}", _REGISTRATION.dump_json(registration))
        return _ASSIGNMENT.validate_json(answer.content)

    def report(self, job_id: UUID, attempt: int, batch: ReportBatch) -> Receipt:
        url = f"/jobs/{job_id}/attempts/{attempt}/reports"
        return _RECEIPT.validate_json(self._post(url, _BATCH.dump_json(batch)).content)

    def publish(self, path: Path, blob: Blob, traceparent: str | None = None) -> None:
        """Upload a file; `blob` is what it holds."""
        headers = {"Content-Type": "application/octet-stream"}
        if traceparent is not None:
            headers["traceparent"] = traceparent
        url = f"/blobs/{blob.sha256}"
        _checked(lambda: self._http.put(url, content=_chunks(path), headers=headers))

    def fetch(self, artifact: Artifact, folder: Path) -> Path:
        """Download an artifact into a folder, under its name."""
        target = folder / artifact.name
        self._download(f"/blobs/{artifact.blob.sha256}", {}, target)
        return target

    def fetch_weights(self, base_model: str, file: str, target: Path) -> None:
        self._download(f"/base-models/{file}", {"name": base_model}, target)

    def _post(self, url: str, body: bytes) -> httpx.Response:
        headers = {"Content-Type": "application/json"}
        return _checked(lambda: self._http.post(url, content=body, headers=headers))

    def _download(self, url: str, params: dict[str, str], target: Path) -> None:
        aside = target.with_name(target.name + ".part")
        aside.parent.mkdir(parents=True, exist_ok=True)
        try:
            with self._http.stream("GET", url, params=params) as response:
                if response.is_error:
                    response.read()
                _raise_for(response)
                with aside.open("wb") as file:
                    for chunk in response.iter_bytes(_CHUNK_BYTES):
                        file.write(chunk)
        except httpx.TransportError as error:
            raise Unavailable(f"The server cannot be reached ({error}).") from error
        aside.replace(target)


def _checked(call: Callable[[], httpx.Response]) -> httpx.Response:
    try:
        response = call()
    except httpx.TransportError as error:
        raise Unavailable(f"The server cannot be reached ({error}).") from error
    _raise_for(response)
    return response


def _raise_for(response: httpx.Response) -> None:
    if response.is_success:
        return
    try:
        told = response.json()
        code, message = told["code"], told["message"]
    except (ValueError, KeyError, TypeError):
        code, message = None, response.text[:200]
    if code == DiskFull.code:
        raise ServerFull(message)
    if response.status_code == 401:
        raise Unauthenticated(message)
    if response.status_code == 409:
        raise StaleAttempt(message)
    if response.status_code >= 500 or response.status_code == 429:
        raise Unavailable(f"The server answered {response.status_code}: {message}")
    raise Refused(f"The server answered {response.status_code}: {message}")


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            yield chunk


def until_reachable(
    action: Callable[[], Result], is_over: Callable[[], bool], what: str, pause_seconds: float = 1.0
) -> Result | None:
    """Try until the server answers, or until nobody wants it any more (then None)."""
    while not is_over():
        try:
            return action()
        except Unavailable as error:
            log.warning("server away", wanted=what, reason=error.message)
            time.sleep(pause_seconds)
            pause_seconds = min(pause_seconds * 1.5, 10.0)
    return None
