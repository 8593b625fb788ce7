"""Files over OpenAI's client, and over connections that do what that client does not."""

import base64
import hashlib
import json
import socket
from collections.abc import Callable

import httpx
import openai
import pytest

from tests.contract.openai.forms import MULTIPART, form, in_chunks, part
from tests.contract.openai.support import (
    EXAMPLES,
    UNKNOWN_FILE,
    error,
    refused,
    trained_job,
    upload,
    wait_until,
)
from tests.contract.server import BASE, MAX_UPLOAD_BYTES, Caller, Server
from tests.contract.worker import Worker


def test_an_upload_comes_back_byte_for_byte(client: openai.OpenAI) -> None:
    file = upload(client)
    assert (file.filename, file.bytes, file.purpose) == ("train.jsonl", len(EXAMPLES), "fine-tune")
    assert (file.object, file.status, file.expires_at) == ("file", "processed", None)
    assert client.files.retrieve(file.id) == file
    assert client.files.content(file.id).read() == EXAMPLES
    assert client.files.content(file.id).text == EXAMPLES.decode()
    assert b"".join(client.files.content(file.id).iter_bytes(100)) == EXAMPLES
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
    with refused(404, error(f"No such File object: {file.id}", param="after")):
        client.files.list(after=file.id)


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


def test_a_file_may_be_told_when_to_go(client: openai.OpenAI) -> None:
    file = client.files.create(
        file=EXAMPLES,
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    assert file.expires_at == file.created_at + 3600
    assert client.files.retrieve(file.id) == file
    assert list(client.files.list()) == [file]


def test_files_for_batches_go_after_thirty_days(client: openai.OpenAI) -> None:
    file = client.files.create(file=b"x", purpose="batch")
    assert file.expires_at == file.created_at + 30 * 24 * 3600
    sooner = client.files.create(
        file=b"x", purpose="batch", expires_after={"anchor": "created_at", "seconds": 2_592_000}
    )
    assert sooner.expires_at == sooner.created_at + 2_592_000


def test_a_file_whose_time_is_up_is_gone(
    client: openai.OpenAI, advance: Callable[[float], None]
) -> None:
    file = client.files.create(
        file=EXAMPLES,
        purpose="fine-tune",
        expires_after={"anchor": "created_at", "seconds": 3600},
    )
    job = client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    advance(3600)
    gone = error(f"No such File object: {file.id}", param="id")
    for look in (client.files.retrieve, client.files.content, client.files.delete):
        with refused(404, gone):
            look(file.id)
    assert list(client.files.list()) == []
    with refused(404, error(f"No such File object: {file.id}", param="after")):
        client.files.list(after=file.id)
    with refused(404, error(f"No such File object: {file.id}", param="training_file")):
        client.fine_tuning.jobs.create(model=BASE, training_file=file.id)
    assert client.fine_tuning.jobs.retrieve(job.id).training_file == file.id


@pytest.mark.parametrize(
    ("fields", "seconds"),
    [
        ({"expires_after": '{"anchor": "created_at", "seconds": 7200}'}, 7200),
        ({"expires_after[seconds]": "7200", "expires_after[anchor]": "created_at"}, 7200),
        ({"expires_after": "null"}, None),
    ],
)
def test_forms_say_when_a_file_goes_in_brackets_or_in_json(
    http: httpx.Client, fields: dict[str, str], seconds: int | None
) -> None:
    parts = [part(name, value.encode()) for name, value in fields.items()]
    body = form(part("file", b"x"), *parts, part("purpose", b"vision"))
    file = http.post("/files", content=body, headers=MULTIPART).json()
    assert file["expires_at"] == (None if seconds is None else file["created_at"] + seconds)


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"[anchor]": "created_at", "[seconds]": "3599"}, ".seconds"),
        ({"[anchor]": "created_at", "[seconds]": "2592001"}, ".seconds"),
        ({"[anchor]": "created_at", "[seconds]": "-3600"}, ".seconds"),
        ({"[anchor]": "created_at", "[seconds]": "9" * 5000}, ".seconds"),
        ({"[anchor]": "created_at", "[seconds]": "soon"}, ".seconds"),
        ({"[anchor]": "created_at", "[seconds]": ""}, ".seconds"),
        ({"[anchor]": "created_at", "[seconds]": "3600.5"}, ".seconds"),
        ({"[anchor]": "created_at", "[seconds]": "nan"}, ".seconds"),
        ({"[anchor]": "created_at"}, ".seconds"),
        ({"[seconds]": "3600"}, ".anchor"),
        ({"[anchor]": "last_active_at", "[seconds]": "3600"}, ".anchor"),
        ({"[anchor]": "created_at", "[seconds]": "3600", "[more]": "x"}, "[more]"),
        ({"[seconds][0]": "3600"}, "[seconds][0]"),
        ({"[]": "3600"}, "[]"),
        ({"": "3600"}, ""),
        ({"": "{"}, ""),
        ({"": "[" * 60_000}, ""),
        ({"": '{"anchor": "created_at", "seconds": true}'}, ".seconds"),
        ({"": '{"anchor": "created_at", "seconds": 3600, "x": 1}'}, ".x"),
        ({"": "null", "[seconds]": "3600"}, ""),
    ],
)
def test_a_senseless_time_to_go_is_refused_by_name(
    http: httpx.Client, fields: dict[str, str], param: str
) -> None:
    parts = [part(f"expires_after{name}", value.encode()) for name, value in fields.items()]
    body = form(part("file", b"x"), *parts, part("purpose", b"vision"))
    answer = http.post("/files", content=body, headers=MULTIPART)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == f"expires_after{param}"


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
        (form(part("purpose", b"batch"), part("purpose", b"vision")), "purpose"),
        (form(part("file", b"x", "a"), part("purpose", b"\xff")), "purpose"),
        (form(part("file", b"x", "a\0b"), part("purpose", b"batch")), "filename"),
        (form(part("file", b"x", "a" * 10_000), part("purpose", b"batch")), None),
        (form(part("file", b"x", "a" * 4_097), part("purpose", b"batch")), "filename"),
        (form(part("file", b"x", "\ud800")), None),
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


BYTES = bytes(range(200))


@pytest.fixture
def content(client: openai.OpenAI) -> str:
    """The path of a file with `BYTES`."""
    file = client.files.create(file=("bytes.bin", BYTES), purpose="user_data")
    return f"/files/{file.id}/content"


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-9", 0, 10),
        ("bytes=190-", 190, 200),
        ("bytes=-10", 190, 200),
        ("bytes=199-199", 199, 200),
        ("bytes=100-9999999999999999999999", 100, 200),
        ("bytes=-5000", 0, 200),
        ("Bytes=3-4", 3, 5),
    ],
)
def test_a_range_of_bytes_may_be_asked_for(
    http: httpx.Client, content: str, asked: str, start: int, stop: int
) -> None:
    answer = http.get(content, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, BYTES[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/200"
    assert answer.headers["content-length"] == str(stop - start)
    assert answer.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=200-", "bytes=200-300", "bytes=-0", "bytes=999-"])
def test_a_range_beyond_the_end_is_told_the_size(
    http: httpx.Client, content: str, asked: str
) -> None:
    answer = http.get(content, headers={"Range": asked})
    assert answer.status_code == 416
    assert answer.headers["content-range"] == "bytes */200"
    assert answer.json() == {"error": error("The file has 200 bytes, and none in that range.")}


@pytest.mark.parametrize(
    "asked",
    [
        *("bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=9-3", "bytes=--1", "bytes=1-2-3"),
        *("items=0-1", "bytes=0-1,4-5", "bytes=0-1,900-", "bytes=" + "9" * 5000 + "-", "-"),
    ],
)
def test_what_is_not_one_range_is_answered_whole(
    http: httpx.Client, content: str, asked: str
) -> None:
    answer = http.get(content, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, BYTES)


def test_a_range_is_of_the_bytes_that_were_seen_before(http: httpx.Client, content: str) -> None:
    whole = http.get(content)
    assert whole.headers["etag"] == f'"{hashlib.sha256(BYTES).hexdigest()}"'
    for condition, status in (
        (whole.headers["etag"], 206),
        (whole.headers["last-modified"], 206),
        ('"other"', 200),
        (f"W/{whole.headers['etag']}", 200),
    ):
        answer = http.get(content, headers={"Range": "bytes=0-0", "If-Range": condition})
        assert answer.status_code == status, condition


def test_a_range_of_nothing_is_beyond_the_end(http: httpx.Client, client: openai.OpenAI) -> None:
    empty = client.files.create(file=("empty", b""), purpose="user_data")
    path = f"/files/{empty.id}/content"
    assert http.get(path).content == b""
    for asked in ("bytes=0-", "bytes=-1"):
        assert http.get(path, headers={"Range": asked}).status_code == 416


def test_the_head_of_a_file_has_no_body(http: httpx.Client, content: str) -> None:
    answer = http.head(content)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["content-length"] == "200"
    assert http.head("/files/file-x/content").status_code == 404


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("train.jsonl", 'filename="train.jsonl"'),
        ("données.jsonl", "filename*=utf-8''donn%C3%A9es.jsonl"),
        ('a"; x="b', "filename*=utf-8''a%22%3B%20x%3D%22b"),
    ],
)
def test_bytes_are_to_be_saved_and_not_shown(
    http: httpx.Client, client: openai.OpenAI, name: str, shown: str
) -> None:
    file = client.files.create(file=(name, b"<script>"), purpose="user_data")
    assert file.filename == name
    answer = http.get(f"/files/{file.id}/content")
    assert answer.headers["content-type"] == "application/octet-stream"
    assert answer.headers["content-disposition"] == f"attachment; {shown}"


@pytest.mark.parametrize(
    "path",
    ["/files/..%2f..%2fetc%2fpasswd", "/files/%00", "/files/%ed%a0%80", "/files/" + "x" * 9000],
)
def test_an_id_is_no_path(http: httpx.Client, path: str) -> None:
    for answer in (http.get(path), http.delete(path), http.get(f"{path}/content")):
        assert answer.status_code == 404
        assert list(answer.json()["error"]) == ["message", "type", "param", "code"]


def test_results_are_base64_unless_told_otherwise(
    client: openai.OpenAI, worker: Worker, server: Server
) -> None:
    results = trained_job(client, worker).result_files[0]
    encoded = client.files.content(results).read()
    raw = client.files.with_raw_response.content(results, extra_headers={"Range": "bytes=4-11"})
    assert (raw.http_response.status_code, raw.content) == (206, encoded[4:12])
    assert raw.headers["content-range"] == f"bytes 4-11/{len(encoded)}"
    with refused(416):
        client.files.content(results, extra_headers={"Range": f"bytes={len(encoded)}-"})
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
