"""What a program is asked to train, as JSON that any environment can read.

Peers' environments have no tunesmith: this module and `benchmarks/meter.py` import nothing.
"""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Job:
    """One LoRA fine-tuning on all linear layers of the decoder, alpha twice the rank, no dropout.

    `rows` is a training file as the service takes it. `tokens` holds the same rows as token ids, in
    the order in which our engine meets them. The first `warmup_steps` are not measured.
    """

    model: str
    method: str  # supervised or dpo
    rows: str
    tokens: str
    output: str  # a folder that gets `adapter/`
    examples_per_step: int = 16
    warmup_steps: int = 1
    rank: int = 16
    learning_rate: float = 2e-4
    seed: int = 0
    precision: str = "bf16"  # or fp32
    threads: int = 1
    device: str = "cpu"
    started_at: float = 0.0  # when the process was started, in time.monotonic()'s seconds
    options: dict[str, Any] = field(default_factory=dict)  # the program's own

    @property
    def adapter(self) -> Path:
        return Path(self.output) / "adapter"


def given() -> Job:
    """The job that this process was started with."""
    return Job(**json.loads(sys.argv[1]))


def as_argument(job: Job) -> str:
    return json.dumps(asdict(job))


def read_tokens(job: Job) -> list[dict[str, Any]]:
    """Examples have `input_ids`, `labels`; pairs `prompt_ids`, `chosen_ids`, `rejected_ids`."""
    with Path(job.tokens).open(encoding="utf-8") as file:
        return [json.loads(line) for line in file]
