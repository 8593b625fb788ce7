"""Runs that train together are what they are alone, whatever happens to their company."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from tests.generators import returned
from tests.parity import rows
from tests.parity.reference import move_away
from tests.parity.test_resume import adapter_bytes
from tunesmith.engine import peft_format, trainer
from tunesmith.engine.errors import OutOfMemory
from tunesmith.engine.events import Finished, Healed, StepDone
from tunesmith.engine.messages import RunEvent, RunFailed
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import Answer, Wanted, alone, answered
from tunesmith.engine.run import Run, close_run, open_run
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.step import forward_backward
from tunesmith.engine.train import train
from tunesmith.engine.trainer import Trainer

Specs = dict[str, TrainSpec]


@pytest.fixture
def specs(new_spec: Callable[..., TrainSpec]) -> Specs:
    """Runs that have as little in common as can be."""
    validation = new_spec(rows.with_several_turns(5)).training_file
    return {
        "plain": new_spec(
            rows.with_shared_prefix(10), run_id="plain", validation_file=validation, num_epochs=5
        ),
        "narrow": new_spec(
            rows.without_shared_prefix(7),
            run_id="narrow",
            lora=LoraSpec(rank=2, alpha=3, targets=("q_proj", "layers.1.mlp.up_proj")),
            batch_size=1,
            learning_rate=1e-2,
            lr_schedule="linear",
            num_epochs=3,
        ),
        "dropout": new_spec(
            rows.with_several_turns(8),
            run_id="dropout",
            lora=LoraSpec(rank=3, alpha=6, dropout=0.2),
            batch_size=8,
            micro_batch_tokens=250,
            num_epochs=5,
            seed=5,
            max_grad_norm=0.1,
        ),
        "preference": new_spec(
            rows.preferences(6),
            run_id="preference",
            method="dpo",
            lora=LoraSpec(rank=8, alpha=8, use_rslora=True),
            batch_size=3,
            num_epochs=3,
        ),
    }


def elsewhere(spec: TrainSpec) -> TrainSpec:
    return replace(spec, output_dir=spec.output_dir / "elsewhere")


def trained_alone(model: BaseModel, spec: TrainSpec) -> list[Any]:
    return list(train(model, elsewhere(spec), lambda: False))


def trained_together(
    model: BaseModel, specs: list[TrainSpec], **options: Any
) -> dict[str, list[Any]]:
    """What each run told; all begin at once."""
    together = Trainer(model, **options)
    told: dict[str, list[Any]] = {}
    for spec in specs:
        assert together.open(spec) is None
    while not together.is_idle:
        for one in together.turn():
            told.setdefault(one.run_id, []).append(one.event if isinstance(one, RunEvent) else one)
    return told


def weights(finished: Finished) -> torch.Tensor:
    saved = peft_format.read(finished.path).weights
    return torch.cat([tensor.flatten() for pair in saved.values() for tensor in pair])


def assert_same(together: list[Any], by_itself: list[Any]) -> None:
    """The same events in the same order, with the same figures within rounding."""
    assert [type(event) for event in together] == [type(event) for event in by_itself]
    for one, other in zip(together, by_itself, strict=True):
        if isinstance(one, StepDone):
            assert figures(one) == pytest.approx(figures(other), rel=1e-4, abs=1e-6)
    difference = weights(together[-1]) - weights(by_itself[-1])
    assert difference.norm() / weights(by_itself[-1]).norm() < 1e-4


def figures(done: StepDone) -> list[float]:
    told = [
        done.step,
        done.loss,
        done.learning_rate,
        done.grad_norm,
        done.num_tokens,
        done.validation_loss,
        done.full_validation_loss,
        done.chosen_reward,
        done.rejected_reward,
    ]
    return [-1.0 if figure is None else figure for figure in told]


@pytest.fixture
def passes(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Whose batches went into each pass that succeeded."""
    noted: list[list[str]] = []

    def noting(model: BaseModel, wanted: list[Wanted]) -> list[Answer]:
        answers = answered(model, wanted)
        noted.append([one.route.adapter_id if one.route else "base" for one in wanted])
        return answers

    monkeypatch.setattr(trainer, "answered", noting)
    return noted


def test_runs_that_share_passes_are_what_they_are_alone(
    llama: BaseModel, specs: Specs, passes: list[list[str]]
) -> None:
    told = trained_together(llama, list(specs.values()))
    assert any(len(members) == 4 for members in passes)
    for run_id, spec in specs.items():
        assert isinstance(told[run_id][-1], Finished)
        assert_same(told[run_id], trained_alone(llama, spec))


def test_runs_that_take_turns_are_what_they_are_alone_to_the_bit(
    llama: BaseModel, specs: Specs, passes: list[list[str]]
) -> None:
    told = trained_together(llama, list(specs.values()), max_pass_tokens=0)
    assert all(len(members) == 1 for members in passes)
    for run_id, spec in specs.items():
        by_itself = trained_alone(llama, spec)
        assert adapter_bytes(told[run_id][-1].path) == adapter_bytes(by_itself[-1].path)


@pytest.fixture
def opened(llama: BaseModel, specs: Specs) -> Iterator[dict[str, Run]]:
    """Each somewhat on its way."""
    runs = {run_id: open_run(llama, spec) for run_id, spec in specs.items()}
    for run in runs.values():
        move_away(run)
    yield runs
    for run in runs.values():
        close_run(run)


def gradient(run: Run) -> torch.Tensor:
    assert run.adapter.flat.grad is not None
    taken = run.adapter.flat.grad.clone()
    run.adapter.flat.grad.zero_()
    return taken


def first_wanted(run: Run) -> Wanted:
    """The pass that the gradient of the run's first micro-batch comes from."""
    asking = forward_backward(run, run.micro_batches(run.batch(1))[:1])
    wanted = next(asking)
    if wanted.loss is None:  # of the reference
        wanted = asking.send(answered(run.model, [wanted])[0])
    return wanted


def test_a_gradient_is_the_same_in_company(llama: BaseModel, opened: dict[str, Run]) -> None:
    wanted = {run_id: first_wanted(run) for run_id, run in opened.items()}
    states = {run_id: run.generator.get_state() for run_id, run in opened.items()}
    answered(llama, list(wanted.values()))
    in_company = {run_id: gradient(run) for run_id, run in opened.items()}
    for run_id, run in opened.items():
        run.generator.set_state(states[run_id])  # for the same dropout
        answered(llama, [wanted[run_id]])
        expected = gradient(run)
        assert (in_company[run_id] - expected).norm() / expected.norm() < 1e-6


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_what_is_no_number_stays_with_its_run(
    poison: float, llama: BaseModel, opened: dict[str, Run]
) -> None:
    spoilt = opened["plain"]
    wanted = {run_id: first_wanted(run) for run_id, run in opened.items()}
    states = {run_id: run.generator.get_state() for run_id, run in opened.items()}
    healthy = [a.predicted.logprobs for a in answered(llama, list(wanted.values()))]
    expected = {run_id: gradient(run) for run_id, run in opened.items()}
    spoilt.adapter.flat.data.fill_(poison)
    for run_id, run in opened.items():
        run.generator.set_state(states[run_id])
    beside = [a.predicted.logprobs for a in answered(llama, list(wanted.values()))]
    for run_id, was, now in zip(wanted, healthy, beside, strict=True):
        got = gradient(opened[run_id])
        if run_id == "plain":
            assert not torch.isfinite(now).any()
            assert not torch.isfinite(got).all()
        else:
            assert torch.equal(was, now)
            assert torch.equal(got, expected[run_id])


def test_a_run_that_diverges_takes_no_other_along(
    llama: BaseModel, specs: Specs, passes: list[list[str]]
) -> None:
    wild = replace(specs["plain"], learning_rate=1e38, warmup_ratio=0.0)
    others = [specs["narrow"], specs["preference"]]
    told = trained_together(llama, [wild, *others])
    assert isinstance(told["plain"][-1], RunFailed)
    assert told["plain"][-1].code == "diverged"
    assert [m for m in passes if "plain" in m and len(m) > 1]
    for spec in others:
        assert_same(told[spec.run_id], trained_alone(llama, spec))


class LittleMemory:
    """The model's forward fails, once done, for more than `max_tokens`."""

    def __init__(
        self, model: BaseModel, monkeypatch: pytest.MonkeyPatch, *, max_tokens: int
    ) -> None:
        self.num_refused = 0
        forward = model.network.model.forward

        def limited(*args: Any, **kwargs: Any) -> Any:
            result = forward(*args, **kwargs)
            if kwargs["input_ids"].numel() > max_tokens:
                self.num_refused += 1
                raise torch.OutOfMemoryError
            return result

        monkeypatch.setattr(model.network.model, "forward", limited)


def test_only_a_run_with_an_example_that_does_not_fit_runs_out_of_memory(
    llama: BaseModel,
    specs: Specs,
    new_spec: Callable[..., TrainSpec],
    passes: list[list[str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    roomy = new_spec(rows.without_shared_prefix(40), run_id="roomy", batch_size=40)
    memory = LittleMemory(llama, monkeypatch, max_tokens=340)
    too_long = new_spec(
        [{"prompt": "a", "completion": " blue" * 400}], run_id="too long", max_length_tokens=400
    )
    told = trained_together(llama, [*specs.values(), roomy, too_long])
    assert memory.num_refused >= 2
    assert isinstance(told["too long"][-1], RunFailed)
    assert told["too long"][-1].code == "out_of_memory"
    assert not [event for event in told["too long"] if isinstance(event, StepDone)]
    assert [event for event in told["roomy"] if isinstance(event, Healed)]
    assert isinstance(told["roomy"][-1], Finished)
    assert any(len(members) > 1 for members in passes)
    monkeypatch.undo()
    for run_id, spec in specs.items():
        assert_same(told[run_id], trained_alone(llama, spec))


def test_a_pass_that_fails_half_way_leaves_nothing_behind(
    llama: BaseModel, opened: dict[str, Run]
) -> None:
    wanted = [first_wanted(opened[run_id]) for run_id in ("plain", "dropout")]

    def fails(gradient: torch.Tensor) -> None:
        raise torch.OutOfMemoryError

    answered(llama, wanted)
    before = [gradient_of(opened[run_id]).clone() for run_id in ("plain", "dropout")]
    state = opened["dropout"].generator.get_state()
    weight = opened["plain"].adapter.layers["model.layers.0.self_attn.q_proj"].b
    hook = weight.register_hook(fails)  # by then the upper layers have their gradients
    with pytest.raises(OutOfMemory):
        answered(llama, wanted)
    hook.remove()
    after = [gradient_of(opened[run_id]) for run_id in ("plain", "dropout")]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))
    assert torch.equal(state, opened["dropout"].generator.get_state())


def gradient_of(run: Run) -> torch.Tensor:
    assert run.adapter.flat.grad is not None
    return run.adapter.flat.grad


def test_a_step_alone_is_driven_the_same_way(llama: BaseModel, opened: dict[str, Run]) -> None:
    run = opened["plain"]
    wanted = first_wanted(run)
    answered(llama, [wanted])
    expected = gradient(run)
    returned(alone(llama, forward_backward(run, run.micro_batches(run.batch(1)))))
    assert torch.equal(gradient(run), expected)
