"""Training all weights against plain transformers, in fp32; and what is left of it on disk."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer

from tests.generators import returned
from tests.parity import reference, rows
from tests.parity.rows import Row
from tests.parity.test_resume import stop_after
from tests.tiny_models import make_tiny_gpt2, make_tiny_lfm2, make_tiny_llama, make_tiny_qwen3
from tunesmith.engine.checkpoint import check_manifest
from tunesmith.engine.errors import UnsupportedModel
from tunesmith.engine.events import CheckpointSaved, Finished, StepDone, Stopped
from tunesmith.engine.examples import Pair
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import alone
from tunesmith.engine.precision import Precision
from tunesmith.engine.run import Run, open_run
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.step import forward_backward
from tunesmith.engine.train import train

RATE = 3e-3


@pytest.fixture
def new_whole_spec(new_spec: Callable[..., TrainSpec]) -> Callable[..., TrainSpec]:
    def make(rows_: list[Row], **changes: object) -> TrainSpec:
        return new_spec(rows_, **{"trains_all_weights": True, "learning_rate": RATE, **changes})

    return make


def textbook_of(run: Run, folder: Path) -> Any:
    """Plain transformers with the weights that the run has now."""
    textbook = reference.base(folder).requires_grad_(True)
    with torch.no_grad():
        for theirs, ours in zip(textbook.parameters(), run.model.network.parameters(), strict=True):
            theirs.copy_(ours)
    return textbook


def gradient_error(run: Run, textbook: Any, textbook_loss: Tensor) -> float:
    """Of the run's first step, relative."""
    figures = returned(alone(run.model, forward_backward(run, run.micro_batches(run.batch(1)))))
    assert figures.loss == pytest.approx(textbook_loss.item(), rel=1e-6)
    textbook_loss.backward()
    expected = torch.cat([p.grad.reshape(-1) for p in textbook.parameters()])
    assert run.trained.flat.grad is not None
    return float((run.trained.flat.grad - expected).norm() / expected.norm())


@pytest.mark.parametrize("micro_batch_tokens", [2048, 120])
@pytest.mark.parametrize(
    "make_model", [make_tiny_llama, make_tiny_qwen3, make_tiny_gpt2, make_tiny_lfm2]
)
def test_gradients_of_all_weights_equal_the_padded_textbook(
    make_model: Callable[[Path], Path],
    micro_batch_tokens: int,
    tmp_path: Path,
    new_whole_spec: Callable[..., TrainSpec],
) -> None:
    """Qwen's and GPT-2's output heads are their embeddings, too."""
    folder = make_model(tmp_path / "model")
    spec = new_whole_spec(
        rows.with_several_turns(8), batch_size=8, micro_batch_tokens=micro_batch_tokens
    )
    run = open_run(BaseModel.load(folder), spec)
    textbook = textbook_of(run, folder)
    error = gradient_error(run, textbook, reference.mean_loss(textbook, run.batch(1)))
    assert error < 1e-6


def test_dpo_compares_to_the_model_where_the_run_started(
    llama_folder: Path, new_whole_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_whole_spec(rows.preferences(8), batch_size=8, method="dpo")
    run = open_run(BaseModel.load(llama_folder), spec)
    noise = torch.Generator().manual_seed(3)
    run.trained.flat.add_(0.05 * torch.randn(run.trained.flat.shape, generator=noise))
    run.trained.round()
    textbook = textbook_of(run, llama_folder)
    pairs = [row for row in run.batch(1) if isinstance(row, Pair)]
    start = reference.base(llama_folder)
    error = gradient_error(
        run, textbook, reference.preference_loss(textbook, start, pairs, spec.beta)
    )
    assert error < 1e-6


def test_the_loss_curve_and_the_model_are_the_textbooks(
    llama_folder: Path, new_whole_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_whole_spec(rows.with_shared_prefix(12), num_epochs=4, weight_decay=0.01)
    *told, finished = train(BaseModel.load(llama_folder), spec, lambda: False)
    assert isinstance(finished, Finished)
    ours = [event.loss for event in told if isinstance(event, StepDone)]

    run = open_run(BaseModel.load(llama_folder), spec)  # for the data and the order
    textbook = reference.base(llama_folder).requires_grad_(True)
    weights = list(textbook.parameters())
    optimizer = torch.optim.AdamW(weights, lr=0.0, weight_decay=spec.weight_decay)
    losses = []
    for step in range(1, run.order.total_steps + 1):
        loss = reference.mean_loss(textbook, run.batch(step))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, spec.max_grad_norm)
        optimizer.param_groups[0]["lr"] = run.learning_rate(step)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())

    assert ours[-1] < ours[0] / 2  # it learns, so the curve is worth comparing
    assert ours == pytest.approx(losses, rel=1e-4)
    check_manifest(finished.path)
    prompt = torch.tensor([[5, 6, 7, 8]])
    saved = AutoModelForCausalLM.from_pretrained(finished.path, dtype=torch.float32)
    assert torch.allclose(saved(prompt).logits, textbook(prompt).logits, atol=1e-3)
    here, there = (AutoTokenizer.from_pretrained(f) for f in (finished.path, llama_folder))
    assert here.chat_template == there.chat_template
    assert here("hello").input_ids == there("hello").input_ids
    assert BaseModel.load(finished.path).end_of_text_ids == run.model.end_of_text_ids


@pytest.mark.parametrize("method", ["supervised", "dpo"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_run_that_was_stopped_ends_in_the_same_bytes(
    precision: Precision,
    method: str,
    tmp_path: Path,
    new_whole_spec: Callable[..., TrainSpec],
) -> None:
    folder = make_tiny_qwen3(tmp_path / "model")
    make_rows = rows.preferences if method == "dpo" else rows.with_shared_prefix
    spec = new_whole_spec(make_rows(10), num_epochs=3, method=method)
    *_, unbroken = train(BaseModel.load(folder, precision=precision), spec, lambda: False)
    broken = replace(spec, run_id="broken", output_dir=tmp_path / "broken")
    for _ in range(3):
        *_, last = train(BaseModel.load(folder, precision=precision), broken, stop_after(4))
        if isinstance(last, Stopped):
            broken = replace(broken, resume_from=last.path)
    assert isinstance(unbroken, Finished)
    assert isinstance(last, Finished)
    for name in ("model.safetensors", "config.json"):
        assert (last.path / name).read_bytes() == (unbroken.path / name).read_bytes()


def test_steps_that_bf16_cannot_see_add_up_in_the_masters(
    tmp_path: Path, new_whole_spec: Callable[..., TrainSpec]
) -> None:
    folder = make_tiny_llama(tmp_path / "model")
    spec = new_whole_spec(rows.with_shared_prefix(8), num_epochs=1, learning_rate=1e-5)
    told = list(train(BaseModel.load(folder, precision="bf16"), spec, lambda: False))
    [checkpoint] = [event.path for event in told if isinstance(event, CheckpointSaved)]
    finished = told[-1]
    assert isinstance(finished, Finished)
    name = "model.layers.0.mlp.up_proj.weight"
    before, master, result = (
        load_file(path / "model.safetensors")[name] for path in (folder, checkpoint, finished.path)
    )
    assert (master.dtype, result.dtype) == (torch.float32, torch.bfloat16)
    assert torch.equal(result, master.bfloat16())
    moved = (master - before.bfloat16().float()).abs().max()
    assert 0 < moved < 3e-5
    assert (result == before.bfloat16()).float().mean() > 0.5  # most are too small for bf16


def test_a_base_that_is_in_use_or_was_trained_is_not_trained(
    llama_folder: Path, new_whole_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    model = BaseModel.load(llama_folder)
    model.adapters.load("used", reference.random_adapter(llama_folder, 1, tmp_path / "adapter"))
    spec = new_whole_spec(rows.with_shared_prefix(4), num_epochs=1)
    with pytest.raises(UnsupportedModel, match="in use"):
        list(train(model, spec, lambda: False))
    model.adapters.remove("used")
    list(train(model, spec, lambda: False))
    with pytest.raises(UnsupportedModel, match="no more"):
        list(train(model, replace(spec, trains_all_weights=False), lambda: False))
