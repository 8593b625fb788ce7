from datetime import timedelta

import pytest

from tests.factories import NOW, Clock, context, job
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import InvalidRequest, NotFound
from tunesmith.domain.files import File, FilePurpose
from tunesmith.domain.jobs import NewJob, PinnedFile
from tunesmith.domain.paging import PageRequest
from tunesmith.services import files, jobs
from tunesmith.services.context import Context, House
from tunesmith.store.database import Store


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    return context(store, house, owner)


def add(
    ctx: Context,
    content: bytes,
    purpose: FilePurpose = FilePurpose.TRAINING,
    lifetime: timedelta | None = None,
) -> File:
    blob = ctx.house.blobs.put(content)
    files.check(ctx.house.blobs, purpose, blob)
    return files.add(ctx, filename="../train.jsonl", purpose=purpose, blob=blob, lifetime=lifetime)


def test_an_upload_can_be_read_back_under_a_plain_name(ctx: Context) -> None:
    file, path = files.content(ctx, add(ctx, b'{"a": 1}\n').id)
    assert (file.filename, path.read_bytes()) == ("train.jsonl", b'{"a": 1}\n')


def test_a_training_file_that_is_plainly_none_is_refused_at_once(ctx: Context) -> None:
    with pytest.raises(InvalidRequest, match="Line 2") as refused:
        add(ctx, b'{"a": 1}\nprompt,completion\n')
    assert refused.value.param == "file"


@pytest.mark.parametrize("content", [b"", b"\n \n"])
def test_an_empty_training_file_is_refused(ctx: Context, content: bytes) -> None:
    with pytest.raises(InvalidRequest, match="empty"):
        add(ctx, content)


def test_only_the_first_lines_are_read_at_upload(ctx: Context) -> None:
    content = b'{"a": 1}\n' * files.NUM_LINES_CHECKED_AT_UPLOAD + b"broken"
    assert add(ctx, content).blob.size_bytes == len(content)


def test_a_file_for_another_purpose_may_be_anything(ctx: Context) -> None:
    assert add(ctx, b"anything", FilePurpose.USER_DATA).purpose is FilePurpose.USER_DATA


@pytest.fixture
def short_lived(ctx: Context) -> File:
    return add(ctx, b'{"a": 1}\n', lifetime=timedelta(hours=1))


def test_a_file_is_there_until_its_time_is_up(
    ctx: Context, short_lived: File, clock: Clock
) -> None:
    assert short_lived.expires_at == NOW + timedelta(hours=1)
    clock.advance(3599)
    assert files.get(ctx, short_lived.id) == short_lived
    clock.advance(1)
    for look in (files.get, files.content, files.delete):
        with pytest.raises(NotFound):
            look(ctx, short_lived.id)
    assert files.list_(ctx, PageRequest(limit=5), None).items == ()
    with pytest.raises(NotFound):
        files.list_(ctx, PageRequest(limit=5, after=short_lived.id), None)
    with pytest.raises(NotFound):
        jobs.create(ctx, NewJob(base_model="base", training_file_id=short_lived.id))


def test_only_what_has_expired_is_removed(ctx: Context, short_lived: File, clock: Clock) -> None:
    stays = add(ctx, b'{"b": 1}\n')
    assert files.remove_expired(ctx.store, clock.advance(3599)) == 0
    assert files.remove_expired(ctx.store, clock.advance(1)) == 1
    assert files.list_(ctx, PageRequest(limit=5), None).items == (stays,)
    assert short_lived.blob.sha256 not in ctx.store.files.blobs_in_use()


def test_a_job_keeps_the_bytes_of_a_file_that_expired(
    ctx: Context, short_lived: File, clock: Clock, owner: Organization
) -> None:
    pinned = PinnedFile(file_id=short_lived.id, blob=short_lived.blob)
    ctx.store.jobs.add(job(owner, training_file=pinned))
    assert files.remove_expired(ctx.store, clock.advance(3600)) == 1
    assert short_lived.blob.sha256 in ctx.store.files.blobs_in_use()
