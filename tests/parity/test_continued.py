"""Runs that start from a tuned adapter, and what a resume makes of them and of DPO."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.generators import returned
from tests.parity import reference, rows
from tests.parity.test_resume import adapter_bytes
from tests.tiny_models import make_tiny_gpt2, make_tiny_llama
from tunesmith.engine import peft_format
from tunesmith.engine.errors import BadAdapter, BadCheckpoint
from tunesmith.engine.evaluate import evaluate
from tunesmith.engine.events import CheckpointSaved, Finished, StepDone
from tunesmith.engine.lora import Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.passes import alone
from tunesmith.engine.run import close_run, open_run
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.engine.train import train

TOKEN_IDS = torch.arange(10, 40)[None]


@pytest.fixture
def parent(llama: BaseModel, new_spec: Callable[..., TrainSpec]) -> Path:
    """Of a shape that is not the default."""
    spec = new_spec(
        rows.with_shared_prefix(8), lora=LoraSpec(rank=3, alpha=9, targets=("q_proj", "up_proj"))
    )
    *_, finished = train(llama, spec, lambda: False)
    assert isinstance(finished, Finished)
    return finished.path


def test_the_first_loss_is_what_the_parent_gets_on_the_rows(
    llama: BaseModel, parent: Path, llama_folder: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_spec(rows.with_several_turns(6), batch_size=6, initial_adapter=parent)
    run = open_run(llama, spec)
    texts = [example for row in run.training.rows for example in row.examples]
    evaluated = returned(alone(run.model, evaluate(run, run.training.rows)))
    close_run(run)
    first = next(e for e in train(llama, spec, lambda: False) if isinstance(e, StepDone))
    with torch.no_grad():
        theirs = reference.mean_loss(reference.with_adapter(llama_folder, parent), texts)
        untuned = reference.mean_loss(reference.base(llama_folder), texts)
    assert first.loss == evaluated.loss == pytest.approx(theirs.item(), rel=1e-6)
    assert abs(first.loss - untuned.item()) > 0.01


def test_the_result_is_a_whole_adapter_on_the_base_of_the_parents_shape(
    llama: BaseModel, parent: Path, llama_folder: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_spec(rows.with_several_turns(6), initial_adapter=parent, lora=LoraSpec(rank=16))
    events = train(llama, spec, lambda: False)
    for event in events:
        if isinstance(event, StepDone) and event.step == event.total_steps:
            break
    with torch.no_grad(), llama.adapters.routed([Route(adapter_id=spec.run_id)]):
        ours = llama.network(TOKEN_IDS).logits
    *_, finished = events
    assert isinstance(finished, Finished)
    saved = peft_format.read(finished.path)
    assert (saved.lora.rank, saved.lora.alpha, saved.lora.targets) == (3, 9, ("q_proj", "up_proj"))
    with torch.no_grad():
        stock = reference.with_adapter(llama_folder, finished.path)(TOKEN_IDS).logits
    assert torch.allclose(ours, stock, rtol=1e-5, atol=1e-5)
    assert adapter_bytes(finished.path) != adapter_bytes(parent)


@pytest.mark.parametrize("dropout", [0.0, 0.1])
@pytest.mark.parametrize(
    ("method", "is_continued"), [("dpo", False), ("dpo", True), ("supervised", True)]
)
def test_killed_at_any_checkpoint_a_run_ends_in_the_same_bytes(
    method: str,
    is_continued: bool,
    dropout: float,
    llama: BaseModel,
    parent: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    make_rows = rows.preferences if method == "dpo" else rows.with_shared_prefix
    spec = new_spec(
        make_rows(10),
        method=method,
        initial_adapter=parent if is_continued else None,
        lora=LoraSpec(rank=4, alpha=8, dropout=dropout),
        checkpoint_every_seconds=0,
    )
    events = list(train(llama, spec, lambda: False))
    expected = events[-1]
    assert isinstance(expected, Finished)
    done = [e for e in events if isinstance(e, StepDone)]
    saved = [e for e in events if isinstance(e, CheckpointSaved)]
    assert len(saved) == 6
    for checkpoint in saved[:-1]:
        rest = replace(
            spec,
            run_id=f"from-{checkpoint.step}",
            output_dir=spec.output_dir / f"from-{checkpoint.step}",
            resume_from=checkpoint.path,
        )
        again = list(train(llama, rest, lambda: False))
        figures = [(e.loss, e.reward_margin) for e in again if isinstance(e, StepDone)]
        assert figures == [(e.loss, e.reward_margin) for e in done[checkpoint.step :]]
        assert isinstance(again[-1], Finished)
        assert adapter_bytes(again[-1].path) == adapter_bytes(expected.path)


def test_a_checkpoint_of_a_run_from_another_adapter_is_refused(
    llama: BaseModel, parent: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_spec(rows.with_shared_prefix(8), initial_adapter=parent)
    events = list(train(llama, spec, lambda: False))
    assert isinstance(events[-1], Finished)
    saved = next(e for e in events if isinstance(e, CheckpointSaved))
    for other in (None, events[-1].path):
        with pytest.raises(BadCheckpoint, match="another run"):
            list(
                train(
                    llama,
                    replace(spec, initial_adapter=other, resume_from=saved.path),
                    lambda: False,
                )
            )


@pytest.mark.parametrize("method", ["supervised", "dpo"])
def test_an_adapter_of_another_base_is_refused_and_leaves_nothing_behind(
    method: str, parent: Path, tmp_path: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    make_rows = rows.preferences if method == "dpo" else rows.with_shared_prefix
    spec = new_spec(make_rows(4), method=method, initial_adapter=parent)
    same_shapes = BaseModel.load(make_tiny_llama(tmp_path / "other-llama", seed=1))
    with pytest.raises(BadAdapter, match="made for the base model tiny-llama, not for other-llama"):
        list(train(same_shapes, spec, lambda: False))
    assert spec.run_id not in same_shapes.adapters
    other_shapes = BaseModel.load(make_tiny_gpt2(tmp_path / "gpt2"), name="tiny-llama")
    with pytest.raises(BadAdapter, match="no linear layer named"):
        list(train(other_shapes, spec, lambda: False))
    assert spec.run_id not in other_shapes.adapters


def test_no_reference_is_left_when_the_run_is_over(
    llama: BaseModel, parent: Path, new_spec: Callable[..., TrainSpec]
) -> None:
    spec = new_spec(rows.preferences(4), method="dpo", initial_adapter=parent)
    list(train(llama, spec, lambda: False))
    llama.adapters.load(f"{spec.run_id}-reference", parent)  # or it would be there already
    llama.adapters.remove(f"{spec.run_id}-reference")
