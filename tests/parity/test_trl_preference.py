"""The loss curve of TRL's DPOTrainer on the same pairs in the same order."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from tests.parity import reference, rows
from tunesmith.engine.events import StepDone
from tunesmith.engine.examples import Example, Pair
from tunesmith.engine.model import BaseModel
from tunesmith.engine.run import close_run, open_run
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train


class OfTokens(DPOTrainer):  # type: ignore[misc]
    """The rows are tokens already."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset


def answer(example: Example) -> list[int]:
    return [t for t, learned in zip(example.token_ids, example.loss_mask, strict=True) if learned]


@pytest.mark.filterwarnings("ignore")
def test_the_loss_curve_is_trls(
    llama: BaseModel, llama_folder: Path, new_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    spec = new_spec(
        rows.preferences(20),
        method="dpo",
        beta=0.2,
        num_epochs=4,
        warmup_ratio=0.0,
        min_learning_rate_ratio=1.0,
        learning_rate=2e-3,
    )
    run = open_run(llama, spec)  # for the data, the order and the first weights
    textbook = reference.with_copied_adapter(llama_folder, run.adapter)
    pairs = [
        row
        for step in range(1, run.order.total_steps + 1)
        for row in run.batch(step)
        if isinstance(row, Pair)
    ]
    close_run(run)
    dataset = Dataset.from_list(
        [
            {
                "prompt_ids": pair.chosen.token_ids[: pair.chosen.loss_mask.index(True)],
                "chosen_ids": answer(pair.chosen),
                "rejected_ids": answer(pair.rejected),
            }
            for pair in pairs
        ]
    )
    arguments = DPOConfig(beta=spec.beta, **reference.trl_settings(spec, tmp_path / "trl"))
    trainer = OfTokens(
        model=textbook, processing_class=llama.tokenizer, train_dataset=dataset, args=arguments
    )
    trainer.train()
    logs = [log for log in trainer.state.log_history if "loss" in log]
    ours = [e for e in train(llama, spec, lambda: False) if isinstance(e, StepDone)]
    assert len(ours) == 20
    assert ours[-1].loss < ours[0].loss / 2
    assert [e.loss for e in ours] == pytest.approx([log["loss"] for log in logs], rel=1e-4)
    margins = [log["rewards/margins"] for log in logs]
    assert [e.reward_margin for e in ours] == pytest.approx(margins, rel=1e-4, abs=1e-6)
