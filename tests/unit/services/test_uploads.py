import hashlib
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.factories import NOW, Clock, context, organization
from tunesmith.domain import uploads as domain
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.files import FilePurpose
from tunesmith.domain.paging import PageRequest
from tunesmith.domain.uploads import Completion, NewUpload, Upload, UploadPart, UploadStatus
from tunesmith.services import files, uploads
from tunesmith.services.context import Context, House
from tunesmith.services.uploads import Assembly, CompletedUpload
from tunesmith.store.database import Database, Store


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    return context(store, house, owner)


def new_upload(ctx: Context, size_bytes: int, **changes: Any) -> Upload:
    fields: dict[str, Any] = {"purpose": FilePurpose.USER_DATA, "lifetime": None, **changes}
    return uploads.create(ctx, NewUpload(filename="a/b.bin", size_bytes=size_bytes, **fields))


def add_part(ctx: Context, upload: Upload, content: bytes) -> UploadPart:
    return uploads.add_part(ctx, upload.id, ctx.house.blobs.put(content))


def completion(*parts: UploadPart, md5: str | None = None) -> Completion:
    return Completion(part_ids=tuple(part.id for part in parts), md5=md5)


def complete(ctx: Context, upload: Upload, wanted: Completion) -> CompletedUpload:
    begun = uploads.begin_completion(ctx, upload.id, wanted)
    if isinstance(begun, CompletedUpload):
        return begun
    blob = uploads.assemble(ctx.house.blobs, begun)
    return uploads.complete(ctx, begun, blob)


def content_of(ctx: Context, done: CompletedUpload) -> bytes:
    assert done.file is not None
    return files.content(ctx, done.file.id)[1].read_bytes()


def all_files(ctx: Context) -> int:
    return len(files.list_(ctx, PageRequest(limit=99), None).items)


def test_the_parts_make_a_file_in_the_order_that_is_asked_for(ctx: Context) -> None:
    upload = new_upload(ctx, 6, lifetime=timedelta(hours=2))
    late, early = add_part(ctx, upload, b"def"), add_part(ctx, upload, b"abc")
    done = complete(ctx, upload, completion(early, late))
    assert content_of(ctx, done) == b"abcdef"
    assert done.file is not None
    assert (done.file.filename, done.file.purpose) == ("b.bin", FilePurpose.USER_DATA)
    assert done.file.expires_at == NOW + timedelta(hours=2)
    assert done.upload.status is UploadStatus.COMPLETED


def test_the_same_bytes_may_come_twice(ctx: Context) -> None:
    upload = new_upload(ctx, 6)
    one, other = add_part(ctx, upload, b"abc"), add_part(ctx, upload, b"abc")
    assert content_of(ctx, complete(ctx, upload, completion(one, other))) == b"abcabc"


def test_parts_that_are_not_asked_for_are_left_out(ctx: Context) -> None:
    upload = new_upload(ctx, 3)
    add_part(ctx, upload, b"sent in vain")
    wanted = add_part(ctx, upload, b"abc")
    assert content_of(ctx, complete(ctx, upload, completion(wanted))) == b"abc"


def test_nothing_makes_an_empty_file(ctx: Context) -> None:
    assert content_of(ctx, complete(ctx, new_upload(ctx, 0), completion())) == b""


@pytest.mark.parametrize("size_bytes", [2, 4])
def test_the_size_must_be_as_announced(ctx: Context, size_bytes: int) -> None:
    upload = new_upload(ctx, size_bytes)
    part = add_part(ctx, upload, b"abc")
    with pytest.raises(InvalidRequest, match="3 bytes") as refused:
        complete(ctx, upload, completion(part))
    assert refused.value.param == "part_ids"


def test_each_part_is_named_once_and_is_one_of_the_upload(ctx: Context) -> None:
    upload, other = new_upload(ctx, 6), new_upload(ctx, 6)
    part, foreign = add_part(ctx, upload, b"abc"), add_part(ctx, other, b"abc")
    with pytest.raises(InvalidRequest, match="once"):
        complete(ctx, upload, completion(part, part))
    with pytest.raises(InvalidRequest, match="Part 2"):
        complete(ctx, upload, completion(part, foreign))
    with pytest.raises(InvalidRequest, match="Part 1"):
        complete(ctx, upload, Completion(part_ids=(uuid4(), part.id)))


def test_the_md5_is_that_of_the_whole(ctx: Context) -> None:
    upload = new_upload(ctx, 6)
    parts = add_part(ctx, upload, b"abc"), add_part(ctx, upload, b"def")
    with pytest.raises(InvalidRequest, match="MD5") as refused:
        complete(ctx, upload, completion(*parts, md5=hashlib.md5(b"abc").hexdigest()))
    assert refused.value.param == "md5"
    assert all_files(ctx) == 0
    complete(ctx, upload, completion(*parts, md5=hashlib.md5(b"abcdef").hexdigest()))


def test_a_training_file_is_looked_at_when_it_is_whole(ctx: Context) -> None:
    upload = new_upload(ctx, 9, purpose=FilePurpose.TRAINING)
    parts = add_part(ctx, upload, b'{"a": '), add_part(ctx, upload, b"1}\n")
    with pytest.raises(InvalidRequest, match="JSONL"):
        complete(ctx, upload, completion(*parts[::-1]))
    complete(ctx, upload, completion(*parts))


def test_the_same_completion_may_be_asked_for_again(ctx: Context) -> None:
    upload = new_upload(ctx, 6)
    parts = add_part(ctx, upload, b"abc"), add_part(ctx, upload, b"def")
    done = complete(ctx, upload, completion(*parts))
    assert complete(ctx, upload, completion(*parts)) == done
    assert all_files(ctx) == 1
    with pytest.raises(InvalidRequest, match="completed"):
        complete(ctx, upload, completion(*parts[::-1]))
    with pytest.raises(InvalidRequest, match="completed"):
        complete(ctx, upload, completion(*parts, md5="0" * 32))


def test_who_puts_the_same_parts_together_at_once_makes_one_file(ctx: Context) -> None:
    upload = new_upload(ctx, 3)
    wanted = completion(add_part(ctx, upload, b"abc"))
    begun = [uploads.begin_completion(ctx, upload.id, wanted) for _ in range(2)]
    made = []
    for one in begun:
        assert isinstance(one, Assembly)
        made.append(uploads.complete(ctx, one, uploads.assemble(ctx.house.blobs, one)))
    assert made[0] == made[1]
    assert all_files(ctx) == 1


def test_the_first_to_settle_decides(ctx: Context) -> None:
    upload = new_upload(ctx, 3)
    begun = uploads.begin_completion(ctx, upload.id, completion(add_part(ctx, upload, b"abc")))
    uploads.cancel(ctx, upload.id)
    assert isinstance(begun, Assembly)
    with pytest.raises(InvalidRequest, match="cancelled"):
        uploads.complete(ctx, begun, uploads.assemble(ctx.house.blobs, begun))
    assert not ctx.store.uploads.settle(upload.cancelled())
    assert all_files(ctx) == 0


def test_a_file_that_went_again_is_not_told_of(ctx: Context) -> None:
    upload = new_upload(ctx, 0)
    done = complete(ctx, upload, completion())
    assert done.file is not None
    files.delete(ctx, done.file.id)
    assert complete(ctx, upload, completion()).file is None


@pytest.mark.parametrize("end", ["completed", "cancelled", "expired"])
def test_what_is_final_stays_as_it_is(ctx: Context, clock: Clock, end: str) -> None:
    upload = new_upload(ctx, 0)
    if end == "completed":
        complete(ctx, upload, completion())
    elif end == "cancelled":
        assert uploads.cancel(ctx, upload.id).status is UploadStatus.CANCELLED
    else:
        clock.advance(3600)
    with pytest.raises(InvalidRequest, match=end):
        uploads.cancel(ctx, upload.id)
    with pytest.raises(InvalidRequest, match=end):
        add_part(ctx, upload, b"")
    with pytest.raises(InvalidRequest, match=end):
        complete(ctx, upload, Completion(part_ids=(uuid4(),)))


def test_an_upload_has_an_hour(ctx: Context, clock: Clock) -> None:
    upload = new_upload(ctx, 3)
    clock.advance(3599)
    begun = uploads.begin_completion(ctx, upload.id, completion(add_part(ctx, upload, b"abc")))
    clock.advance(1)
    assert isinstance(begun, Assembly)  # in time, if only just
    assert content_of(ctx, uploads.complete(ctx, begun, begun.parts[0].blob)) == b"abc"


def test_bytes_are_kept_while_their_upload_is_pending(ctx: Context, clock: Clock) -> None:
    kept, cancelled, done = (new_upload(ctx, 3) for _ in range(3))
    parts = [
        add_part(ctx, upload, text)
        for upload, text in zip((kept, cancelled, done), (b"abc", b"def", b"ghi"), strict=True)
    ]
    uploads.cancel(ctx, cancelled.id)
    whole = complete(ctx, done, completion(parts[2])).file
    assert whole is not None
    assert ctx.store.files.blobs_in_use() == {parts[0].blob.sha256, whole.blob.sha256}
    assert uploads.remove_expired(ctx.store, clock.advance(3599)) == 0
    assert uploads.remove_expired(ctx.store, clock.advance(1)) == 1
    assert ctx.store.files.blobs_in_use() == {whole.blob.sha256}


def test_old_uploads_are_forgotten_and_their_files_are_not(ctx: Context, clock: Clock) -> None:
    upload = new_upload(ctx, 0)
    done = complete(ctx, upload, completion())
    uploads.remove_expired(ctx.store, clock.advance(24 * 3600 - 1))
    assert complete(ctx, upload, completion()) == done
    uploads.remove_expired(ctx.store, clock.advance(1))
    with pytest.raises(NotFound):
        complete(ctx, upload, completion())
    assert all_files(ctx) == 1


def test_the_bytes_of_parts_are_bounded(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "MAX_PART_BYTES", 4)
    upload = new_upload(ctx, 3)
    for content in (b"abc", b"abc", b"abcd"):
        add_part(ctx, upload, content)
    with pytest.raises(InvalidRequest, match="far larger"):
        add_part(ctx, upload, b"x")


def test_the_number_of_parts_is_bounded(ctx: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "MAX_PARTS", 2)
    upload = new_upload(ctx, 3)
    for _ in range(2):
        add_part(ctx, upload, b"")
    with pytest.raises(InvalidRequest, match="at most 2 parts"):
        add_part(ctx, upload, b"")


def test_two_servers_that_complete_an_upload_at_once_make_one_file(
    database: Database, database_url: str, house: House
) -> None:
    other, owner = Database(database_url), organization()
    with database.write() as store:
        store.accounts.add_organization(owner)
        ctx = context(store, house, owner)
        upload = new_upload(ctx, 3)
        wanted = completion(add_part(ctx, upload, b"abc"))
    both_have_begun = Barrier(2)

    def complete_at(server: Database) -> UUID:
        with server.read() as store:
            begun = uploads.begin_completion(context(store, house, owner), upload.id, wanted)
        assert isinstance(begun, Assembly)
        blob = uploads.assemble(house.blobs, begun)
        both_have_begun.wait(30)
        with server.write() as store:
            done = uploads.complete(context(store, house, owner), begun, blob)
        assert done.file is not None
        return done.file.id

    with ThreadPoolExecutor(2) as pool:
        made = set(pool.map(complete_at, (database, other)))
    other.close()
    with database.read() as store:
        files_there = files.list_(context(store, house, owner), PageRequest(limit=99), None).items
    assert {file.id for file in files_there} == made
    assert len(made) == 1
