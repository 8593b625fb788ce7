"""One optimizer step's gradient against plain transformers and PEFT on a padded batch, in fp32."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chat_templates import QWEN
from tests.parity import reference, rows
from tests.parity.rows import Row
from tests.tiny_models import (
    make_tiny_gemma2,
    make_tiny_gemma2_with_window,
    make_tiny_gemma3,
    make_tiny_gpt2,
    make_tiny_lfm2,
    make_tiny_mistral,
    make_tiny_qwen3,
)
from tunesmith.engine.events import DataRead
from tunesmith.engine.model import BaseModel
from tunesmith.engine.run import close_run, open_run
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train

# What stock PEFT says when it is not told beforehand how GPT-2 keeps its weights.
pytestmark = pytest.mark.filterwarnings("ignore:fan_in_fan_out is set to False:UserWarning")


def gradient_error(model: BaseModel, folder: Path, spec: TrainSpec) -> tuple[float, float, int]:
    """Relative error of the gradient and of the loss, and the number of micro-batches."""
    run = open_run(model, spec)
    try:
        reference.move_away(run)
        texts = [text for row in run.batch(1) for text in row.examples]
        found = reference.compared(run, folder, lambda m: reference.mean_loss(m, texts))
    finally:
        close_run(run)
    loss_error = abs(found.figures.loss - found.loss) / found.loss
    return found.gradient_error, loss_error, len(found.num_tokens)


@pytest.mark.parametrize(
    "make_rows",
    [
        rows.without_shared_prefix,
        rows.with_shared_prefix,
        rows.with_same_prompt,
        rows.with_several_turns,
        rows.with_weight_zero,
        rows.completions,
    ],
)
def test_gradients_equal_the_padded_textbook(
    make_rows: Callable[[int], list[Row]],
    llama: BaseModel,
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    spec = new_spec(make_rows(8), batch_size=8)
    error, loss_error, num_batches = gradient_error(llama, llama_folder, spec)
    assert num_batches == 1
    assert error < 1e-6
    assert loss_error < 1e-6


def test_answers_in_texts_of_their_own_have_the_textbooks_gradients(
    llama: BaseModel,
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(llama.tokenizer, "chat_template", QWEN)
    spec = new_spec(rows.with_several_turns(8), batch_size=8, max_length_tokens=500)
    error, loss_error, _ = gradient_error(llama, llama_folder, spec)
    assert error < 1e-6
    assert loss_error < 1e-6
    read = [event for event in train(llama, spec, lambda: False) if isinstance(event, DataRead)]
    assert "8 answers are learned in texts of their own" in read[0].notes[0]


@pytest.mark.parametrize("make_rows", [rows.without_shared_prefix, rows.with_shared_prefix])
def test_accumulating_micro_batches_equals_one_large_batch(
    make_rows: Callable[[int], list[Row]],
    llama: BaseModel,
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    spec = new_spec(make_rows(8), batch_size=8, micro_batch_tokens=120)
    error, loss_error, num_batches = gradient_error(llama, llama_folder, spec)
    assert num_batches > 1
    assert error < 1e-6
    assert loss_error < 1e-6


@pytest.mark.parametrize(
    ("make_model", "num_batches_expected"),
    [
        (make_tiny_qwen3, 1),
        (make_tiny_mistral, 6),
        (make_tiny_gemma3, 6),
        (make_tiny_gemma2, 6),
        (make_tiny_gemma2_with_window, 6),
        (make_tiny_gpt2, 1),
        (make_tiny_lfm2, 6),
    ],
)
def test_other_architectures_have_the_same_gradients_too(
    make_model: Callable[[Path], Path],
    num_batches_expected: int,
    tmp_path: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    folder = make_model(tmp_path / "model")
    spec = new_spec(rows.with_shared_prefix(6), batch_size=6)
    error, _, num_batches = gradient_error(BaseModel.load(folder), folder, spec)
    assert num_batches == num_batches_expected  # some take one example at a time only
    assert error < 1e-6
