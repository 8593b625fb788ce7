import pytest

from tests.factories import SHA
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.files import Artifact, Blob, safe_filename


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("train.jsonl", "train.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\train.jsonl", "train.jsonl"),
        ("a\r\nSet-Cookie: b", "aSet-Cookie: b"),
        ("données.jsonl", "données.jsonl"),
        ("", "upload"),
        ("folder/", "upload"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_clients_path_becomes_a_plain_name(given: str, kept: str) -> None:
    assert safe_filename(given) == kept


@pytest.mark.parametrize("given", ["\ud800half.jsonl", "nul\0.jsonl", "x" * 4097, "a/\0/b"])
def test_a_name_that_is_no_name_is_refused(given: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        safe_filename(given)
    assert refused.value.param == "filename"


@pytest.mark.parametrize("name", ["", ".", "..", "../evil", "a/b", "a\\b", "/etc/passwd", "a\0b"])
def test_an_artifact_is_a_file_in_a_folder_and_nowhere_else(name: str) -> None:
    with pytest.raises(InvalidRequest):
        Artifact(name=name, blob=Blob(sha256=SHA, size_bytes=1))
