"""Files over OpenAI's client, and over connections that do what that client does not."""

import base64
import json
import socket
from collections.abc import Iterator

import httpx
import openai
import pytest

from tests.contract.openai.support import (
    EXAMPLES,
    UNKNOWN_FILE,
    error,
    refused,
    trained_job,
    upload,
    wait_until,
)
from tests.contract.server import MAX_UPLOAD_BYTES, Caller, Server
from tests.contract.worker import Worker

BOUNDARY = "xyz"
MULTIPART = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    disposition = f'Content-Disposition: form-data; name="{name}"'
    if filename is not None:
        disposition += f'; filename="{filename}"'
    return f"--{BOUNDARY}\r\n{disposition}\r\n\r\n".encode() + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


def in_chunks(body: bytes, size: int = 1000) -> Iterator[bytes]:
    """Without a length that could be told beforehand."""
    for start in range(0, len(body), size):
        yield body[start : start + size]


def test_an_upload_comes_back_byte_for_byte(client: openai.OpenAI) -> None:
    file = upload(client)
    assert (file.filename, file.bytes, file.purpose) == ("train.jsonl", len(EXAMPLES), "fine-tune")
    assert (file.object, file.status, file.expires_at) == ("file", "processed", None)
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == EXAMPLES
    assert client.files.wait_for_processing(file.id) == file


@pytest.mark.parametrize("purpose", ["assistants", "batch", "vision", "user_data"])
def test_other_purposes_take_any_bytes(client: openai.OpenAI, purpose: str) -> None:
    file = client.files.create(file=b"\x00\xff", purpose=purpose)  # type: ignore[arg-type]
    assert (file.purpose, file.filename) == (purpose, "upload")
    assert client.files.content(file.id).read() == b"\x00\xff"


def test_a_deleted_file_is_gone(client: openai.OpenAI) -> None:
    file = upload(client)
    assert client.files.delete(file.id).model_dump() == {
        "id": file.id,
        "object": "file",
        "deleted": True,
    }
    gone = error(f"No such File object: {file.id}", param="id")
    with refused(404, gone):
        client.files.retrieve(file.id)
    with refused(404, gone):
        client.files.delete(file.id)
    with refused(404, gone):
        client.files.content(file.id)


@pytest.mark.parametrize("file_id", [UNKNOWN_FILE, "file-abc", "nonsense", "file-" + "z" * 22])
def test_an_unknown_file_is_named(client: openai.OpenAI, file_id: str) -> None:
    with refused(404, error(f"No such File object: {file_id}", param="id")):
        client.files.retrieve(file_id)


def test_another_organization_sees_nothing(client: openai.OpenAI, stranger: openai.OpenAI) -> None:
    file = upload(client)
    assert list(stranger.files.list()) == []
    with refused(404):
        stranger.files.content(file.id)


def test_lists_are_paged_to_the_end_in_both_orders(client: openai.OpenAI) -> None:
    ids = [upload(client).id for _ in range(5)]
    assert [file.id for file in client.files.list()] == ids[::-1]
    assert [file.id for file in client.files.list(limit=2)] == ids[::-1]
    assert [file.id for file in client.files.list(limit=2, order="asc")] == ids
    page = client.files.list(limit=2, order="asc", after=ids[0])
    assert (page.first_id, page.last_id, page.has_more) == (ids[1], ids[2], True)  # type: ignore[attr-defined]


def test_lists_are_by_purpose(client: openai.OpenAI) -> None:
    upload(client)
    other = client.files.create(file=b"x", purpose="batch")
    assert [file.id for file in client.files.list(purpose="batch")] == [other.id]
    assert list(client.files.list(purpose="vision")) == []
    with refused(400, error("'party' is not a purpose of files.", param="purpose")):
        client.files.list(purpose="party")


def test_an_unknown_cursor_is_named(client: openai.OpenAI) -> None:
    for after in (UNKNOWN_FILE, "file-x"):
        with refused(404, error(f"No such File object: {after}", param="after")):
            client.files.list(after=after)


@pytest.mark.parametrize("limit", [0, 10_001])
def test_limits_of_pages_are_kept(client: openai.OpenAI, limit: int) -> None:
    with refused(400):
        client.files.list(limit=limit)


def test_what_is_plainly_no_training_file_is_refused(client: openai.OpenAI) -> None:
    message = (
        "Expected file to have JSONL format, where every line is a JSON dictionary. "
        "Line 2: The line is not valid JSON."
    )
    with refused(400, error(message, param="file")):
        upload(client, b'{"messages": []}\nnot json\n')
    with refused(400):
        upload(client, b"")


def test_a_purpose_must_be_known(client: openai.OpenAI) -> None:
    with refused(400):
        client.files.create(file=b"x", purpose="fine-tune-results")  # type: ignore[arg-type]


def test_expiry_is_refused_by_name(client: openai.OpenAI) -> None:
    message = "`expires_after` is not available yet; leave it out."
    with refused(400, error(message, param="expires_after")):
        client.files.create(
            file=EXAMPLES,
            purpose="fine-tune",
            expires_after={"anchor": "created_at", "seconds": 3600},
        )


@pytest.mark.parametrize("file_comes_first", [True, False])
def test_parts_come_in_any_order_without_a_length(
    http: httpx.Client, file_comes_first: bool
) -> None:
    content = json.dumps({"text": "x" * 3_000_000}).encode()
    parts = [part("file", content, "blob"), part("purpose", b"fine-tune")]
    body = form(*(parts if file_comes_first else parts[::-1]))
    answer = http.post("/files", content=in_chunks(body, 10_007), headers=MULTIPART)
    assert answer.status_code == 200, answer.text
    file = answer.json()
    assert (file["filename"], file["bytes"]) == ("blob", len(content))
    assert http.get(f"/files/{file['id']}/content").content == content


@pytest.mark.parametrize("chunk", [1, 7, 4096])
def test_boundaries_may_fall_between_chunks(http: httpx.Client, chunk: int) -> None:
    content = b"--xy\r\n--xy" * 20
    body = form(part("file", content), part("purpose", b"batch"))
    answer = http.post("/files", content=in_chunks(body, chunk), headers=MULTIPART)
    assert http.get(f"/files/{answer.json()['id']}/content").content == content


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form(part("purpose", b"batch")), "file"),
        (form(part("file", b"x", "a")), "purpose"),
        (form(part("file", b"x", "a"), part("purpose", b"party")), "purpose"),
        (form(part("file", b"x", "a"), part("file", b"x", "a")), "file"),
        (form(part("file", b"x", "a"), part("color", b"red")), "color"),
        (form(part("purpose", b"x" * 100_000), part("file", b"x", "a")), "purpose"),
        (form(part("file", b"x", "a"), part("purpose", b"batch"))[:-20], None),
        (b"", None),
        (b"x" * 1000, None),
    ],
)
def test_bad_forms_are_refused(http: httpx.Client, body: bytes, param: str | None) -> None:
    answer = http.post("/files", content=body, headers=MULTIPART)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "multipart/form-data"},
        {**MULTIPART, "Content-Encoding": "gzip"},
    ],
)
def test_other_kinds_of_body_are_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    body = form(part("file", b"x", "a"), part("purpose", b"batch"))
    answer = http.post("/files", content=body, headers=headers)
    assert answer.status_code == 400


@pytest.mark.parametrize("has_length", [True, False])
def test_a_file_over_the_limit_is_answered_as_too_large(
    server: Server, http: httpx.Client, client: openai.OpenAI, has_length: bool
) -> None:
    with refused(413, error(f"The file is larger than the limit of {MAX_UPLOAD_BYTES:,} bytes.")):
        upload(client, b"x" * (8 * MAX_UPLOAD_BYTES))
    body = form(part("file", b"x" * (MAX_UPLOAD_BYTES + 1)), part("purpose", b"batch"))
    content = body if has_length else in_chunks(body, 65_536)
    assert http.post("/files", content=content, headers=MULTIPART).status_code == 413
    assert list(server.incoming.iterdir()) == []
    exact = client.files.create(file=b"x" * MAX_UPLOAD_BYTES, purpose="batch")
    assert exact.bytes == MAX_UPLOAD_BYTES


def test_a_client_that_leaves_in_the_middle_leaves_nothing(server: Server, caller: Caller) -> None:
    head = (
        "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n"
        f"Authorization: Bearer {caller.secret}\r\n"
        f"Content-Type: {MULTIPART['Content-Type']}\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall(head.encode() + part("file", b"x" * 2_000_000, "a"))
        wait_until(lambda: any(server.incoming.iterdir()))
    wait_until(lambda: not any(server.incoming.iterdir()))


def test_an_upload_without_a_valid_key_is_not_read(server: Server) -> None:
    request = "POST /v1/files HTTP/1.1\r\nHost: x\r\nContent-Length: 10000000\r\n"
    with socket.create_connection((server.host, server.port)) as connection:
        connection.sendall((request + "Authorization: Bearer wrong\r\n\r\n").encode())
        assert connection.recv(12) == b"HTTP/1.1 401"


def test_results_are_base64_unless_told_otherwise(
    client: openai.OpenAI, worker: Worker, server: Server
) -> None:
    results = trained_job(client, worker).result_files[0]
    encoded = client.files.content(results).read()
    try:
        server.openai_app.state.results_as_base64 = False
        plain = client.files.content(results).read()
    finally:
        server.openai_app.state.results_as_base64 = True
    assert base64.b64decode(encoded, validate=True) == plain
    header, *rows = plain.decode().splitlines()
    assert header == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert rows[0] == "1,1.0,0.5,,"
    assert client.files.retrieve(results).purpose == "fine-tune-results"
