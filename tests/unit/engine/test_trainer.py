from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import make_tiny_mistral, write_jsonl
from tunesmith.engine import trainer
from tunesmith.engine.errors import OutOfMemory
from tunesmith.engine.events import (
    DataRead,
    Evaluating,
    Finished,
    Reading,
    Started,
    StepDone,
    Stopped,
)
from tunesmith.engine.messages import RunEvent, RunFailed
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import Answer, Wanted, answered
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.trainer import Trainer

ROWS = [{"prompt": f"the sea is number {i}", "completion": f" blue {i}"} for i in range(8)]


@pytest.fixture
def new_spec(tmp_path: Path) -> Callable[..., TrainSpec]:
    def make(run_id: str, rows: list[dict[str, str]] = ROWS, **changes: Any) -> TrainSpec:
        fields: dict[str, Any] = {
            "training_file": write_jsonl(tmp_path / f"{run_id}.jsonl", rows),
            "output_dir": tmp_path / run_id,
            "lora": LoraSpec(rank=2),
            "num_epochs": 1,
            "batch_size": 2,
            "learning_rate": 1e-2,
            "seed": 1,
            "max_length_tokens": 100,
        }
        return TrainSpec(run_id=run_id, **{**fields, **changes})

    return make


class Told:
    """All that runs told, in the order of telling."""

    def __init__(self, together: Trainer) -> None:
        self._together = together
        self.all: list[tuple[str, Any]] = []
        self.of_turns: list[list[Any]] = []

    def turn(self) -> None:
        told = [
            (one.run_id, one.event if isinstance(one, RunEvent) else one)
            for one in self._together.turn()
        ]
        self.of_turns.append([event for _, event in told])
        self.all += told

    def until(self, is_enough: Callable[[], bool]) -> None:
        for _ in range(1000):
            if is_enough():
                return
            self.turn()
        raise AssertionError("it takes for ever")

    def to_the_end(self) -> "Told":
        self.until(lambda: self._together.is_idle)
        return self

    def by(self, run_id: str, kind: type = object) -> list[Any]:
        return [event for who, event in self.all if who == run_id and isinstance(event, kind)]


def test_runs_join_and_leave_between_passes(
    llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    together = Trainer(llama)
    told = Told(together)
    together.open(new_spec("long", num_epochs=6))
    told.until(lambda: len(told.by("long", StepDone)) >= 3)
    together.open(new_spec("short"))
    told.until(lambda: bool(told.by("short", Finished)))
    assert not told.by("long", Finished)
    assert "short" not in llama.adapters
    told.to_the_end()
    assert told.by("long", Finished)
    assert together.is_idle


def test_a_bad_row_ends_its_run_alone(llama: BaseModel, new_spec: Callable[..., TrainSpec]) -> None:
    together = Trainer(llama)
    together.open(new_spec("good"))
    together.open(new_spec("bad", [*ROWS, {"prompt": "x"}]))
    told = Told(together).to_the_end()
    failed = told.by("bad")[-1]
    assert (failed.code, failed.line, failed.file) == ("bad_example", 9, "training")
    assert told.by("good", Finished)


def test_a_run_is_stopped_or_abandoned_alone(
    llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    together = Trainer(llama)
    told = Told(together)
    for name in ("stopped", "abandoned", "left alone"):
        together.open(new_spec(name, num_epochs=2))
    told.until(lambda: all(told.by(name, StepDone) for name in ("stopped", "abandoned")))
    together.stop("stopped")
    together.abandon("abandoned")
    num_told = len(told.by("abandoned"))
    assert "abandoned" not in llama.adapters
    told.to_the_end()
    assert len(told.by("abandoned")) == num_told
    assert isinstance(told.by("stopped")[-1], Stopped)
    assert len(told.by("left alone", StepDone)) == 8
    together.stop("stopped")  # once more does no harm, nor does what follows
    together.abandon("abandoned")


def test_only_so_many_runs_are_open(llama: BaseModel, new_spec: Callable[..., TrainSpec]) -> None:
    together = Trainer(llama, max_runs=2)
    assert together.open(new_spec("a")) is None
    refused = together.open(new_spec("a"))
    assert refused is not None
    assert refused.code == "run_is_open"
    assert together.open(new_spec("b")) is None
    refused = together.open(new_spec("c"))
    assert refused is not None
    assert (refused.run_id, refused.code) == ("c", "too_many_runs")
    told = Told(together).to_the_end()
    assert told.by("a", Finished)
    assert told.by("b", Finished)


def test_reading_a_file_holds_up_no_other(
    llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    """While one reads its data, the others do steps; two that read take turns."""
    together = Trainer(llama)
    told = Told(together)
    together.open(new_spec("trains", num_epochs=40))
    told.until(lambda: bool(told.by("trains", StepDone)))
    together.open(new_spec("reads", ROWS * 100))
    together.open(new_spec("reads too", ROWS * 100))
    before, steps_before = len(told.of_turns), len(told.by("trains", StepDone))
    told.until(lambda: bool(told.by("reads too", DataRead)) and bool(told.by("reads", DataRead)))
    for turn in told.of_turns[before:]:
        assert len([event for event in turn if isinstance(event, Reading)]) <= 1
        assert len([event for event in turn if isinstance(event, Started)]) <= 1
    assert len(told.by("trains", StepDone)) - steps_before >= 8  # as many as each that reads
    assert len(told.by("reads", Reading)) == len(told.by("reads too", Reading)) == 8


def test_others_that_read_keep_nobody_from_beginning(
    llama: BaseModel, new_spec: Callable[..., TrainSpec]
) -> None:
    together = Trainer(llama)
    told = Told(together)
    together.open(new_spec("reads", ROWS * 100))
    told.until(lambda: bool(told.by("reads", Started)))
    names = ["a", "b", "c"]
    for name in names:
        together.open(new_spec(name))
    before = len(told.of_turns)
    told.until(lambda: all(told.by(name, Started) for name in names))
    assert len(told.of_turns) - before <= len(names)


def test_a_turn_is_one_pass_within_the_budget(
    llama: BaseModel, new_spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a step takes several micro-batches, and in an evaluation."""
    passes: list[tuple[int, int]] = []

    def noting(model: BaseModel, wanted: list[Wanted]) -> list[Answer]:
        passes.append((len(wanted), sum(one.num_tokens for one in wanted)))
        return answered(model, wanted)

    monkeypatch.setattr(trainer, "answered", noting)
    together = Trainer(llama, max_pass_tokens=120)
    validation = write_jsonl(new_spec("validation").training_file, ROWS)
    for name in ("a", "b", "c"):
        together.open(
            new_spec(name, batch_size=8, micro_batch_tokens=50, validation_file=validation)
        )
    told = Told(together)
    while not together.is_idle:
        before = len(passes)
        told.turn()
        assert len(passes) - before <= 1
    assert all(num_tokens <= 120 for _, num_tokens in passes)
    assert any(num_runs > 1 for num_runs, _ in passes)
    assert told.by("a", Evaluating)
    assert len(passes) > len(told.by("a", StepDone)) * 3


def test_models_that_take_one_example_at_a_time_train_several_runs_too(
    tmp_path: Path, new_spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = BaseModel.load(make_tiny_mistral(tmp_path / "mistral"))
    together = Trainer(model)
    together.open(new_spec("a"))
    together.open(new_spec("b"))
    told = Told(together).to_the_end()
    assert told.by("a", Finished)
    assert told.by("b", Finished)


def test_a_defect_in_a_shared_pass_ends_only_the_run_that_has_it(
    llama: BaseModel, new_spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(model: BaseModel, wanted: list[Wanted]) -> list[Answer]:
        if any(one.route and one.route.adapter_id == "defect" for one in wanted):
            raise ValueError("what is this?")
        return answered(model, wanted)

    monkeypatch.setattr(trainer, "answered", fails)
    together = Trainer(llama)
    for name in ("a", "defect", "b"):
        together.open(new_spec(name))
    told = Told(together).to_the_end()
    failed = told.by("defect")[-1]
    assert isinstance(failed, RunFailed)
    assert failed.code == "engine_error"
    assert "ValueError: what is this?" in failed.message
    assert told.by("a", Finished)
    assert told.by("b", Finished)


def test_shared_passes_that_were_too_large_become_smaller(
    llama: BaseModel, new_spec: Callable[..., TrainSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = []

    def small(model: BaseModel, wanted: list[Wanted]) -> list[Answer]:
        if sum(one.num_tokens for one in wanted) > 60:
            refused.append(len(wanted))
            raise OutOfMemory("no")
        return answered(model, wanted)

    monkeypatch.setattr(trainer, "answered", small)
    together = Trainer(llama)
    for number in range(6):
        together.open(new_spec(str(number), batch_size=2, num_epochs=2))
    told = Told(together).to_the_end()
    assert len(refused) <= 2
    assert all(told.by(str(number), Finished) for number in range(6))
