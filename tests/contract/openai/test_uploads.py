"""Uploads in parts over OpenAI's client, and over connections that do what it does not."""

import asyncio
import hashlib
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from threading import Event
from typing import Any

import httpx
import openai
import pytest
from openai.types import Upload
from openai.types.uploads import UploadPart

from tests.contract.openai.forms import MULTIPART, form, in_chunks, part
from tests.contract.openai.support import EXAMPLES, create_job, error, refused
from tests.contract.server import MAX_MULTIPART_UPLOAD_BYTES, MAX_UPLOAD_BYTES, Caller, Server
from tunesmith.domain.accounts import Scope
from tunesmith.domain.files import Blob
from tunesmith.domain.uploads import MAX_PART_BYTES
from tunesmith.services import uploads
from tunesmith.store.blobs import Blobs

UNKNOWN_UPLOAD = "upload_" + "0" * 24
UNKNOWN_PART = "part_" + "0" * 24
NEW = {"bytes": 6, "filename": "a.bin", "mime_type": "text/plain", "purpose": "user_data"}


def new_upload(client: openai.OpenAI, size: int = 6, **fields: Any) -> Upload:
    return client.uploads.create(**{**NEW, "bytes": size, **fields})


def add(client: openai.OpenAI, upload: Upload, content: bytes) -> UploadPart:
    return client.uploads.parts.create(upload.id, data=content)


def complete(client: openai.OpenAI, upload: Upload, *parts: UploadPart, **more: Any) -> Upload:
    return client.uploads.complete(upload.id, part_ids=[part.id for part in parts], **more)


def content_of(client: openai.OpenAI, upload: Upload) -> bytes:
    assert upload.file is not None
    return client.files.content(upload.file.id).read()


def test_parts_become_a_file(client: openai.OpenAI) -> None:
    upload = new_upload(client)
    assert (upload.object, upload.status, upload.file) == ("upload", "pending", None)
    assert (upload.bytes, upload.filename, upload.purpose) == (6, "a.bin", "user_data")
    assert upload.expires_at == upload.created_at + 3600
    late, early = add(client, upload, b"def"), add(client, upload, b"abc")
    assert (late.object, late.upload_id) == ("upload.part", upload.id)
    done = complete(client, upload, early, late, md5=hashlib.md5(b"abcdef").hexdigest().upper())
    assert (done.id, done.status) == (upload.id, "completed")
    assert done.file is not None
    assert (done.file.bytes, done.file.filename, done.file.status) == (6, "a.bin", "processed")
    assert client.files.retrieve(done.file.id) == done.file
    assert content_of(client, done) == b"abcdef"


def test_ids_look_like_the_originals(client: openai.OpenAI) -> None:
    upload = new_upload(client)
    for outer, prefix in ((upload.id, "upload_"), (add(client, upload, b"x").id, "part_")):
        digits = outer.removeprefix(prefix)
        assert len(digits) == 24
        assert digits.isalnum()


def test_an_upload_may_be_opened_before_its_size_is_known(client: openai.OpenAI) -> None:
    upload = new_upload(client, 0, mime_type="mime_type", purpose="assistants")
    part = add(client, upload, b"Example data")
    with refused(400):
        complete(client, upload, part)
    assert content_of(client, complete(client, upload)) == b""


def test_a_file_in_chunks_from_memory(client: openai.OpenAI) -> None:
    content = bytes(range(256)) * 1000
    done = client.uploads.upload_file_chunked(
        file=content,
        filename="a.bin",
        bytes=len(content),
        mime_type="application/octet-stream",
        purpose="user_data",
        part_size=100_000,
        md5=hashlib.md5(content).hexdigest(),
    )
    assert done.status == "completed"
    assert content_of(client, done) == content


def test_a_training_file_in_chunks_from_a_path(client: openai.OpenAI, tmp_path: Path) -> None:
    path = tmp_path / "train.jsonl"
    path.write_bytes(EXAMPLES)
    done = client.uploads.upload_file_chunked(
        file=path, mime_type="text/jsonl", purpose="fine-tune", part_size=100
    )
    assert done.file is not None
    assert done.file.filename == "train.jsonl"
    assert content_of(client, done) == EXAMPLES
    assert create_job(client, training_file=done.file.id).status == "validating_files"


def test_a_file_in_chunks_without_waiting(server: Server, caller: Caller, tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(range(256)) * 100)

    async def scene() -> bytes:
        async with openai.AsyncOpenAI(
            base_url=f"{server.url}/v1",
            api_key=caller.secret,
            max_retries=0,
            _strict_response_validation=True,
        ) as client:
            done = await client.uploads.upload_file_chunked(
                file=path, mime_type="a/b", purpose="vision", part_size=10_000
            )
            assert done.file is not None
            return (await client.files.content(done.file.id)).read()

    assert asyncio.run(scene()) == path.read_bytes()


def test_parts_may_be_sent_at_once(client: openai.OpenAI) -> None:
    pieces = [bytes([number]) * 50_000 for number in range(8)]
    upload = new_upload(client, 400_000)
    with ThreadPoolExecutor(8) as threads:
        parts = list(threads.map(lambda piece: add(client, upload, piece), pieces))
    assert content_of(client, complete(client, upload, *parts)) == b"".join(pieces)


def test_a_completion_may_be_sent_again_and_at_once(client: openai.OpenAI) -> None:
    upload = new_upload(client, 3_000_000)
    parts = [add(client, upload, bytes([number]) * 1_000_000) for number in range(3)]
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda _: complete(client, upload, *parts), range(4)))
    assert done == [complete(client, upload, *parts)] * 4
    assert [file.id for file in client.files.list()] == [done[0].file and done[0].file.id]
    with refused(400, error("The upload is completed; it cannot be changed any more.")):
        complete(client, upload, *parts[::-1])


def test_others_write_while_parts_are_put_together(
    client: openai.OpenAI, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = new_upload(client, 3)
    part = add(client, upload, b"abc")
    assemble, begun, may_end = uploads.assemble, SimpleQueue[Any](), Event()

    def assemble_slowly(blobs: Blobs, assembly: uploads.Assembly) -> Blob:
        begun.put(assembly)
        assert may_end.wait(10)
        return assemble(blobs, assembly)

    monkeypatch.setattr(uploads, "assemble", assemble_slowly)
    with ThreadPoolExecutor(2) as threads:
        done = [threads.submit(complete, client, upload, part) for _ in range(2)]
        begun.get(timeout=10)
        assert client.uploads.cancel(new_upload(client).id).status == "cancelled"
        may_end.set()
    assert done[0].result() == done[1].result()
    assert begun.empty()  # the bytes were put together once


def test_files_in_parts_expire_as_others_do(
    client: openai.OpenAI, advance: Callable[[float], None]
) -> None:
    upload = new_upload(client, 0, expires_after={"anchor": "created_at", "seconds": 3600})
    advance(1800)
    file = complete(client, upload).file
    assert file is not None
    assert file.expires_at == file.created_at + 3600
    batch = complete(client, new_upload(client, 0, purpose="batch")).file
    assert batch is not None
    assert batch.expires_at == batch.created_at + 30 * 24 * 3600


def test_an_upload_expires_after_an_hour(
    client: openai.OpenAI, advance: Callable[[float], None]
) -> None:
    upload = new_upload(client, 1)
    part = add(client, upload, b"x")
    advance(3600)
    expired = error("The upload is expired; it cannot be changed any more.")
    with refused(400, expired):
        add(client, upload, b"x")
    with refused(400, expired):
        complete(client, upload, part)
    with refused(400, expired):
        client.uploads.cancel(upload.id)


def test_a_cancelled_upload_takes_no_more(client: openai.OpenAI, http: httpx.Client) -> None:
    upload = new_upload(client, 1)
    part = add(client, upload, b"x")
    json_type = {"Content-Type": "application/json"}
    answer = http.post(f"/uploads/{upload.id}/cancel", content=b"", headers=json_type)
    assert Upload.model_validate(answer.json()).status == "cancelled"
    cancelled = error("The upload is cancelled; it cannot be changed any more.")
    with refused(400, cancelled):
        client.uploads.cancel(upload.id)
    with refused(400, cancelled):
        complete(client, upload, part)
    with refused(400, cancelled):
        add(client, upload, b"x" * 5_000_000)


def test_what_is_not_there_is_named(client: openai.OpenAI, stranger: openai.OpenAI) -> None:
    theirs = new_upload(stranger, 0)
    for upload_id in (UNKNOWN_UPLOAD, "upload_x", "file-x", theirs.id):
        gone = error(f"No such Upload object: {upload_id}", param="id")
        with refused(404, gone):
            client.uploads.cancel(upload_id)
        with refused(404, gone):
            client.uploads.complete(upload_id, part_ids=[])
        with refused(404, gone):
            client.uploads.parts.create(upload_id, data=b"x" * 3_000_000)


@pytest.mark.parametrize("upload_id", ["..%2f..", "%00", "%ed%a0%80", "x" * 9000])
@pytest.mark.parametrize("action", ["parts", "complete", "cancel"])
def test_an_id_is_no_path(http: httpx.Client, upload_id: str, action: str) -> None:
    answer = http.post(f"/uploads/{upload_id}/{action}", json={"part_ids": []})
    assert answer.status_code == 404
    assert list(answer.json()["error"]) == ["message", "type", "param", "code"]


def test_parts_of_another_upload_are_not_taken(client: openai.OpenAI) -> None:
    upload, other = new_upload(client, 1), new_upload(client, 1)
    mine, foreign = add(client, upload, b"x"), add(client, other, b"x")
    with refused(400, error("Part 1 is not one of this upload.", param="part_ids")):
        complete(client, upload, foreign)
    with refused(400, error("Name each part once.", param="part_ids")):
        complete(client, upload, mine, mine)
    with refused(400, error("No such part: ../x", param="part_ids")):
        client.uploads.complete(upload.id, part_ids=["../x"])
    with refused(400, error("Part 2 is not one of this upload.", param="part_ids")):
        client.uploads.complete(upload.id, part_ids=[mine.id, UNKNOWN_PART])


def test_a_broken_whole_is_refused_and_can_be_mended(client: openai.OpenAI) -> None:
    upload = new_upload(client, len(EXAMPLES), purpose="fine-tune")
    parts = add(client, upload, EXAMPLES[:50]), add(client, upload, EXAMPLES[50:])
    md5 = hashlib.md5(EXAMPLES).hexdigest()
    with refused(
        400,
        error(
            "The parts have 50 bytes together; the upload was created for 949.", param="part_ids"
        ),
    ):
        complete(client, upload, parts[0])
    with refused(400):
        complete(client, upload, *parts[::-1])
    with refused(400, error("The MD5 of the parts together is " + md5 + ".", param="md5")):
        complete(client, upload, *parts, md5="0" * 32)
    assert content_of(client, complete(client, upload, *parts)) == EXAMPLES


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"bytes": -1}, "bytes"),
        ({"bytes": MAX_MULTIPART_UPLOAD_BYTES + 1}, "bytes"),
        ({"bytes": 10**30}, "bytes"),
        ({"bytes": "6"}, "bytes"),
        ({"bytes": 6.5}, "bytes"),
        ({"bytes": True}, "bytes"),
        ({"bytes": None}, "bytes"),
        ({"filename": "a\0b"}, "filename"),
        ({"filename": "\ud800"}, "filename"),
        ({"filename": "x" * 10_000}, "filename"),
        ({"filename": 1}, "filename"),
        ({"mime_type": None}, "mime_type"),
        ({"purpose": "fine-tune-results"}, "purpose"),
        ({"purpose": "\ud800\0"}, "purpose"),
        ({"purpose": ""}, "purpose"),
        ({"color": "red"}, "color"),
        ({"expires_after": 3600}, "expires_after"),
        ({"expires_after": {"anchor": "created_at", "seconds": 3599}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "created_at", "seconds": "3600"}}, "expires_after.seconds"),
        ({"expires_after": {"anchor": "x", "seconds": 3600}}, "expires_after.anchor"),
        ({"expires_after": {"anchor": "created_at"}}, "expires_after.seconds"),
        (
            {"expires_after": {"anchor": "created_at", "seconds": 3600, "x": [[]]}},
            "expires_after.x",
        ),
    ],
)
def test_a_senseless_upload_is_refused_by_name(
    http: httpx.Client, change: dict[str, Any], param: str
) -> None:
    body = json.dumps({**NEW, **change}).encode()
    answer = http.post("/uploads", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize("missing", NEW)
def test_an_upload_says_all_that_is_asked(http: httpx.Client, missing: str) -> None:
    answer = http.post("/uploads", json={name: NEW[name] for name in NEW if name != missing})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == missing


@pytest.mark.parametrize("purpose", ["assistants", "batch", "fine-tune", "vision", "evals"])
def test_uploads_have_all_purposes_of_files(http: httpx.Client, purpose: str) -> None:
    answer = http.post("/uploads", json={**NEW, "purpose": purpose, "expires_after": None})
    assert (answer.status_code, answer.json()["purpose"]) == (200, purpose)
    assert set(answer.json()) == set(Upload.model_fields)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (b"{}", "part_ids"),
        (b'{"part_ids": null}', "part_ids"),
        (b'{"part_ids": "part_x"}', "part_ids"),
        (b'{"part_ids": [1]}', "part_ids.0"),
        (b'{"part_ids": ["\\ud800"]}', "part_ids"),
        (b'{"part_ids": ["part_\\u0000"]}', "part_ids"),
        (b'{"part_ids": [], "md5": "abc"}', "md5"),
        (b'{"part_ids": [], "md5": ["%s"]}' % (b"0" * 32), "md5"),
        (b'{"part_ids": [], "size": 1}', "size"),
        (b'{"part_ids": [%s]}' % b",".join([b'"x"'] * 10_001), "part_ids"),
        (b"", None),
        (b"[]", None),
        (b'{"part_ids": [', None),
    ],
)
def test_a_senseless_completion_is_refused_by_name(
    http: httpx.Client, client: openai.OpenAI, body: bytes, param: str | None
) -> None:
    path = f"/uploads/{new_upload(client).id}/complete"
    answer = http.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form(), "data"),
        (form(part("file", b"x")), "file"),
        (form(part("data", b"x"), part("data", b"y")), "data"),
        (form(part("data", b"x"), part("md5", b"y")), "md5"),
        (form(part("data", b"x" * 100))[:-20], None),
        (b"", None),
        (b"x" * 100, None),
    ],
)
def test_a_senseless_part_is_refused(
    http: httpx.Client, client: openai.OpenAI, server: Server, body: bytes, param: str | None
) -> None:
    path = f"/uploads/{new_upload(client).id}/parts"
    for content in (body, in_chunks(body, 7)):
        answer = http.post(path, content=content, headers=MULTIPART)
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == param
    assert list(server.incoming.iterdir()) == []


def test_a_part_comes_without_a_length(http: httpx.Client, client: openai.OpenAI) -> None:
    upload = new_upload(client, 300_000)
    body = form(part("data", b"x" * 300_000, "blob"))
    answer = http.post(
        f"/uploads/{upload.id}/parts", content=in_chunks(body, 10_007), headers=MULTIPART
    )
    done = complete(client, upload, UploadPart.model_validate(answer.json()))
    assert content_of(client, done) == b"x" * 300_000


def test_a_part_has_sixty_four_mebibytes_at_most(client: openai.OpenAI, server: Server) -> None:
    assert MAX_PART_BYTES == 67_108_864
    upload = new_upload(client, MAX_PART_BYTES)
    with refused(413, error("A part has at most 67,108,864 bytes.", param="data")):
        add(client, upload, bytes(MAX_PART_BYTES + 1))
    assert list(server.incoming.iterdir()) == []
    whole = add(client, upload, bytes(MAX_PART_BYTES))
    file = complete(client, upload, whole).file
    assert file is not None
    assert file.bytes == MAX_PART_BYTES > MAX_UPLOAD_BYTES


def test_a_key_for_reading_opens_no_upload(server: Server, anyone: openai.OpenAI) -> None:
    reader = server.new_caller(frozenset({Scope.FILES_READ}))
    with refused(403):
        new_upload(anyone.with_options(api_key=reader.secret))
