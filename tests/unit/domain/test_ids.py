from uuid import UUID, uuid4

import pytest

from tunesmith.domain.ids import LENGTH, from_base36, to_base36


@pytest.mark.parametrize("inner", [UUID(int=0), UUID(int=2**128 - 1), uuid4()])
def test_an_id_comes_back(inner: UUID) -> None:
    text = to_base36(inner)
    assert len(text) == LENGTH
    assert from_base36(text) == inner


@pytest.mark.parametrize(
    "text", ["", "0" * 24, "0" * 26, "z" * 25, "A" * 25, "-" * 25, "\u0661" * 25]
)
def test_what_is_no_id_is_none(text: str) -> None:
    assert from_base36(text) is None
