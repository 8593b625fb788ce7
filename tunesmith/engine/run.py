"""One run: its data, what it trains, optimizer, schedule and random state."""

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field

import torch
from torch import Tensor

from tunesmith.engine import data, examples, forward, optim, peft_format, plain_paths
from tunesmith.engine.data import BatchOrder, Dataset
from tunesmith.engine.errors import UnsupportedModel
from tunesmith.engine.events import Reading
from tunesmith.engine.examples import Row
from tunesmith.engine.lora import Adapter, Route
from tunesmith.engine.model import BaseModel
from tunesmith.engine.objective import Imitation, Objective, Preference
from tunesmith.engine.packing import PackedBatch, pack, pack_singly
from tunesmith.engine.snapshot import LossHistory, Snapshot
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.whole_model import WholeModel

# What may differ between a run and its continuation: the rest of the spec decides the result.
_FREE_FIELDS = (
    "run_id",
    "training_file",
    "validation_file",
    "output_dir",
    "initial_adapter",  # by its content instead
    "resume_from",
    "evaluation_batch_steps",
    "micro_batch_tokens",  # rounding apart
    "checkpoint_every_seconds",
)


Trained = Adapter | WholeModel


@dataclass(slots=True, kw_only=True, eq=False)
class Run:
    spec: TrainSpec
    model: BaseModel
    trained: Trained
    objective: Objective
    training: Dataset
    validation: Dataset | None
    order: BatchOrder
    optimizer: torch.optim.Optimizer
    generator: torch.Generator  # of the dropout masks
    packs_examples: bool  # or trains each alone, where the model knows no other way
    notes: tuple[str, ...]
    step: int = 0  # optimizer steps done
    trained_tokens: int = 0
    seconds: float = 0.0  # of the device, spent on steps since the run was opened
    best_validation_loss: float = math.inf  # of all validation rows
    evaluations_without_better: int = 0
    losses: LossHistory = field(default_factory=LossHistory)
    micro_batch_tokens: int  # the spec's, until memory did not suffice
    rollbacks: int = 0
    spikes: list[int] = field(default_factory=list)  # steps whose loss led to a rollback
    last_good: Snapshot = field(init=False)  # where a rollback leads

    @property
    def adapter(self) -> Adapter:
        """Of a run that trains one."""
        assert isinstance(self.trained, Adapter)
        return self.trained

    @property
    def max_length_tokens(self) -> int:
        return _max_length_tokens(self.model, self.spec)

    @property
    def fingerprint(self) -> str:
        """Of all that decides the result: a checkpoint fits only a run with the same."""
        fixed = {k: v for k, v in asdict(self.spec).items() if k not in _FREE_FIELDS}
        fixed["training_data"] = self.training.sha256
        fixed["dtype"] = str(self.model.network.dtype)
        if self.model.quantization is not None:
            fixed["quantization"] = self.model.quantization
        if self.spec.initial_adapter is not None:
            fixed["initial_adapter"] = peft_format.sha256(self.spec.initial_adapter)
        return hashlib.sha256(json.dumps(fixed, sort_keys=True).encode()).hexdigest()

    @property
    def training_route(self) -> Route | None:
        if isinstance(self.trained, WholeModel):
            return None
        return Route(adapter_id=self.spec.run_id, dropout=self.generator)

    @property
    def answering_route(self) -> Route | None:
        if isinstance(self.trained, WholeModel):
            return None
        return Route(adapter_id=self.spec.run_id)

    def batch(self, step: int) -> list[Row]:
        return [self.training[i] for i in self.order.batch(step)]

    @property
    def validation_sample(self) -> list[Row]:
        """The same few validation rows each time, so that their loss is a curve."""
        if self.validation is None:
            return []
        picked = data.shuffled(len(self.validation), self.spec.seed, 0)[: self.spec.batch_size]
        return [self.validation[i] for i in picked]

    def read_on(self) -> Reading | None:
        """Some more of the data, which is to be read before the first epoch ends; None after."""
        for dataset in (self.training, self.validation):
            if dataset is not None and not dataset.is_read:
                return dataset.read_on()
        return None

    def micro_batches(self, rows: Sequence[Row]) -> list[PackedBatch]:
        rows = examples.apart(rows)
        if not self.packs_examples:
            return pack_singly(rows)
        return pack(
            rows,
            self.micro_batch_tokens,
            shares_prefixes=self.spec.lora.dropout == 0,  # else each example draws its own masks
        )

    def evaluation_batches(self, rows: Sequence[Row]) -> list[PackedBatch]:
        rows = examples.apart(rows)
        if not self.packs_examples:
            return pack_singly(rows)
        return pack(rows, self.micro_batch_tokens)

    @property
    def warmup_steps(self) -> int:
        if self.spec.warmup_steps is not None:
            return self.spec.warmup_steps
        return math.ceil(self.order.total_steps * self.spec.warmup_ratio)

    def learning_rate(self, step: int) -> float:
        of_schedule = optim.learning_rate(
            step,
            self.order.total_steps,
            peak=self.spec.learning_rate,
            warmup_steps=self.warmup_steps,
            min_ratio=self.spec.min_learning_rate_ratio,
            schedule=self.spec.lr_schedule,
        )
        return of_schedule * self.spec.rollback_learning_rate_factor**self.rollbacks

    def note_validation_loss(self, loss: float) -> None:
        """Of all validation rows: early stopping waits for it to fall."""
        if loss < self.best_validation_loss:
            self.best_validation_loss = loss
            self.evaluations_without_better = 0
        else:
            self.evaluations_without_better += 1

    def snapshot(self, generator: Tensor) -> Snapshot:
        """With the state that the generator had behind the step."""
        tensors = {"weights": self.trained.flat, "generator": generator}
        tensors |= self.optimizer.state[self.trained.flat]
        return Snapshot(
            step=self.step,
            trained_tokens=self.trained_tokens,
            losses=self.losses,
            best_validation_loss=self.best_validation_loss,
            evaluations_without_better=self.evaluations_without_better,
            tensors={name: t.detach().to("cpu", copy=True) for name, t in tensors.items()},
        )

    def go_back(self, snapshot: Snapshot) -> None:
        """What the run has learnt of memory, rollbacks and its data stays."""
        tensors = dict(snapshot.tensors)
        with torch.no_grad():
            self.trained.flat.copy_(tensors.pop("weights"))
        self.trained.round()
        self.generator.set_state(tensors.pop("generator"))
        self.set_moments(tensors)
        assert self.trained.flat.grad is not None
        self.trained.flat.grad.zero_()
        self.step, self.trained_tokens = snapshot.step, snapshot.trained_tokens
        self.losses = snapshot.losses
        self.best_validation_loss = snapshot.best_validation_loss
        self.evaluations_without_better = snapshot.evaluations_without_better

    def set_moments(self, tensors: dict[str, Tensor]) -> None:
        """The optimizer's own; there are none before the first step."""
        device = self.model.device  # fused AdamW keeps its step count too where the weights are
        copies = {name: t.to(device, copy=True) for name, t in tensors.items()}
        self.optimizer.state[self.trained.flat] = copies

    @property
    def is_good_moment(self) -> bool:
        """Whether to keep a snapshot, if all is well: no clock decides, as none does that when a
        run is resumed.
        """
        is_due = self.step % self.spec.rollback_steps == 0
        return is_due or self.order.epoch_ended_by(self.step) is not None

    @property
    def is_complete(self) -> bool:
        """All steps are done, or the validation loss has not fallen for too long."""
        patience = self.spec.early_stopping_patience
        is_out_of_patience = patience is not None and self.evaluations_without_better >= patience
        return is_out_of_patience or self.step >= self.order.total_steps


def open_run(model: BaseModel, spec: TrainSpec) -> Run:
    """Open the data and put an adapter beside the base; `close_run` takes it away.

    Or have the base's own weights trained, for which there is no way back.
    """
    _check_base(model, spec)
    limit = _max_length_tokens(model, spec)
    training = data.open_file(spec.training_file, model.tokenizer, limit, method=spec.method)
    validation = None
    if spec.validation_file is not None:
        validation = data.open_file(
            spec.validation_file, model.tokenizer, limit, method=spec.method, file="validation"
        )
    order = BatchOrder(
        num_examples=len(training),
        batch_size=spec.batch_size,
        num_epochs=spec.num_epochs,
        seed=spec.seed,
    )
    trained = _first_weights(model, spec)
    obstacle = forward.packing_obstacle(model, limit)
    notes = []
    if spec.trains_all_weights:
        notes.append("The job has a copy of the base model to itself.")
    if obstacle:
        notes.append(f"{obstacle} Each example is trained alone.")
    else:
        notes += plain_paths.sentences(model)
        if spec.lora.dropout > 0:
            notes.append("Prefixes are not shared: the LoRA dropout is not 0.")
    run = Run(
        spec=spec,
        model=model,
        trained=trained,
        objective=_objective(model, spec),
        training=training,
        validation=validation,
        order=order,
        optimizer=optim.adamw(trained.flat, weight_decay=spec.weight_decay),
        generator=torch.Generator(model.device).manual_seed(spec.seed % 2**63),
        packs_examples=obstacle is None,
        notes=tuple(notes),
        micro_batch_tokens=spec.micro_batch_tokens,
    )
    run.last_good = run.snapshot(run.generator.get_state())
    return run


def close_run(run: Run) -> None:
    """Weights of the base that were trained stay as they are."""
    run.model.adapters.remove(run.spec.run_id)
    run.model.adapters.remove(_reference_id(run.spec))


def _max_length_tokens(model: BaseModel, spec: TrainSpec) -> int:
    return min(spec.max_length_tokens, model.context_length)


def _check_base(model: BaseModel, spec: TrainSpec) -> None:
    if model.whole is not None:
        raise UnsupportedModel(
            "The base model's weights were trained here, and are those of the base no more."
        )
    if spec.trains_all_weights and model.quantization is not None:
        raise UnsupportedModel(
            "The base model's weights are packed in 4 bits, so they cannot be trained; train an "
            "adapter, or all weights of a base model that is added without --quantize."
        )
    if spec.trains_all_weights and len(model.adapters):
        raise UnsupportedModel(
            "The base model is in use, so its own weights cannot be trained; load it once more."
        )


def _first_weights(model: BaseModel, spec: TrainSpec) -> Trained:
    if spec.trains_all_weights:
        model.whole = WholeModel(model.network, model.folder, remembers_start=spec.method == "dpo")
        return model.whole
    if spec.initial_adapter is None:
        return model.adapters.create(spec.run_id, spec.lora, spec.seed)
    return model.adapters.load_to_train(
        spec.run_id, spec.initial_adapter, dropout=spec.lora.dropout
    )


def _objective(model: BaseModel, spec: TrainSpec) -> Objective:
    """With the adapter that it compares to, where there is one."""
    if spec.method == "supervised":
        return Imitation()
    if model.whole is not None:
        return Preference(spec.beta, reference=None, weights=model.whole.as_at_start)
    if spec.initial_adapter is None:
        return Preference(spec.beta, reference=None)
    model.adapters.load(_reference_id(spec), spec.initial_adapter)
    return Preference(spec.beta, reference=Route(adapter_id=_reference_id(spec)))


def _reference_id(spec: TrainSpec) -> str:
    return f"{spec.run_id}-reference"
