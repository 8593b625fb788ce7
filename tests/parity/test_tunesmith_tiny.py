"""The model that is shipped learns what it is taught, and answers so."""

from collections.abc import Callable
from pathlib import Path

import pytest

import tunesmith
from tests.parity import rows
from tunesmith.engine.events import Finished, TextDelta
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
