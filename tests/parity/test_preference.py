"""DPO against the textbook formula on padded batches of plain transformers and PEFT, in fp32."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.generators import returned
from tests.parity import reference, rows
from tests.parity.rows import Row
from tests.tiny_models import (
    make_tiny_gemma2,
    make_tiny_gemma3,
    make_tiny_gpt2,
    make_tiny_lfm2,
    make_tiny_mistral,
    make_tiny_qwen3,
    write_jsonl,
)
from tunesmith.engine.evaluate import evaluate
from tunesmith.engine.events import Finished, StepDone
from tunesmith.engine.examples import Pair
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import alone
from tunesmith.engine.run import Run, close_run, open_run
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.train import train

# What stock PEFT says when it is not told beforehand how GPT-2 keeps its weights.
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")

BETA = 0.1


@pytest.fixture
def new_preference_spec(new_spec: Callable[..., TrainSpec]) -> Callable[..., TrainSpec]:
    def make(rows_: list[Row], **changes: object) -> TrainSpec:
        return new_spec(rows_, method="dpo", beta=BETA, **changes)

    return make


def pairs_of(run: Run, step: int) -> list[Pair]:
    return [row for row in run.batch(step) if isinstance(row, Pair)]


def compared(model: BaseModel, folder: Path, spec: TrainSpec) -> reference.Comparison:
    run = open_run(model, spec)
    try:
        start = reference.base(folder)
        if spec.initial_adapter is not None:
            start = reference.with_adapter(folder, spec.initial_adapter)
        reference.move_away(run)
        pairs = pairs_of(run, 1)
        return reference.compared(
            run, folder, lambda m: reference.preference_loss(m, start, pairs, BETA)
        )
    finally:
        close_run(run)


@pytest.mark.parametrize(
    "make_rows", [rows.preferences, rows.short_preferences, rows.preferences_of_one_prompt]
)
def test_gradients_equal_the_padded_textbook(
    make_rows: Callable[[int], list[Row]],
    llama: BaseModel,
    llama_folder: Path,
    new_preference_spec: Callable[..., TrainSpec],
) -> None:
    spec = new_preference_spec(make_rows(8), batch_size=8)
    found = compared(llama, llama_folder, spec)
    assert len(found.num_tokens) == 1
    assert found.gradient_error < 1e-6
    assert found.figures.loss == pytest.approx(found.loss, rel=1e-6)


@pytest.mark.parametrize("make_rows", [rows.preferences, rows.short_preferences])
def test_accumulating_micro_batches_equals_one_large_batch(
    make_rows: Callable[[int], list[Row]],
    llama: BaseModel,
    llama_folder: Path,
    new_preference_spec: Callable[..., TrainSpec],
) -> None:
    spec = new_preference_spec(make_rows(8), batch_size=8, micro_batch_tokens=250)
    found = compared(llama, llama_folder, spec)
    assert len(found.num_tokens) > 1
    assert max(found.num_tokens) <= 250
    assert found.gradient_error < 1e-6
    assert found.figures.loss == pytest.approx(found.loss, rel=1e-6)


@pytest.mark.parametrize(
    ("make_model", "num_batches_expected"),
    [
        (make_tiny_qwen3, 1),
        (make_tiny_mistral, 6),
        (make_tiny_gemma3, 6),
        (make_tiny_gemma2, 6),
        (make_tiny_gpt2, 1),
        (make_tiny_lfm2, 6),
    ],
)
def test_other_architectures_have_the_same_gradients_too(
    make_model: Callable[[Path], Path],
    num_batches_expected: int,
    tmp_path: Path,
    new_preference_spec: Callable[..., TrainSpec],
) -> None:
    folder = make_model(tmp_path / "model")
    spec = new_preference_spec(rows.preferences(6), batch_size=6)
    found = compared(BaseModel.load(folder), folder, spec)
    assert len(found.num_tokens) == num_batches_expected  # some take one pair at a time only
    assert found.gradient_error < 1e-6


def test_the_reference_is_the_adapter_that_the_run_starts_from(
    llama: BaseModel,
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
    new_preference_spec: Callable[..., TrainSpec],
) -> None:
    *_, parent = train(llama, new_spec(rows.with_shared_prefix(8)), lambda: False)
    assert isinstance(parent, Finished)
    spec = new_preference_spec(rows.preferences(8), batch_size=8, initial_adapter=parent.path)
    found = compared(llama, llama_folder, spec)
    assert found.gradient_error < 1e-6
    assert found.figures.loss == pytest.approx(found.loss, rel=1e-6)


def test_the_first_step_is_exactly_undecided(
    llama: BaseModel, new_preference_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_preference_spec(rows.preferences(12), micro_batch_tokens=200)
    done = [e for e in train(llama, spec, lambda: False) if isinstance(e, StepDone)]
    assert done[0].loss == pytest.approx(math.log(2), rel=1e-7)
    assert (done[0].chosen_reward, done[0].rejected_reward, done[0].reward_margin) == (0, 0, 0)
    assert done[0].reward_accuracy == 0


def test_the_figures_are_the_textbooks(
    llama: BaseModel, llama_folder: Path, new_preference_spec: Callable[..., TrainSpec]
) -> None:
    mixed = rows.preferences(8)
    for row in mixed[::2]:  # so that a model which knows nothing is right now and then
        better, worse = row["preferred_output"], row["non_preferred_output"]
        row["preferred_output"], row["non_preferred_output"] = worse, better
    spec = new_preference_spec(mixed, batch_size=8, micro_batch_tokens=200)
    run = open_run(llama, spec)
    reference.move_away(run)
    ours = returned(alone(run.model, evaluate(run, run.training.rows)))
    pairs = [row for row in run.training.rows if isinstance(row, Pair)]
    textbook = reference.with_copied_adapter(llama_folder, run.adapter)
    close_run(run)

    start = reference.base(llama_folder)
    with torch.no_grad():
        chosen, rejected = (
            BETA * (reference.answer_logprobs(textbook, p) - reference.answer_logprobs(start, p))
            for p in ([pair.chosen for pair in pairs], [pair.rejected for pair in pairs])
        )
        loss = reference.preference_loss(textbook, start, pairs, BETA)
    assert ours.loss == pytest.approx(loss.item(), rel=1e-5)
    assert ours.chosen_reward == pytest.approx(chosen.mean().item(), rel=1e-4)
    assert ours.rejected_reward == pytest.approx(rejected.mean().item(), rel=1e-4)
    assert ours.reward_margin == pytest.approx((chosen - rejected).mean().item(), abs=1e-5)
    assert ours.reward_accuracy == (chosen > rejected).float().mean().item()
    assert 0 < ours.reward_accuracy < 1


def test_the_token_accuracy_is_that_of_the_chosen_answers(
    llama: BaseModel,
    new_spec: Callable[..., TrainSpec],
    new_preference_spec: Callable[..., TrainSpec],
) -> None:
    pairs = rows.preferences(8)
    liked = [{"messages": row["input"]["messages"] + row["preferred_output"]} for row in pairs]
    *_, parent = train(llama, new_spec(liked, num_epochs=8), lambda: False)
    assert isinstance(parent, Finished)
    accuracies = []
    for spec in (
        new_preference_spec(pairs, initial_adapter=parent.path),
        new_spec(liked, initial_adapter=parent.path),
    ):
        run = open_run(llama, spec)
        accuracies.append(
            returned(alone(run.model, evaluate(run, run.training.rows))).token_accuracy
        )
        close_run(run)
    assert accuracies[0] == accuracies[1] > 0.2


def test_validation_has_figures_of_its_own(
    llama: BaseModel, new_preference_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    pairs = rows.preferences(16)
    spec = new_preference_spec(
        pairs[:12],
        validation_file=write_jsonl(tmp_path / "validation.jsonl", pairs[12:]),
        num_epochs=4,
        evaluation_batch_steps=2,
        micro_batch_tokens=200,
    )
    done = [e for e in train(llama, spec, lambda: False) if isinstance(e, StepDone)]
    small = [d.validation_loss for d in done if d.validation_loss is not None]
    full = [d.full_validation_loss for d in done if d.full_validation_loss is not None]
    assert (len(small), len(full)) == (6, 4)
    assert full[-1] < full[0] < math.log(2)
    assert all(d.full_validation_token_accuracy is not None for d in done if d.step % 3 == 0)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
def test_a_run_learns_to_prefer_and_says_so(
    dropout: float, llama: BaseModel, new_preference_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    spec = new_preference_spec(
        rows.preferences(12), num_epochs=6, lora=LoraSpec(rank=4, alpha=8, dropout=dropout)
    )
    done = [e for e in train(llama, spec, lambda: False) if isinstance(e, StepDone)]
    last = done[-1]
    assert last.loss < 0.1
    assert last.reward_accuracy == 1
    assert last.chosen_reward is not None
    assert last.rejected_reward is not None
    assert last.reward_margin == pytest.approx(last.chosen_reward - last.rejected_reward)
