import hashlib
import json
from concurrent.futures import Future
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.factories import assignment, base_model
from tests.unit.worker.fakes import CPU, READY, blob_of
from tunesmith.domain.assignments import Assignment
from tunesmith.domain.catalog import WeightFile
from tunesmith.domain.files import Artifact
from tunesmith.engine.spec import LoraSpec, TrainSpec
from tunesmith.worker.job_lock import LOCK_FILE, BaseDigests, JobLock, machine_of

WEIGHTS = "adapter_model.safetensors"


def digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def base_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "tokenizer.json").write_bytes(b"words")
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "chat_template.jinja").write_bytes(b"template")
    return folder


@pytest.fixture
def its(base_folder: Path) -> Assignment:
    files = tuple(
        WeightFile(name=path.name, size_bytes=path.stat().st_size)
        for path in sorted(base_folder.iterdir())
    )
    initial = (
        Artifact(name=WEIGHTS, blob=blob_of(b"before")),
        Artifact(name=LOCK_FILE, blob=blob_of(b"its own")),
    )
    return assignment(
        base_model=base_model(files=files),
        training_file=blob_of(b"rows"),
        validation_file=blob_of(b"more rows"),
        initial_adapter=initial,
    )


def lock_of(its: Assignment, base_folder: Path, tmp_path: Path, **changes: Any) -> JobLock:
    spec = TrainSpec(
        run_id="job-a1",
        training_file=tmp_path / "training.jsonl",
        output_dir=tmp_path / "output",
        lora=LoraSpec(rank=4, alpha=8),
        num_epochs=3,
        batch_size=2,
        learning_rate=1e-3,
        seed=7,
        max_length_tokens=64,
    )
    return JobLock(
        assignment=its,
        spec=replace(spec, **changes),
        machine=machine_of(READY, (CPU,), 2),
        base_digests=BaseDigests().begin(its.base_model, base_folder),
        base_folder=base_folder,
    )


def written(lock: JobLock, folder: Path, step: int, *, was_accompanied: bool = False) -> Any:
    folder.mkdir(exist_ok=True)
    (folder / WEIGHTS).write_bytes(b"tuned")
    lock.write(folder, step, was_accompanied=was_accompanied)
    return json.loads((folder / LOCK_FILE).read_text())


def test_a_lock_names_all_that_made_a_model(
    its: Assignment, base_folder: Path, tmp_path: Path
) -> None:
    lock = written(lock_of(its, base_folder, tmp_path), tmp_path / "adapter", 9)
    assert lock["base_model"]["files"] == {
        "chat_template.jinja": digest(b"template"),
        "model.safetensors": digest(b"weights"),
        "tokenizer.json": digest(b"words"),
    }
    assert lock["base_model"]["tokenizer_sha256"] == digest(b"words")
    assert lock["base_model"]["chat_template_sha256"] == digest(b"template")
    assert lock["data"] == {
        "training_sha256": digest(b"rows"),
        "validation_sha256": digest(b"more rows"),
        "mask_sha256": None,
        "initial_adapter": {WEIGHTS: digest(b"before")},
    }
    recipe = lock["recipe"]
    assert (recipe["method"], recipe["seed"], recipe["lora"]["rank"]) == ("supervised", 7, 4)
    assert (recipe["max_length_tokens"], recipe["micro_batch_tokens"]) == (64, 2048)
    assert not {"run_id", "output_dir", "training_file"} & recipe.keys()
    (attempt,) = lock["attempts"]
    assert (attempt["from_step"], attempt["to_step"], attempt["shared_its_host"]) == (0, 9, False)
    assert (attempt["device"], attempt["device_name"]) == ("cpu", "Some CPU")
    assert (attempt["dtype"], attempt["threads"]) == ("float32", 2)
    assert {"tunesmith", "torch", "python"} <= attempt["versions"].keys()
    assert lock["was_alone"]
    assert lock["result"] == {WEIGHTS: digest(b"tuned")}


def test_an_attempt_that_goes_on_adds_to_what_was_before(
    its: Assignment, base_folder: Path, tmp_path: Path
) -> None:
    checkpoint = tmp_path / "checkpoint"
    first = lock_of(its, base_folder, tmp_path)
    written(first, checkpoint, 4, was_accompanied=True)
    second = lock_of(its, base_folder, tmp_path, resume_from=checkpoint)
    second.from_step = 4
    lock = written(second, tmp_path / "adapter", 9)
    steps = [(attempt["from_step"], attempt["to_step"]) for attempt in lock["attempts"]]
    assert steps == [(0, 4), (4, 9)]
    assert not lock["was_alone"]


def test_a_checkpoint_from_before_there_were_locks_is_gone_on_from(
    its: Assignment, base_folder: Path, tmp_path: Path
) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    lock = written(lock_of(its, base_folder, tmp_path, resume_from=bare), tmp_path / "adapter", 9)
    assert len(lock["attempts"]) == 1


def test_a_template_within_the_tokenizers_configuration_counts(
    its: Assignment, base_folder: Path, tmp_path: Path
) -> None:
    (base_folder / "chat_template.jinja").rename(base_folder / "elsewhere")
    of = []
    for template in ("one", "other"):
        config = {"chat_template": template}
        (base_folder / "tokenizer_config.json").write_text(json.dumps(config))
        lock = JobLock(
            assignment=its,
            spec=lock_of(its, base_folder, tmp_path).spec,
            machine=machine_of(READY, (CPU,), 2),
            base_digests=_done({}),
            base_folder=base_folder,
        )
        of.append(written(lock, tmp_path / "adapter", 9)["base_model"]["chat_template_sha256"])
    assert None not in of
    assert of[0] != of[1]


def test_a_base_models_files_are_read_once(its: Assignment, base_folder: Path) -> None:
    digests = BaseDigests()
    first = digests.begin(its.base_model, base_folder)
    assert digests.begin(its.base_model, base_folder) is first
    assert len(first.result(10)) == 3


def test_files_that_could_not_be_read_are_read_again(its: Assignment, base_folder: Path) -> None:
    digests = BaseDigests()
    (base_folder / "tokenizer.json").rename(base_folder / "gone")
    assert isinstance(digests.begin(its.base_model, base_folder).exception(10), FileNotFoundError)
    (base_folder / "gone").rename(base_folder / "tokenizer.json")
    assert len(digests.begin(its.base_model, base_folder).result(10)) == 3


def _done(digests: dict[str, str]) -> Future[dict[str, str]]:
    done: Future[dict[str, str]] = Future()
    done.set_result(digests)
    return done
