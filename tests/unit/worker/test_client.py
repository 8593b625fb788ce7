from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.factories import SHA, registration
from tunesmith.domain.assignments import ReportBatch, Wish
from tunesmith.domain.errors import StaleAttempt, TunesmithError, Unauthenticated, Unavailable
from tunesmith.domain.files import Artifact, Blob
from tunesmith.worker.client import Client, Refused, until_reachable

ARTIFACT = Artifact(name="weights", blob=Blob(sha256=SHA, size_bytes=5))
Answer = Callable[[httpx.Request], httpx.Response]


def client_of(answer: Answer) -> Client:
    """A client whose server is a function."""
    client = Client("http://server", "ts_key")
    client._http = httpx.Client(base_url="http://server", transport=httpx.MockTransport(answer))
    return client


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, Unauthenticated),
        (409, StaleAttempt),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
        (400, Refused),
        (403, Refused),
        (404, Refused),
    ],
)
def test_an_answer_becomes_what_it_means(status: int, kind: type[TunesmithError]) -> None:
    client = client_of(lambda request: httpx.Response(status, json={"message": "Sorry."}))
    with pytest.raises(kind, match="Sorry"):
        client.register(registration())


def test_a_gateways_page_is_no_answer_of_the_server() -> None:
    client = client_of(lambda request: httpx.Response(502, text="<h1>Bad gateway</h1>"))
    with pytest.raises(Unavailable, match="502"):
        client.register(registration())


CALLS: dict[str, Callable[[Client, Path], object]] = {
    "register": lambda client, folder: client.register(registration()),
    "fetch": lambda client, folder: client.fetch(ARTIFACT, folder),
    "publish": lambda client, folder: client.publish(Path(__file__), ARTIFACT.blob),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_server_that_cannot_be_reached_is_unavailable(call: str, tmp_path: Path) -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused")

    with pytest.raises(Unavailable):
        CALLS[call](client_of(refuse), tmp_path)


def test_a_download_that_breaks_off_leaves_no_file(tmp_path: Path) -> None:
    def break_off(request: httpx.Request) -> httpx.Response:
        def body():
            yield b"he"
            raise httpx.ReadError("connection reset")

        return httpx.Response(200, content=body())

    with pytest.raises(Unavailable):
        client_of(break_off).fetch(ARTIFACT, tmp_path)
    assert not (tmp_path / "weights").exists()


def test_a_report_names_its_job_and_attempt() -> None:
    asked = []

    def note(request: httpx.Request) -> httpx.Response:
        asked.append((request.method, request.url.path))
        return httpx.Response(200, json={"wanted": "pause"})

    its = registration().incarnation
    receipt = client_of(note).report(its, 3, ReportBatch(sequence=1))
    assert receipt.wanted is Wish.PAUSE
    assert asked == [("POST", f"/jobs/{its}/attempts/3/reports")]


def test_a_server_that_comes_back_is_reached() -> None:
    troubles = iter([Unavailable("Away."), Unavailable("Away.")])

    def call() -> str:
        for trouble in troubles:
            raise trouble
        return "here"

    assert until_reachable(call, lambda: False, "it", pause_seconds=0.0) == "here"


def test_nobody_waits_for_what_is_not_wanted_any_more() -> None:
    assert until_reachable(lambda: "here", lambda: True, "it") is None
