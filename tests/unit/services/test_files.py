import pytest

from tests.factories import context
from tunesmith.domain.accounts import Organization
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.files import File, FilePurpose
from tunesmith.services import files
from tunesmith.services.context import Context, House
from tunesmith.store.database import Store


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    return context(store, house, owner)


def add(ctx: Context, content: bytes, purpose: FilePurpose = FilePurpose.TRAINING) -> File:
    blob = ctx.house.blobs.put(content)
    return files.add(ctx, filename="../train.jsonl", purpose=purpose, blob=blob)


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
