"""The loss curve of TRL's SFTTrainer on the same rows in the same order."""

from collections.abc import Callable
from pathlib import Path

import pytest
from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from tests.parity import reference, rows
from tunesmith.engine.events import StepDone
from tunesmith.engine.model import BaseModel
from tunesmith.engine.run import close_run, open_run
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train


@pytest.mark.filterwarnings("ignore")
def test_the_loss_curve_is_trls(
    llama: BaseModel, llama_folder: Path, new_spec: Callable[..., TrainSpec], tmp_path: Path
) -> None:
    spec = new_spec(
        rows.with_several_turns(20),
        num_epochs=4,
        warmup_ratio=0.0,
        min_learning_rate_ratio=1.0,
        learning_rate=1e-2,
    )
    run = open_run(llama, spec)  # for the data, the order and the first weights
    textbook = reference.with_copied_adapter(llama_folder, run.adapter)
    examples = [e for step in range(1, run.order.total_steps + 1) for e in run.batch(step)]
    close_run(run)

    dataset = Dataset.from_list(
        [
            {
                "input_ids": example.token_ids,
                "labels": [
                    token_id if is_learned else -100
                    for token_id, is_learned in zip(
                        example.token_ids, example.loss_mask, strict=True
                    )
                ],
            }
            for example in examples
        ]
    )
    arguments = SFTConfig(**reference.trl_settings(spec, tmp_path / "trl"))
    trainer = SFTTrainer(
        model=textbook, processing_class=llama.tokenizer, train_dataset=dataset, args=arguments
    )
    trainer.train()
    theirs = [log["loss"] for log in trainer.state.log_history if "loss" in log]
    ours = [e.loss for e in train(llama, spec, lambda: False) if isinstance(e, StepDone)]
    assert len(ours) == 20
    assert ours == pytest.approx(theirs, rel=1e-5)
