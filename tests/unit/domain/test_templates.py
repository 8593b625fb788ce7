"""Templates: what stands in the place of a variable."""

from typing import Any

import pytest

from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.graders import Sample
from tunesmith.domain.templates import MAX_LENGTH, UnknownVariable, fill

ITEM: dict[str, Any] = {
    "answer": "Zürich {{ item.other }}",
    "list": ["a", {"b": [1, None]}],
    "0": "zero",
    "two-words": True,
}


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain", "plain"),
        ("{{item.list[0]}}-{{ item.list[0] }}", "a-a"),
        ("{{ item.answer }}", "Zürich {{ item.other }}"),
        ("{{ item.list[1].b[0] }}", "1"),
        ("{{ item.list[1].b[1] }}", "null"),
        ("{{ item.list[1] }}", '{"b": [1, null]}'),
        ("{{ item.0 }} {{ item.two-words }}", "zero true"),
        ('{"a": {"b": {{ item.list[0] }}}}', '{"a": {"b": a}}'),
        ('{{"a": 1}} {{ }} {{', '{{"a": 1}} {{ }} {{'),
        ("{{ sample.output_text }}", '{"x": ["y"]}'),
        ("{{ sample.output_json.x[0] }}", "y"),
        ("{{ sample.choices[0].message.content }}", '{"x": ["y"]}'),
        ("{{ sample.output_tools }}", "[]"),
    ],
)
def test_variables_are_filled_in(template: str, text: str) -> None:
    namespaces = {"item": ITEM, "sample": Sample(text='{"x": ["y"]}').variables()}
    assert fill(template, namespaces) == text


@pytest.mark.parametrize(
    "path",
    [
        "item.nothing",
        "item.list[2]",
        "item.list[99999]",
        "item.list.b",
        "item.answer.x",
        "item.answer[0]",
        "item[0]",
        "other.x",
        "item.__class__",
        "sample.output_json",
    ],
)
def test_a_variable_that_is_not_there_is_named(path: str) -> None:
    namespaces = {"item": ITEM, "sample": Sample(text="no JSON").variables()}
    with pytest.raises(UnknownVariable) as caught:
        fill("{{ " + path + " }}", namespaces)
    assert caught.value.path == path


@pytest.mark.parametrize("text", ["NaN", "[Infinity]", "{", "", "[" * 100_000, "1" * 10_000])
def test_what_is_no_json_gives_no_output_json(text: str) -> None:
    assert "output_json" not in Sample(text=text).variables()


def test_a_text_cannot_grow_out_of_bounds() -> None:
    namespaces = {"item": {"x": "x" * 1000}}
    assert len(fill("{{ item.x }}" * (MAX_LENGTH // 1000), namespaces)) == MAX_LENGTH
    with pytest.raises(InvalidRequest):
        fill("{{ item.x }}" * (MAX_LENGTH // 1000) + "!", namespaces)
    with pytest.raises(InvalidRequest):
        fill("{{ item.x }}" * 10_000, namespaces)
