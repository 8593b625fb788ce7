"""Job as leased -> what a host can work on: files fetched, paths set, a `TrainSpec`."""

import hashlib
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import cast

import structlog

from tunesmith.domain import disk
from tunesmith.domain.assignments import AdapterSource, Assignment, Resident
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.datasets import (
    DatasetSummary,
    check_training_lines,
    read_lines,
    require_enough_examples,
)
from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.hyperparameters import AUTO, DEFAULT_BETA, Method
from tunesmith.domain.jobs import Failure
from tunesmith.domain.rules import Rule
from tunesmith.engine.spec import ALL_LINEAR, LoraSpec, TrainSpec
from tunesmith.worker.client import Client
from tunesmith.worker.job_lock import BaseDigests

log = structlog.get_logger()

TRAINING, VALIDATION = "training", "validation"


class Workshop:
    """The worker's scratch folder and what it fetches into it.

    `min_free_bytes` are to be left on its disk by whatever begins.
    """

    def __init__(self, client: Client, folder: Path, *, name: str, min_free_bytes: int = 0) -> None:
        self._client = client
        self._folder = folder
        self._name = name
        self._min_free_bytes = min_free_bytes
        self.base_digests = BaseDigests()
        for leftover in ("attempts", "adapters"):  # of an earlier process; both can be had again
            shutil.rmtree(folder / leftover, ignore_errors=True)

    @property
    def is_short_of_room(self) -> bool:
        """Whether nothing new should begin here."""
        return disk.free_bytes(self._folder) < self._min_free_bytes

    def shortage(self, assignment: Assignment) -> str:
        """How much an attempt needs, and how much there is: a sentence.

        A checkpoint is written while the one before is still there.
        """
        validation = assignment.validation_file
        data = assignment.training_file.size_bytes + (validation.size_bytes if validation else 0)
        checkpoint = sum(artifact.blob.size_bytes for artifact in assignment.resume_from)
        needed_bytes = self._min_free_bytes + data + 2 * checkpoint
        return disk.shortage(f"worker {self._name}", self._folder, needed_bytes)

    def make_room(self, residents: Collection[Resident]) -> bool:
        """Remove what can be had again and is not in use; whether there was anything."""
        kept = {_copy_name(r.base_model, r.fingerprint) for r in residents}
        copies = (self._folder / "base-models").glob("*")
        removable = [copy for copy in copies if copy.name not in kept]
        removable += (self._folder / "adapters").glob("*")  # hosts have read theirs
        for folder in removable:
            shutil.rmtree(folder, ignore_errors=True)
        if removable:
            log.warning("scratch removed to make room", count=len(removable))
        return bool(removable)

    def attempt_folder(self, assignment: Assignment) -> Path:
        return self._folder / "attempts" / f"{assignment.job_id}-a{assignment.attempt}"

    def fetch_data(self, assignment: Assignment, folder: Path) -> tuple[Path, Path | None]:
        """The training file and the validation file, if there is one."""
        training = self._client.fetch(_artifact(TRAINING, assignment.training_file), folder)
        if assignment.validation_file is None:
            return training, None
        validation = self._client.fetch(_artifact(VALIDATION, assignment.validation_file), folder)
        return training, validation

    def train_spec(
        self, assignment: Assignment, folder: Path, checkpoint_seconds: float
    ) -> TrainSpec:
        """Raises `Unavailable` where the server is away."""
        training_file, validation_file = self.fetch_data(assignment, folder)
        asked = assignment.hyperparameters
        return TrainSpec(
            run_id=f"{assignment.job_id}-a{assignment.attempt}",
            training_file=training_file,
            validation_file=validation_file,
            output_dir=folder / "output",
            method=assignment.method.value,
            beta=DEFAULT_BETA if asked.beta == AUTO else asked.beta,
            initial_adapter=self._fetch_all(assignment.initial_adapter, folder / "initial"),
            resume_from=self._fetch_all(assignment.resume_from, folder / "resume"),
            lora=LoraSpec(
                rank=asked.lora_rank,
                alpha=asked.lora_alpha,
                dropout=asked.lora_dropout,
                targets=asked.lora_targets or (ALL_LINEAR,),
                use_rslora=asked.use_rslora,
            ),
            num_epochs=cast(int, asked.num_epochs),
            batch_size=cast(int, asked.batch_size),
            learning_rate=_learning_rate(assignment),
            warmup_steps=asked.warmup_steps,
            lr_schedule=asked.lr_schedule.value,
            weight_decay=asked.weight_decay,
            max_grad_norm=asked.max_grad_norm,
            early_stopping_patience=asked.early_stopping_patience,
            trains_all_weights=asked.trains_all_weights,
            seed=assignment.seed,
            max_length_tokens=assignment.base_model.context_tokens,
            checkpoint_every_seconds=checkpoint_seconds,
        )

    def adapter_folder(self, adapter: AdapterSource) -> Path:
        """A tuned model's files, fetched once."""
        folder = self._folder / "adapters" / adapter.id
        if not folder.is_dir():
            self._fetch_all(adapter.artifacts, folder)
        return folder

    def model_folder(self, model: BaseModel) -> Path:
        """The base model's folder: the server's own where this machine sees it, else a copy."""
        theirs = Path(model.folder)
        if _holds(theirs, model):
            return theirs
        folder = self._folder / "base-models" / _copy_name(model.name, model.fingerprint)
        if model.artifacts and not folder.is_dir():
            self._fetch_all(model.artifacts, folder)
        for file in model.files:
            target = folder / Path(file.name).name
            if not target.is_file() or target.stat().st_size != file.size_bytes:
                self._client.fetch_weights(model.name, file.name, target)
        return folder

    def _fetch_all(self, artifacts: tuple[Artifact, ...], folder: Path) -> Path | None:
        if not artifacts:
            return None
        aside = folder.with_name(folder.name + ".part")
        for artifact in artifacts:
            self._client.fetch(artifact, aside)
        aside.rename(folder)
        return folder


def _copy_name(base_model: str, fingerprint: str | None) -> str:
    return hashlib.sha256(f"{base_model} {fingerprint}".encode()).hexdigest()[:16]


def _learning_rate(assignment: Assignment) -> float:
    asked = assignment.hyperparameters
    if asked.learning_rate is not None:
        return asked.learning_rate
    share = asked.learning_rate_share(assignment.method)
    multiplier = cast(float, asked.learning_rate_multiplier)
    return assignment.base_model.learning_rate * share * multiplier


def check_data(
    training_file: Path, validation_file: Path | None, method: Method
) -> DatasetSummary | Failure:
    """The whole of both files, without a tokenizer."""
    summary = None
    for path, which in ((validation_file, VALIDATION), (training_file, TRAINING)):
        if path is None:
            continue
        try:
            with path.open("rb") as file:
                summary = check_training_lines(read_lines(file), method)
            if which == TRAINING:
                require_enough_examples(summary)
            elif summary.num_examples == 0:
                raise InvalidTrainingData("The file is empty.")
        except InvalidTrainingData as error:
            return data_failure(
                which, error.code, error.message, error.line, rule=error.rule, path=error.path
            )
    assert summary is not None
    return summary


def data_failure(
    which: str, code: str, message: str, line: int | None, *, rule: Rule, path: str = "$"
) -> Failure:
    """`which` is "training" or "validation"; the rules are the dataset doctor's."""
    place = "" if line is None else f"Line {line}: "
    return Failure(
        code=code,
        message=f"The job failed due to an invalid {which} file. {place}{message}",
        param=f"{which}_file",
        rule=rule,
        line=line,
        path=path,
    )


def _artifact(which: str, blob: Blob) -> Artifact:
    return Artifact(name=f"{which}.jsonl", blob=blob)


def _holds(folder: Path, model: BaseModel) -> bool:
    """Whether a folder has the model's files, by their sizes."""
    try:
        return bool(model.files) and all(
            (folder / file.name).stat().st_size == file.size_bytes for file in model.files
        )
    except OSError:
        return False
