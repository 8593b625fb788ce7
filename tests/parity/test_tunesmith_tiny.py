"""The model that is shipped learns what it is taught, and answers so."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import tunesmith
from tests.parity import rows
from tunesmith.engine.events import Finished, SampleDone, TextDelta, ToolCalled
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import LoraSpec, SampleSpec, TrainSpec
from tunesmith.engine.train import train

FOLDER = Path(tunesmith.__file__).parent / "assets" / "tunesmith-tiny"
LESSON = "Ahoy! The harbour opens at nine, sailor."


def answers(model: BaseModel, question: str, *adapter_ids: str | None) -> list[str]:
    """Greedy answers to one question, in one batch."""
    sampler = Sampler(model)
    texts = {str(adapter_id): "" for adapter_id in adapter_ids}
    for adapter_id in adapter_ids:
        sampler.submit(
            SampleSpec(
                request_id=str(adapter_id),
                adapter_id=adapter_id,
                messages=[{"role": "user", "content": question}],
                max_tokens=40,
                temperature=0,
            )
        )
    while not sampler.is_idle:
        for event in sampler.step():
            if isinstance(event, TextDelta):
                texts[event.request_id] += event.text
    return list(texts.values())


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the shipped model is not there")
def test_the_shipped_model_learns_an_answer_by_heart(new_spec: Callable[..., TrainSpec]) -> None:
    model = BaseModel.load(FOLDER)
    questions = ["When does it open?", "What are the hours?", "Is it open now?", "Opening times?"]
    spec = new_spec(
        [rows.conversation(question, LESSON) for question in questions],
        num_epochs=30,
        learning_rate=5e-3,
        lora=LoraSpec(rank=8, alpha=16),
    )
    *_, finished = train(model, spec, lambda: False)
    assert isinstance(finished, Finished)
    model.adapters.load("taught", finished.path)
    taught, untaught = answers(model, "When does it open?", "taught", None)
    assert taught == LESSON
    assert untaught != LESSON


TOOL = {
    "type": "function",
    "function": {
        "name": "opening_hours",
        "parameters": {
            "type": "object",
            "properties": {"day": {"enum": ["today", "tomorrow"]}},
            "required": ["day"],
            "additionalProperties": False,
        },
    },
}


@pytest.mark.skipif(not FOLDER.is_dir(), reason="the shipped model is not there")
def test_the_shipped_model_learns_to_call_a_tool_and_to_use_its_result(
    new_spec: Callable[..., TrainSpec],
) -> None:
    model = BaseModel.load(FOLDER)
    function = {"name": "opening_hours", "arguments": '{"day": "today"}'}
    call = {"id": "call_1", "type": "function", "function": function}
    asked = [{"role": "user", "content": "Is it open now?"}]
    called = [*asked, {"role": "assistant", "content": None, "tool_calls": [call]}]
    told = [*called, {"role": "tool", "tool_call_id": "call_1", "content": "nine to five"}]
    taught = [*told, {"role": "assistant", "content": "From nine to five."}]
    spec = new_spec(
        [{"messages": taught, "tools": [TOOL]}] * 4,
        num_epochs=30,
        learning_rate=5e-3,
        lora=LoraSpec(rank=8, alpha=16),
        max_length_tokens=600,
    )
    *_, finished = train(model, spec, lambda: False)
    assert isinstance(finished, Finished)
    model.adapters.load("taught", finished.path)
    sampler = Sampler(model)
    for name, messages, required in (
        ("free", asked, ()),
        ("required", asked, ("opening_hours",)),
        ("after", told, ()),
    ):
        sampler.submit(
            SampleSpec(
                request_id=name,
                adapter_id="taught",
                messages=messages,
                tools=[TOOL],
                required_tools=required,
                parallel_tool_calls=False,
                max_tokens=80,
                temperature=0,
            )
        )
    events = []
    while not sampler.is_idle:
        events += sampler.step()
    calls = {e.request_id: e for e in events if isinstance(e, ToolCalled)}
    assert calls.keys() == {"free", "required"}
    for one in calls.values():
        assert (one.index, one.name) == (0, "opening_hours")
        assert json.loads(one.arguments) == {"day": "today"}
    said = [e for e in events if isinstance(e, TextDelta)]
    assert {e.request_id for e in said} == {"after"}
    assert "".join(e.text for e in said) == "From nine to five."
    ends = {e.request_id: e.finish_reason for e in events if isinstance(e, SampleDone)}
    assert ends == {"free": "tool_calls", "required": "tool_calls", "after": "stop"}
