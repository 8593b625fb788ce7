"""Faults are put into the passes; all else is the real engine."""

import math
from collections.abc import Callable, Generator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.tiny_models import write_jsonl
from tunesmith.engine import passes, trainer
from tunesmith.engine import train as engine_train
from tunesmith.engine.errors import Diverged, OutOfMemory
from tunesmith.engine.events import CheckpointSaved, Finished, Healed, StepDone, TrainEvent
from tunesmith.engine.loss import Figures
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.messages import RunEvent, RunFailed
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import Answer, Wanted, alone, answered
from tunesmith.engine.run import Run, close_run, open_run
from tunesmith.engine.snapshot import SPIKE_WINDOW, LossHistory
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.step import clip_gradient, forward_backward
from tunesmith.engine.train import train
from tunesmith.engine.trainer import Trainer

ROWS = [{"prompt": f"the sea is number {i}", "completion": f" blue {i}"} for i in range(8)]
Passes = Callable[[BaseModel, list[Wanted]], list[Answer]]


@pytest.fixture
def spec(tmp_path: Path) -> TrainSpec:
    """Four steps an epoch."""
    return TrainSpec(
        run_id="run",
        training_file=write_jsonl(tmp_path / "training.jsonl", ROWS),
        output_dir=tmp_path / "output",
        lora=LoraSpec(rank=2),
        num_epochs=3,
        batch_size=2,
        learning_rate=1e-2,
        seed=1,
        max_length_tokens=100,
    )


def fitting(max_tokens: int, num_rows: list[int] | None = None) -> Passes:
    """A device on which passes of more tokens do not fit."""

    def answer(model: BaseModel, wanted: list[Wanted]) -> list[Answer]:
        if sum(one.num_tokens for one in wanted) > max_tokens:
            raise OutOfMemory("The device's memory does not suffice.")
        if num_rows is not None:
            num_rows.extend(len(one.batch.rows) for one in wanted)
        return answered(model, wanted)

    return answer


class Poison:
    """Multiplies the losses of chosen training passes of a run, counted from 1."""

    def __init__(self, *at: int, times: float = math.nan, run_id: str = "run") -> None:
        self._at = at
        self._times = times
        self._run_id = run_id
        self.num_passes = 0

    def __call__(self, model: BaseModel, wanted: list[Wanted]) -> list[Answer]:
        answers = answered(model, wanted)
        return [self._spoilt(*both) for both in zip(wanted, answers, strict=True)]

    def _spoilt(self, wanted: Wanted, answer: Answer) -> Answer:
        if wanted.loss is None or wanted.route is None:
            return answer
        if wanted.route.adapter_id != self._run_id:
            return answer
        self.num_passes += 1
        if self.num_passes not in self._at:
            return answer
        predicted = answer.predicted
        return replace(
            answer, predicted=replace(predicted, logprobs=predicted.logprobs * self._times)
        )


def of_kind(events: list[TrainEvent], kind: type) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def weights_of(events: list[TrainEvent]) -> bytes:
    assert isinstance(events[-1], Finished)
    return (events[-1].path / "adapter_model.safetensors").read_bytes()


def drained(model: BaseModel, asking: Generator[Any, Any, Any]) -> list[Any]:
    return list(alone(model, asking))


def test_a_step_that_does_not_fit_has_the_same_gradient_in_smaller_passes(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = open_run(llama, replace(spec, batch_size=8))
    gradient = run.adapter.flat.grad
    assert gradient is not None
    run.adapter.flat.data.normal_(std=0.05)
    [batch] = run.micro_batches(run.batch(1))
    assert drained(llama, forward_backward(run, [batch])) == []
    whole = gradient.clone()
    gradient.zero_()
    max_tokens = max(len(row.examples[0].token_ids) for row in batch.rows)  # one row at a time
    num_rows: list[int] = []
    monkeypatch.setattr(passes, "answered", fitting(max_tokens, num_rows))
    healed = drained(llama, forward_backward(run, [batch]))
    assert num_rows == [1] * 8
    assert [event.kind for event in healed] == ["smaller_batches"] * len(healed)
    assert 1 < len(healed) < 5  # halved each time
    assert torch.allclose(gradient, whole, rtol=0, atol=1e-6)
    assert float(whole.abs().max()) > 1e-3
    close_run(run)


def test_a_run_keeps_to_the_smaller_passes(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = of_kind(list(train(llama, spec, lambda: False)), StepDone)
    validated = replace(spec, validation_file=spec.training_file, evaluation_batch_steps=1)
    monkeypatch.setattr(passes, "answered", fitting(25))
    events = list(train(llama, validated, lambda: False))
    healed = of_kind(events, Healed)
    assert [event.step for event in healed] == [0] * len(healed)
    done = of_kind(events, StepDone)
    assert [d.loss for d in done] == pytest.approx([d.loss for d in usual], rel=1e-4)
    assert [d.num_tokens for d in done] == [d.num_tokens for d in usual]
    saved = of_kind(events, CheckpointSaved)[0]
    again = list(train(llama, replace(validated, resume_from=saved.path), lambda: False))
    assert not of_kind(again, Healed)
    assert weights_of(again) == weights_of(events)


def test_a_row_that_does_not_fit_by_itself_fails_the_run_with_advice(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passes, "answered", fitting(3))
    with pytest.raises(OutOfMemory, match=r"An example of \d+ tokens .* shorten it"):
        list(train(llama, spec, lambda: False))
    assert "run" not in llama.adapters


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_loss_that_is_no_number_once_costs_the_steps_since_the_last_good_one(
    dropout: float, llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(spec, lora=LoraSpec(rank=2, dropout=dropout))
    usual = of_kind(list(train(llama, spec, lambda: False)), StepDone)
    monkeypatch.setattr(passes, "answered", Poison(7))
    events = list(train(llama, spec, lambda: False))
    [healed] = of_kind(events, Healed)
    assert (healed.step, healed.kind) == (4, "rolled_back")  # the epoch's end
    assert "step 7 is not finite" in healed.message
    assert "0.5 times the learning rate (1 of 2 tries)" in healed.message
    done = of_kind(events, StepDone)
    assert [d.step for d in done] == [1, 2, 3, 4, 5, 6, *range(5, 13)]
    assert done[6].loss == usual[4].loss  # weights and generator are as they were
    assert [d.learning_rate for d in done[6:]] == [d.learning_rate / 2 for d in usual[4:]]
    assert of_kind(events, Finished)[0].trained_tokens == sum(d.num_tokens for d in usual)


def test_weights_that_the_next_step_finds_bad_are_no_place_to_go_back_to(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 4 ends an epoch, and only step 5 can tell what came of it."""
    monkeypatch.setattr(passes, "answered", Poison(5))
    events = list(train(llama, spec, lambda: False))
    [healed] = of_kind(events, Healed)
    assert healed.step == 0
    saved = of_kind(events, CheckpointSaved)
    assert [(s.step, s.epoch) for s in saved] == [(4, 1), (4, 1), (8, 2), (12, 3)]
    resumed = replace(spec, output_dir=spec.output_dir / "resumed", resume_from=saved[2].path)
    monkeypatch.setattr(passes, "answered", Poison(1))
    again = list(train(llama, resumed, lambda: False))
    assert [event.step for event in of_kind(again, Healed)] == [4]  # as that checkpoint knows


def test_validation_that_is_no_number_leads_back_too(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(
        spec,
        validation_file=spec.training_file,
        evaluation_batch_steps=100,
        early_stopping_patience=1,
    )
    losses = iter([math.nan, 3.0, 2.0, 1.0])

    def evaluated(run: Run, rows: Any) -> Generator[Any, Any, Figures]:
        yield from ()
        return Figures(loss=next(losses), token_accuracy=0.5)

    monkeypatch.setattr(engine_train, "evaluate", evaluated)
    events = list(train(llama, spec, lambda: False))
    [healed] = of_kind(events, Healed)
    assert "The validation loss after step 4 is not finite" in healed.message
    assert [s.epoch for s in of_kind(events, CheckpointSaved)] == [1, 2, 3]


def test_a_rate_that_ruins_the_weights_is_lowered_and_then_fails_the_run(
    llama: BaseModel, spec: TrainSpec
) -> None:
    """Nothing is poisoned here: the weights get so large that no gradient comes through."""
    events: list[TrainEvent] = []
    with pytest.raises(Diverged, match=r"without a gradient.* Try a lower learning rate\."):
        events.extend(train(llama, replace(spec, learning_rate=1e4, num_epochs=9), lambda: False))
    healed = of_kind(events, Healed)
    assert [event.kind for event in healed] == ["rolled_back"] * 2
    rates = [d.learning_rate for d in of_kind(events, StepDone) if d.step == 1]
    assert rates == [rates[0], rates[0] / 2, rates[0] / 4]
    assert not of_kind(events, Finished)
    spared = replace(spec, learning_rate=1e4, num_epochs=9, loss_spike_factor=None)
    assert isinstance(list(train(llama, spared, lambda: False))[-1], Finished)


def test_what_trouble_is() -> None:
    def history(*losses: float, grad_norm: float = 1.0) -> LossHistory:
        made = LossHistory()
        for loss in losses:
            made = made.with_next(loss, grad_norm)
        return made

    assert history(2.0, 2.9).num_troubled == 0
    assert history(2.0, 3.1, 9.0, 3.1).num_troubled == 3
    uneven = history(0.6, 9.0, 9.0, 0.6)
    assert (uneven.num_troubled, uneven.highest) == (0, 9.0)  # data that is that uneven
    assert uneven.with_next(13.0, 1.0).num_troubled == 0
    assert uneven.with_next(14.0, 1.0).num_troubled == 1
    assert history(0.1, 0.4, 0.4).num_troubled == 0  # too small to matter
    assert history(2.0, 2.0, grad_norm=0.0).num_troubled == 2
    assert history(0.0, 0.0, grad_norm=0.0).num_troubled == 0  # nothing is left to learn


def test_a_loss_that_is_never_a_number_ends_the_run_after_its_tries(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison = Poison(*range(2, 100))
    monkeypatch.setattr(passes, "answered", poison)
    events: list[TrainEvent] = []
    with pytest.raises(Diverged, match=r"step 1 is not finite\. Try a lower learning rate"):
        events.extend(train(llama, spec, lambda: False))
    assert [event.step for event in of_kind(events, Healed)] == [0, 0]
    assert poison.num_passes == 4  # steps 1 and 2, then step 1 twice more
    assert "run" not in llama.adapters
    with pytest.raises(Diverged):
        list(train(llama, replace(spec, max_rollbacks=0), lambda: False))


def test_a_healed_run_that_is_killed_and_resumed_ends_in_the_same_bytes(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From checkpoints before the fault, such between the last good step and it, and later ones."""

    def fails_at_full_rate(run: Run) -> float:
        if run.step + 1 == 8 and run.rollbacks == 0:
            raise Diverged("The gradient of step 8 is not finite.")
        return clip_gradient(run)

    monkeypatch.setattr(engine_train, "clip_gradient", fails_at_full_rate)
    spec = replace(spec, num_epochs=3, rollback_steps=6, checkpoint_every_seconds=0)
    unbroken = list(train(llama, spec, lambda: False))
    [healed] = of_kind(unbroken, Healed)
    assert healed.step == 6
    saved = of_kind(unbroken, CheckpointSaved)
    assert [s.step for s in saved] == [*range(1, 8), *range(7, 13)]
    assert len({s.path for s in saved}) == len(saved)
    for number, checkpoint in enumerate(saved):
        resumed = replace(
            spec, output_dir=spec.output_dir / f"again-{number}", resume_from=checkpoint.path
        )
        events = list(train(llama, resumed, lambda: False))
        assert weights_of(events) == weights_of(unbroken)
        assert [event.step for event in of_kind(events, Healed)] == ([6] if number < 7 else [])


def test_a_spike_leads_back_but_once_for_a_step(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(spec, num_epochs=8)
    again = 22 - 20 + 22  # the pass in which step 22 is done again, from the epoch's end at 20
    monkeypatch.setattr(passes, "answered", Poison(3, 22, again, times=1000.0))
    events = list(train(llama, spec, lambda: False))
    [healed] = of_kind(events, Healed)  # not of step 3: nothing was usual yet
    assert healed.step == 20
    assert "The loss of step 22 is" in healed.message
    spiked = [d.step for d in of_kind(events, StepDone) if d.loss > 100]
    assert spiked == [3, 22]


def test_what_a_spike_is() -> None:
    losses = LossHistory()
    for _ in range(SPIKE_WINDOW - 1):
        losses = losses.with_next(1.0, 1.0)
    assert not losses.is_spike(1e6, 5.0)  # too early to tell
    losses = losses.with_next(1.0, 1.0)
    assert losses.is_spike(5.1, 5.0)
    assert not losses.is_spike(5.0, 5.0)
    for _ in range(SPIKE_WINDOW):
        losses = losses.with_next(0.01, 1.0)
    assert not losses.is_spike(1.0, 5.0)  # a hard example, no worse than at first
    assert losses.is_spike(5.1, 5.0)
    for _ in range(SPIKE_WINDOW):
        losses = losses.with_next(3.0, 1.0)
    assert not losses.is_spike(15.0, 5.0)


def test_runs_in_company_of_one_that_is_healed_notice_nothing(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They take turns here, so that their weights can be compared to the bit."""
    other = replace(spec, run_id="other", output_dir=spec.output_dir / "other")
    expected = weights_of(list(train(llama, other, lambda: False)))
    for fault, last in ((Poison(6), Finished), (Poison(*range(99)), RunFailed)):
        monkeypatch.setattr(trainer, "answered", fault)
        together = Trainer(llama, max_pass_tokens=0)
        together.open(spec)
        together.open(other)
        told = []
        while not together.is_idle:
            told += list(together.turn())
        by_run = {
            run_id: [
                one.event if isinstance(one, RunEvent) else one
                for one in told
                if one.run_id == run_id
            ]
            for run_id in ("run", "other")
        }
        assert of_kind(by_run["run"], Healed)
        assert isinstance(by_run["run"][-1], last)
        assert not of_kind(by_run["other"], Healed)
        assert weights_of(by_run["other"]) == expected


def test_settings_out_of_range_are_refused(spec: TrainSpec) -> None:
    changes: list[dict[str, Any]] = [
        {"max_rollbacks": -1},
        {"rollback_learning_rate_factor": 0.0},
        {"rollback_steps": 0},
        {"loss_spike_factor": 1.0},
    ]
    for change in changes:
        with pytest.raises(ValueError, match="out of range"):
            replace(spec, **change)


def test_whatever_runs_out_of_memory_is_named_so() -> None:
    for hungry in (lambda: torch.empty(1 << 50), lambda: bytearray(1 << 60)):
        with (
            pytest.raises(OutOfMemory, match=r"memory does not suffice\. Have more\."),
            out_of_memory_named(" Have more."),
        ):
            hungry()
    with pytest.raises(RuntimeError, match="of its own"), out_of_memory_named():
        raise RuntimeError("of its own")


def test_a_run_that_has_no_memory_to_begin_in_fails_alone_and_says_what_helps(
    llama: BaseModel, spec: TrainSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    def adapters_of(run_id: str, lora: LoraSpec, seed: int) -> torch.Tensor:
        return torch.empty(1 << 50)

    monkeypatch.setattr(llama.adapters, "create", adapters_of)
    alone = Trainer(llama)
    alone.open(spec)
    [failed] = alone.turn()
    assert isinstance(failed, RunFailed)
    assert failed.code == "out_of_memory"
    assert "take a lower rank" in failed.message
    assert alone.is_idle
