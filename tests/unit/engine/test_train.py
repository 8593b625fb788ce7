from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import (
    make_tiny_gemma2,
    make_tiny_gpt2,
    make_tiny_llama,
    make_tiny_mistral,
    write_jsonl,
)
from tunesmith.engine import checkpoint
from tunesmith.engine.errors import BadCheckpoint, BadExample, Diverged, OutOfMemory
from tunesmith.engine.events import (
    CheckpointSaved,
    DataRead,
    EndedEarly,
    Evaluating,
    Finished,
    Started,
    StepDone,
    Stopped,
    TrainEvent,
)
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.train import train

ROWS = [{"prompt": f"the sea is number {i}", "completion": f" blue {i}"} for i in range(7)]


def never() -> bool:
    return False


@pytest.fixture
def spec(tmp_path: Path) -> TrainSpec:
    return TrainSpec(
        run_id="run",
        training_file=write_jsonl(tmp_path / "training.jsonl", ROWS),
        validation_file=write_jsonl(tmp_path / "validation.jsonl", ROWS[:5]),
        output_dir=tmp_path / "output",
        lora=LoraSpec(rank=2),
        num_epochs=2,
        batch_size=3,
        learning_rate=1e-2,
        seed=1,
        max_length_tokens=100,
        evaluation_batch_steps=2,
    )


def steps(events: list[TrainEvent]) -> list[StepDone]:
    return [event for event in events if isinstance(event, StepDone)]


def test_a_run_tells_its_whole_story(llama: BaseModel, spec: TrainSpec) -> None:
    events = list(train(llama, spec, never))
    started, finished = events[0], events[-1]
    [read] = [event for event in events if isinstance(event, DataRead)]
    assert events.index(read) > events.index(steps(events)[0])  # the first step comes first
    assert isinstance(started, Started)
    assert (started.step, started.total_steps, started.num_examples) == (0, 6, 7)
    assert started.num_validation_examples == 5
    assert isinstance(finished, Finished)
    assert finished.trained_tokens == 2 * read.tokens_per_epoch
    assert finished.trained_tokens == sum(done.num_tokens for done in steps(events))
    assert [done.step for done in steps(events)] == [1, 2, 3, 4, 5, 6]
    assert [done.epoch for done in steps(events)] == [n / 3 for n in range(1, 7)]
    saved = [(e.step, e.epoch) for e in events if isinstance(e, CheckpointSaved)]
    assert saved == [(3, 1), (6, 2)]
    assert (finished.path / "adapter_model.safetensors").is_file()


def test_validation_figures_come_when_they_are_due(llama: BaseModel, spec: TrainSpec) -> None:
    done = steps(list(train(llama, spec, never)))
    assert [d.step for d in done if d.validation_loss is not None] == [2, 4, 6]
    assert [d.step for d in done if d.full_validation_loss is not None] == [3, 6]
    without = replace(spec, validation_file=None)
    assert all(d.validation_loss is None for d in steps(list(train(llama, without, never))))


def test_a_long_evaluation_leaves_room_to_breathe(llama: BaseModel, spec: TrainSpec) -> None:
    narrow = replace(spec, micro_batch_tokens=30)
    assert any(isinstance(event, Evaluating) for event in train(llama, narrow, never))


def test_a_run_stopped_before_its_first_step_has_no_checkpoint(
    llama: BaseModel, spec: TrainSpec
) -> None:
    events = list(train(llama, spec, lambda: True))
    assert events[1:] == [Stopped(step=0, path=None)]


def test_a_finished_run_resumed_finishes_at_once(llama: BaseModel, spec: TrainSpec) -> None:
    saved = [e for e in train(llama, spec, never) if isinstance(e, CheckpointSaved)]
    again = list(train(llama, replace(spec, resume_from=saved[-1].path), never))
    assert [type(event) for event in again] == [Started, Finished]


def test_a_model_that_cannot_be_packed_says_so(tmp_path: Path, spec: TrainSpec) -> None:
    model = BaseModel.load(make_tiny_mistral(tmp_path / "mistral"))
    started = next(iter(train(model, spec, never)))
    assert isinstance(started, Started)
    assert started.notes == (
        "The model's attention reaches back 16 tokens only. Each example is trained alone.",
    )


@pytest.mark.parametrize(
    ("make_model", "words"),
    [
        (make_tiny_llama, []),
        (make_tiny_gpt2, ["The layers are of no kind that is known"]),
        (make_tiny_gemma2, ["answers differently when examples are packed"]),
    ],
)
def test_a_model_that_forbids_shortcuts_says_which(
    make_model: Callable[..., Path], words: list[str], tmp_path: Path, spec: TrainSpec
) -> None:
    started = next(iter(train(BaseModel.load(make_model(tmp_path / "model")), spec, never)))
    assert isinstance(started, Started)
    assert len(started.notes) == len(words)
    assert all(each in note for each, note in zip(words, started.notes, strict=True))


def test_dropout_says_that_prefixes_are_not_shared(llama: BaseModel, spec: TrainSpec) -> None:
    started = next(iter(train(llama, replace(spec, lora=LoraSpec(dropout=0.1)), never)))
    assert isinstance(started, Started)
    assert "dropout" in started.notes[0]


def test_learned_tokens_beyond_the_limit_are_told(llama: BaseModel, spec: TrainSpec) -> None:
    rows = [{"prompt": "a", "completion": " blue" * 40}]
    file = write_jsonl(spec.output_dir.parent / "long.jsonl", rows)
    cut = replace(spec, training_file=file, validation_file=None, max_length_tokens=12)
    [read] = [event for event in train(llama, cut, never) if isinstance(event, DataRead)]
    assert read.num_truncated_examples == 1
    assert "beyond the limit of 12 tokens" in read.notes[0]


def test_a_checkpoint_of_another_precision_is_refused(
    llama: BaseModel, llama_folder: Path, spec: TrainSpec
) -> None:
    saved = [e for e in train(llama, spec, never) if isinstance(e, CheckpointSaved)]
    halved = BaseModel.load(llama_folder, precision="bf16")
    with pytest.raises(BadCheckpoint):
        list(train(halved, replace(spec, resume_from=saved[0].path), never))


def test_a_bf16_base_learns_much_the_same(
    llama: BaseModel, llama_folder: Path, spec: TrainSpec
) -> None:
    halved = BaseModel.load(llama_folder, precision="bf16")
    exact = [done.loss for done in steps(list(train(llama, spec, never)))]
    rounded = [done.loss for done in steps(list(train(halved, spec, never)))]
    assert rounded == pytest.approx(exact, rel=0.05)


def test_a_loss_that_is_no_number_ends_the_run(llama: BaseModel, spec: TrainSpec) -> None:
    wild = replace(spec, learning_rate=1e38, warmup_ratio=0.0)
    with pytest.raises(Diverged):
        list(train(llama, wild, never))
    assert "run" not in llama.adapters


def test_a_run_whose_validation_loss_rises_ends_early(llama: BaseModel, spec: TrainSpec) -> None:
    other = [{"prompt": f"what else {i}", "completion": " is green"} for i in range(5)]
    write_jsonl(spec.validation_file or Path(), other)
    patient = replace(spec, num_epochs=9, learning_rate=0.03, early_stopping_patience=2)
    events = list(train(llama, patient, never))
    losses = [d.full_validation_loss for d in steps(events) if d.full_validation_loss is not None]
    best = losses.index(min(losses))
    assert len(losses) == best + 1 + 2 < 9
    ended, finished = events[-2:]
    assert isinstance(ended, EndedEarly)
    assert (ended.step, ended.total_steps, ended.num_evaluations) == (3 * len(losses), 27, 2)
    assert ended.best_validation_loss == min(losses)
    assert isinstance(finished, Finished)
    assert finished.step == ended.step

    saved = [e for e in events if isinstance(e, CheckpointSaved)]
    assert saved[-1].step == ended.step
    for resume_from, num_steps in ((saved[-1], 0), (saved[-2], 3)):  # its patience is kept too
        again = list(train(llama, replace(patient, resume_from=resume_from.path), never))
        assert len(steps(again)) == num_steps
        assert again[-2] == ended


def test_running_out_of_memory_is_named(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = train(llama, spec, never)
    next(events)

    def fails(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError

    monkeypatch.setattr(llama.network.model, "forward", fails)
    with pytest.raises(OutOfMemory, match="The device's memory does not suffice"):
        list(events)  # of single examples at last


def test_a_bad_row_ends_the_run_with_its_line(llama: BaseModel, spec: TrainSpec) -> None:
    write_jsonl(spec.training_file, [ROWS[0], {"prompt": "x"}])
    with pytest.raises(BadExample) as raised:
        list(train(llama, spec, never))
    assert raised.value.line == 2
    assert "run" not in llama.adapters


def last_checkpoint(llama: BaseModel, spec: TrainSpec) -> Path:
    return [e.path for e in train(llama, spec, never) if isinstance(e, CheckpointSaved)][-1]


def truncated(folder: Path) -> None:
    path = folder / "optimizer.safetensors"
    path.write_bytes(path.read_bytes()[:-10])


def altered(folder: Path) -> None:
    path = folder / "adapter_model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "spoil",
    [
        truncated,
        altered,
        lambda folder: (folder / "training_state.json").unlink(),
        lambda folder: (folder / "manifest.json").unlink(),
    ],
)
def test_a_checkpoint_that_is_not_whole_is_refused(
    spoil: Callable[[Path], Any], llama: BaseModel, spec: TrainSpec
) -> None:
    folder = last_checkpoint(llama, spec)
    spoil(folder)
    with pytest.raises(BadCheckpoint):
        list(train(llama, replace(spec, resume_from=folder), never))
    assert "run" not in llama.adapters


@pytest.mark.parametrize("changes", [{"seed": 2}, {"learning_rate": 1.0}, {"batch_size": 2}])
def test_a_checkpoint_of_another_run_is_refused(
    changes: dict[str, Any], llama: BaseModel, spec: TrainSpec
) -> None:
    folder = last_checkpoint(llama, spec)
    with pytest.raises(BadCheckpoint, match="another run"):
        list(train(llama, replace(spec, resume_from=folder, **changes), never))


def test_a_checkpoint_answers_as_an_adapter(llama: BaseModel, spec: TrainSpec) -> None:
    llama.adapters.load("checkpoint", last_checkpoint(llama, spec))
    assert "checkpoint" in llama.adapters


def test_a_checkpoint_that_could_not_be_written_leaves_the_one_before_whole(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = last_checkpoint(llama, spec)

    def fails(*args: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fails)
    with pytest.raises(OSError, match="No space"):
        list(train(llama, spec, never))
    monkeypatch.undo()
    checkpoint.check_manifest(before)
    assert last_checkpoint(llama, spec) == before


def test_no_partial_folder_is_left_behind(llama: BaseModel, spec: TrainSpec) -> None:
    list(train(llama, spec, never))
    names = sorted(path.name for path in (spec.output_dir / "checkpoints").iterdir())
    assert names == ["step-3", "step-6"]
