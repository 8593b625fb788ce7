"""The program that talks to Weights & Biases: one batch of a run's figures, and it ends.

Run as `python -m tunesmith.outbox.wandb_log`, with the batch as JSON on standard input. It ends
well only once the figures have been taken, or the library believes so.
"""

import json
import sys
from typing import Any

import wandb


def main() -> None:
    batch: dict[str, Any] = json.load(sys.stdin)
    settings = wandb.Settings(
        api_key=batch["api_key"],
        base_url=batch["base_url"],
        root_dir=batch["folder"],
        silent=True,
        console="off",
        # Of the machine that happens to send, nothing is of interest to who tunes a model.
        host="tunesmith",
        program="tunesmith",
        disable_code=True,
        disable_git=True,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
        x_update_finish_state=batch["exit_code"] is not None,
    )
    run = wandb.init(
        project=batch["project"],
        entity=batch["entity"],
        id=batch["run_id"],
        name=batch["name"],
        tags=batch["tags"],
        resume="allow",
        settings=settings,
    )
    for step, figures in batch["steps"]:
        if step >= run.starting_step:  # the run has the others from a batch that was cut off
            run.log(figures, step=step)
    run.finish(exit_code=batch["exit_code"] or 0)


if __name__ == "__main__":
    main()
