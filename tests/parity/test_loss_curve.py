"""Whole runs against a textbook loop on the same rows in the same order."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from tests.parity import reference, rows
from tests.parity.rows import Row
from tunesmith.engine import optim
from tunesmith.engine.events import StepDone
from tunesmith.engine.model import BaseModel
from tunesmith.engine.run import close_run, open_run
from tunesmith.engine.spec import LearningRateSchedule, TrainSpec
from tunesmith.engine.train import train


def textbook_losses(model: BaseModel, folder: Path, spec: TrainSpec) -> list[float]:
    run = open_run(model, spec)  # for the data, the order and the first weights
    try:
        textbook = reference.with_copied_adapter(folder, run.adapter)
        weights = [p for p in textbook.parameters() if p.requires_grad]
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
    finally:
        close_run(run)
    return losses


@pytest.mark.parametrize("make_rows", [rows.without_shared_prefix, rows.with_shared_prefix])
def test_the_loss_curve_is_the_textbooks(
    make_rows: Callable[[int], list[Row]],
    llama: BaseModel,
    llama_folder: Path,
    new_spec: Callable[..., TrainSpec],
) -> None:
    spec = new_spec(
        make_rows(22), num_epochs=4, learning_rate=2e-2, weight_decay=0.01, micro_batch_tokens=200
    )
    ours = [e.loss for e in train(llama, spec, lambda: False) if isinstance(e, StepDone)]
    assert len(ours) == 24
    assert ours[-1] < ours[0] / 2  # it learns, so the curve is worth comparing
    assert ours == pytest.approx(textbook_losses(llama, llama_folder, spec), rel=1e-5)


@pytest.mark.parametrize("warmup_steps", [0, 1, 7, 40])
def test_the_warm_up_takes_as_many_steps_as_it_is_told(warmup_steps: int) -> None:
    rates = [
        optim.learning_rate(
            step, 20, peak=1.0, warmup_steps=warmup_steps, min_ratio=0.1, schedule="cosine"
        )
        for step in range(1, 21)
    ]
    rising = rates[:warmup_steps]
    assert rising == pytest.approx([i / warmup_steps for i in range(1, len(rising) + 1)])
    assert rates[warmup_steps:] == sorted(rates[warmup_steps:], reverse=True)


def test_the_learning_rate_rises_then_falls_as_half_a_cosine() -> None:
    rates = [
        optim.learning_rate(step, 100, peak=1.0, warmup_steps=10, min_ratio=0.1, schedule="cosine")
        for step in range(1, 101)
    ]
    assert rates[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert rates[54] == pytest.approx(0.1 + 0.9 * 0.5 * (1 + math.cos(math.pi * 0.5)))
    assert rates[-1] == pytest.approx(0.1)


@pytest.mark.parametrize(("schedule", "last"), [("linear", 0.1), ("constant", 1.0)])
def test_the_learning_rate_falls_along_a_line_or_not_at_all(
    schedule: LearningRateSchedule, last: float
) -> None:
    rates = [
        optim.learning_rate(step, 100, peak=1.0, warmup_steps=10, min_ratio=0.1, schedule=schedule)
        for step in range(1, 101)
    ]
    assert rates[:10] == pytest.approx([i / 10 for i in range(1, 11)])
    assert rates[54] == pytest.approx((1 + last) / 2)
    assert rates[-1] == pytest.approx(last)
