import pytest

from tunesmith.domain.files import safe_filename


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("train.jsonl", "train.jsonl"),
        ("../../etc/passwd", "passwd"),
        ("C:\\data\\train.jsonl", "train.jsonl"),
        ("a\r\nSet-Cookie: b", "aSet-Cookie: b"),
        ("\ud800half.jsonl", "half.jsonl"),
        ("données.jsonl", "données.jsonl"),
        ("", "upload"),
        ("folder/", "upload"),
        ("x" * 300, "x" * 255),
    ],
)
def test_a_clients_path_becomes_a_plain_name(given: str, kept: str) -> None:
    assert safe_filename(given) == kept
