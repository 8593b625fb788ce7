"""Stopped and resumed, a run ends in the same bytes as if it had never been interrupted."""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.parity import rows
from tunesmith.engine.events import CheckpointSaved, Finished, Started, StepDone, Stopped
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.train import train


def adapter_bytes(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def stop_after(num_steps: int) -> Callable[[], bool]:
    asked = iter(range(10_000))
    return lambda: next(asked) == num_steps


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_run_stopped_and_resumed_again_and_again_ends_in_the_same_bytes(
    dropout: float, llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    lora = LoraSpec(rank=4, alpha=8, dropout=dropout)
    spec = new_spec(rows.with_shared_prefix(10), num_epochs=4, lora=lora)
    unbroken = list(train(llama, spec, lambda: False))
    expected = unbroken[-1]
    assert isinstance(expected, Finished)

    chance = random.Random(3)
    broken = replace(spec, run_id="broken", output_dir=spec.output_dir / "broken")
    losses = []
    for _ in range(20):
        events = list(train(llama, broken, stop_after(chance.randint(1, 4))))
        losses += [e.loss for e in events if isinstance(e, StepDone)]
        if isinstance(events[-1], Finished):
            break
        assert isinstance(events[-1], Stopped)
        assert events[-1].path is not None
        broken = replace(broken, resume_from=events[-1].path)
    assert isinstance(events[-1], Finished)
    assert isinstance(events[0], Started)
    assert events[0].step > 0
    assert adapter_bytes(events[-1].path) == adapter_bytes(expected.path)
    assert events[-1].trained_tokens == expected.trained_tokens
    assert losses == [e.loss for e in unbroken if isinstance(e, StepDone)]


def test_a_killed_run_goes_on_from_its_last_checkpoint_as_if_nothing_had_happened(
    llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_spec(rows.without_shared_prefix(9), num_epochs=3, checkpoint_every_seconds=0)
    saved = []
    events = train(llama, spec, lambda: False)
    for event in events:
        if isinstance(event, CheckpointSaved):
            saved.append(event.path)
        if isinstance(event, StepDone) and event.step == 5:
            break  # before the checkpoint of step 5
    events.close()
    assert saved[-1].name == "step-4"

    *_, resumed = train(llama, replace(spec, resume_from=saved[-1]), lambda: False)
    again = replace(spec, run_id="again", output_dir=spec.output_dir / "again")
    *_, unbroken = train(llama, again, lambda: False)
    assert isinstance(resumed, Finished)
    assert isinstance(unbroken, Finished)
    assert adapter_bytes(resumed.path) == adapter_bytes(unbroken.path)
