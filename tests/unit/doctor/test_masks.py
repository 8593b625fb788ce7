"""Doctor, preview, counts and training agree: what one takes all take, with the same mask."""

from pathlib import Path
from typing import Any

import pytest

from tests.chat_templates import QWEN
from tests.factories import json_lines
from tests.tiny_models import make_tokenizer
from tunesmith.compute.preview import preview
from tunesmith.compute.tokens import counts
from tunesmith.doctor.examination import Examination, method_of
from tunesmith.domain.rules import Severity
from tunesmith.engine import data
from tunesmith.engine.errors import BadExample
from tunesmith.engine.spec import Method

ASKED = {"role": "user", "content": "the sea?"}
LOOK = {"name": "look", "parameters": {"type": "object"}}
TOOL = {"type": "function", "function": LOOK}
THOUGHT = "<think>\n\n</think>\n\n"  # the template's, before what is said last


def said(content: str | None, **beside: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **beside}


def chat(*messages: dict[str, Any], **beside: Any) -> dict[str, Any]:
    return {"messages": list(messages), **beside}


def pair(chosen: dict[str, Any], rejected: dict[str, Any], **asked: Any) -> dict[str, Any]:
    return {
        "input": {"messages": [ASKED, said("what?"), ASKED], **asked},
        "preferred_output": [chosen],
        "non_preferred_output": [rejected],
    }


# Rows, and what is learned of them: nothing where all have to refuse them.
ROWS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "a conversation": (chat(ASKED, said("blue")), [f"{THOUGHT}blue<|end|>"]),
    "two answers": (
        chat(ASKED, said("blue"), ASKED, said("deep")),
        [f"{THOUGHT}blue<|end|>", f"{THOUGHT}deep<|end|>"],
    ),
    "weight 0": (
        chat(ASKED, said("blue", weight=0), ASKED, said("deep", weight=1)),
        [f"{THOUGHT}deep<|end|>"],
    ),
    "weight 0 alone": (chat(ASKED, said("blue", weight=0)), []),
    "half a weight": (chat(ASKED, said("blue", weight=0.5)), []),
    "no answer": (chat(ASKED), []),
    "an empty answer": (chat(ASKED, said("")), [f"{THOUGHT}<|end|>"]),
    "a refusal": (chat(ASKED, said(None, refusal="no")), [f"{THOUGHT}no<|end|>"]),
    "a call": (
        chat(
            ASKED,
            said(None, tool_calls=[{"id": "1", "function": {"name": "look", "arguments": "{}"}}]),
            tools=[TOOL],
        ),
        [
            THOUGHT + '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|end|>',
        ],
    ),
    "an older call": (
        chat(
            ASKED,
            said(None, function_call={"name": "look", "arguments": "{}"}),
            functions=[LOOK],
        ),
        [
            THOUGHT + '<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call><|end|>',
        ],
    ),
    "an instruction": ({"instruction": "hi", "output": "blue"}, [f"{THOUGHT}blue<|end|>"]),
    "an instruction about something": (
        {"instruction": "hi", "input": "the sea", "output": "blue"},
        [f"{THOUGHT}blue<|end|>"],
    ),
    "an instruction without output": ({"instruction": "hi", "output": ""}, []),
    "a prompt": ({"prompt": "the sea is", "completion": " blue"}, [" blue<|end|>"]),
    "a prompt without completion": ({"prompt": "the sea is", "completion": ""}, []),
    "no prompt": ({"prompt": "", "completion": "xyz"}, ["yz<|end|>"]),
    "a text": ({"text": "xyz"}, ["yz<|end|>"]),
    "no text": ({"text": ""}, []),
    "a preference": (
        pair(said("blue"), said("no")),
        [f"{THOUGHT}blue<|end|>", f"{THOUGHT}no<|end|>"],
    ),
    "a preference with tools": (
        pair(said("blue"), said("no"), tools=[TOOL]),
        [f"{THOUGHT}blue<|end|>", f"{THOUGHT}no<|end|>"],
    ),
    "a preference with functions": (pair(said("blue"), said("no"), functions=[LOOK]), []),
    "a preference of weight 0": (pair(said("blue", weight=0), said("no")), []),
    "a preference of weight 1": (pair(said("blue"), said("no", weight=1)), []),
    "a preference after half a weight": (
        pair(said("blue"), said("no"), messages=[ASKED, said("what?", weight=0.5), ASKED]),
        [],
    ),
    "a preference with two answers in one": (
        {**pair(said("blue"), said("no")), "preferred_output": [said("a"), said("b")]},
        [],
    ),
}


@pytest.fixture
def tokenizer() -> Any:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = QWEN
    return tokenizer


@pytest.mark.parametrize("name", ROWS)
def test_what_the_doctor_takes_is_learned_as_it_is_shown(
    name: str, tokenizer: Any, tmp_path: Path
) -> None:
    row, expected = ROWS[name]
    [raw] = json_lines(row)
    path = tmp_path / "row.jsonl"
    path.write_bytes(raw)

    method = method_of(row)
    findings = [*Examination(method).check(raw, 1)]
    assert any(f.severity is Severity.ERROR for f in findings) == (not expected)

    trained = data.open_file(path, tokenizer, 500, method=method.value)
    counted = counts([raw], tokenizer, 500)
    if not expected:
        assert counted["num_refused"] == 1
        with pytest.raises(BadExample):
            trained.read_on()
        return
    trained.read_on()
    [seen] = preview(path, tokenizer, 500, first=1, count=1)["rows"]
    shown = [
        "".join(piece for piece, _, is_learned in text["pieces"] if is_learned)
        for text in seen["texts"]
    ]
    assert shown == expected
    assert counted["mask_sha256"] == trained.mask_sha256
    assert counted["num_trained_tokens"] == trained.num_supervised_tokens
    assert counted["num_tokens"] == trained.num_tokens


@pytest.mark.parametrize("form", ["examples", "preferences"])
def test_all_agree_on_what_a_limit_cuts(form: str, tokenizer: Any, tmp_path: Path) -> None:
    is_pair = form == "preferences"
    rows = [row for row, expected in ROWS.values() if expected]
    rows = [row for row in rows if isinstance(row.get("input"), dict) == is_pair]
    path = tmp_path / "rows.jsonl"
    lines = [*json_lines(*rows)]
    path.write_bytes(b"".join(lines))
    outcomes = set()
    for limit in range(8, 200, 16):
        method: Method = "dpo" if is_pair else "supervised"
        trained = data.open_file(path, tokenizer, limit, method=method)
        counted = counts(lines, tokenizer, limit)
        outcomes.add(counted["num_refused"] > 0)
        if counted["num_refused"]:
            with pytest.raises(BadExample) as raised:
                trained.read_on()
            told = {"line": raised.value.line, "message": raised.value.message}
            assert counted["refused"][0] == told
            continue
        trained.read_on()
        assert counted["mask_sha256"] == trained.mask_sha256
        assert counted["num_truncated"] == trained.num_truncated
        assert counted["num_lost_tokens"] == trained.num_lost_tokens
    assert outcomes == {True, False}
