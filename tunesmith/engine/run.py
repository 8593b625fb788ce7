"""One run: its data, adapter, optimizer, schedule and random state."""

import hashlib
import json
from collections.abc import Generator
from dataclasses import asdict, dataclass, field

import torch

from tunesmith.engine import data, forward, optim
from tunesmith.engine.chat import Example
from tunesmith.engine.data import BatchOrder, Dataset
from tunesmith.engine.events import Reading
from tunesmith.engine.lora import Adapter, Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.packing import PackedBatch, pack, pack_singly
from tunesmith.engine.spec import TrainSpec

# What may differ between a run and its continuation: the rest of the spec decides the result.
_FREE_FIELDS = (
    "run_id",
    "training_file",
    "validation_file",
    "output_dir",
    "resume_from",
    "evaluation_batch_steps",
    "micro_batch_tokens",  # rounding apart
    "checkpoint_every_seconds",
)


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    spec: TrainSpec
    model: BaseModel
    adapter: Adapter
    training: Dataset
    validation: Dataset | None
    order: BatchOrder
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # of the dropout masks
    packs_examples: bool  # or trains each alone, where the model knows no other way
    notes: tuple[str, ...]
    step: int = 0  # optimizer steps done
    trained_tokens: int = 0
    validation_sample: list[Example] = field(default_factory=list)

    @property
    def fingerprint(self) -> str:
        """Of all that decides the result: a checkpoint fits only a run with the same."""
        fixed = {k: v for k, v in asdict(self.spec).items() if k not in _FREE_FIELDS}
        fixed["training_data"] = self.training.sha256
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()

    @property
    def training_route(self) -> Route:
        return Route(adapter_id=self.spec.run_id, dropout=self.generator)

    @property
    def answering_route(self) -> Route:
        return Route(adapter_id=self.spec.run_id)

    def batch(self, step: int) -> list[Example]:
        return [self.training.examples[i] for i in self.order.batch(step)]

    def micro_batches(self, examples: list[Example]) -> list[PackedBatch]:
        if not self.packs_examples:
            return pack_singly(examples)
        return pack(
            examples,
            self.spec.micro_batch_tokens,
            shares_prefixes=self.spec.lora.dropout == 0,  # else each example draws its own masks
        )

    def evaluation_batches(self, examples: list[Example]) -> list[PackedBatch]:
        if not self.packs_examples:
            return pack_singly(examples)
        return pack(examples, self.spec.micro_batch_tokens)

    def learning_rate(self, step: int) -> float:
        return optim.learning_rate(
            step,
            self.order.total_steps,
            peak=self.spec.learning_rate,
            warmup_ratio=self.spec.warmup_ratio,
            min_ratio=self.spec.min_learning_rate_ratio,
        )


def open_run(model: BaseModel, spec: TrainSpec) -> Generator[Reading, None, Run]:
    """Read the data and put a fresh adapter beside the base; `close_run` takes it away."""
    limit = min(spec.max_length_tokens, model.context_length)
    training = yield from data.read(spec.training_file, model.tokenizer, limit)
    validation = None
    if spec.validation_file is not None:
        validation = yield from data.read(
            spec.validation_file, model.tokenizer, limit, file="validation"
        )
    order = BatchOrder(
        num_examples=len(training.examples),
        batch_size=spec.batch_size,
        num_epochs=spec.num_epochs,
        seed=spec.seed,
    )
    obstacle = forward.packing_obstacle(model, limit)
    notes = []
    if obstacle:
        notes.append(f"{obstacle} Each example is trained alone.")
    elif spec.lora.dropout > 0:
        notes.append("Shared prefixes are computed for each example: the LoRA dropout is not 0.")
    adapter = model.adapters.create(spec.run_id, spec.lora, spec.seed)
    return Run(
        spec=spec,
        model=model,
        adapter=adapter,
        training=training,
        validation=validation,
        order=order,
        optimizer=optim.adamw(adapter.flat, weight_decay=spec.weight_decay),
        generator=torch.Generator(model.device).manual_seed(spec.seed % 2**63),
        packs_examples=obstacle is None,
        notes=tuple(notes),
        validation_sample=_sample(validation, spec),
    )


def close_run(run: Run) -> None:
    run.model.adapters.remove(run.spec.run_id)


def _sample(validation: Dataset | None, spec: TrainSpec) -> list[Example]:
    """The same few validation rows each time, so that their loss is a curve."""
    if validation is None:
        return []
    picked = data.shuffled(len(validation.examples), spec.seed, 0)[: spec.batch_size]
    return [validation.examples[i] for i in picked]
