from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.factories import assignment, base_model, conversation, json_lines
from tests.unit.worker.fakes import FakeClient
from tunesmith.domain.assignments import AdapterSource
from tunesmith.domain.catalog import BaseModel, WeightFile
from tunesmith.domain.datasets import DatasetSummary
from tunesmith.domain.files import Artifact
from tunesmith.domain.hyperparameters import LEARNING_RATE_SHARE, Hyperparameters, Method, Schedule
from tunesmith.domain.jobs import Failure
from tunesmith.engine.spec import LoraSpec
from tunesmith.worker.prepare import Workshop, check_data

TEN = [conversation()] * 10


@pytest.fixture
def workshop(client: FakeClient, tmp_path: Path) -> Workshop:
    return Workshop(cast(Any, client), tmp_path / "work", name="box")


def write(path: Path, *rows: Any) -> Path:
    path.write_bytes(b"".join(json_lines(*rows)))
    return path


def test_good_data_is_summed_up(tmp_path: Path) -> None:
    training, validation = write(tmp_path / "t", *TEN), write(tmp_path / "v", conversation())
    assert check_data(training, validation, Method.SUPERVISED) == DatasetSummary(num_examples=10)
    assert check_data(training, None, Method.SUPERVISED) == DatasetSummary(num_examples=10)


def test_the_file_at_fault_is_named(tmp_path: Path) -> None:
    training, validation = write(tmp_path / "t", *TEN), write(tmp_path / "v", conversation(), [])
    verdict = check_data(training, validation, Method.SUPERVISED)
    assert isinstance(verdict, Failure)
    assert verdict.param == "validation_file"
    assert "invalid validation file. Line 2:" in verdict.message
    assert (verdict.rule, verdict.line, verdict.path) == ("format.not-object", 2, "$")


def test_the_place_in_the_row_is_named_as_the_doctor_does(tmp_path: Path) -> None:
    row = conversation(("user", "Hi."), ("critic", "No."))
    verdict = check_data(write(tmp_path / "t", *TEN, row), None, Method.SUPERVISED)
    assert isinstance(verdict, Failure)
    assert (verdict.rule, verdict.line) == ("roles.unknown", 11)
    assert verdict.path == "$.messages[1].role"


def test_an_empty_validation_file_is_refused(tmp_path: Path) -> None:
    verdict = check_data(write(tmp_path / "t", *TEN), write(tmp_path / "v"), Method.SUPERVISED)
    assert isinstance(verdict, Failure)
    assert verdict.param == "validation_file"


def test_a_job_becomes_what_the_engine_is_asked(workshop: Workshop, client: FakeClient) -> None:
    its = assignment(
        base_model=base_model(learning_rate=1e-3, context_tokens=256),
        training_file=client.put(b"training"),
        validation_file=client.put(b"validation"),
        hyperparameters=Hyperparameters(
            num_epochs=4, batch_size=8, learning_rate_multiplier=0.5, lora_rank=4, lora_alpha=8.0
        ),
    )
    spec = workshop.train_spec(its, workshop.attempt_folder(its), checkpoint_seconds=30.0)
    assert spec.training_file.read_bytes() == b"training"
    assert spec.validation_file is not None
    assert spec.validation_file.read_bytes() == b"validation"
    assert (spec.num_epochs, spec.batch_size, spec.seed) == (4, 8, its.seed)
    assert (spec.learning_rate, spec.max_length_tokens) == (5e-4, 256)
    assert (spec.lora.rank, spec.lora.alpha) == (4, 8.0)
    assert (spec.resume_from, spec.checkpoint_every_seconds) == (None, 30.0)


def test_an_attempt_that_goes_on_has_the_checkpoint_in_its_folder(
    workshop: Workshop, client: FakeClient
) -> None:
    state = Artifact(name="training_state.json", blob=client.put(b"{}"))
    its = assignment(training_file=client.put(b"training"), resume_from=(state,))
    spec = workshop.train_spec(its, workshop.attempt_folder(its), checkpoint_seconds=30.0)
    assert spec.resume_from is not None
    assert (spec.resume_from / "training_state.json").read_bytes() == b"{}"


def test_a_preference_job_that_goes_on_from_a_tuned_model_is_asked_of_the_engine(
    workshop: Workshop, client: FakeClient
) -> None:
    weights = Artifact(name="adapter_model.safetensors", blob=client.put(b"weights"))
    its = assignment(
        method=Method.DPO,
        base_model=base_model(learning_rate=1e-3),
        training_file=client.put(b"training"),
        initial_adapter=(weights,),
        hyperparameters=Hyperparameters(
            num_epochs=1, batch_size=2, learning_rate_multiplier=2.0, beta=0.5
        ),
    )
    folder = workshop.attempt_folder(its)
    spec = workshop.train_spec(its, folder, checkpoint_seconds=30.0)
    assert (spec.method, spec.beta) == ("dpo", 0.5)
    assert spec.learning_rate == pytest.approx(2e-3 * LEARNING_RATE_SHARE[Method.DPO])
    assert spec.initial_adapter is not None
    assert spec.initial_adapter.is_relative_to(folder)
    assert (spec.initial_adapter / "adapter_model.safetensors").read_bytes() == b"weights"


def test_a_rate_and_a_warm_up_of_ones_own_are_honoured(
    workshop: Workshop, client: FakeClient
) -> None:
    asked = Hyperparameters(
        num_epochs=1,
        batch_size=1,
        learning_rate_multiplier=1.0,
        learning_rate=0.0123,
        warmup_steps=17,
    )
    its = assignment(hyperparameters=asked, training_file=client.put(b"{}"))
    spec = workshop.train_spec(its, workshop.attempt_folder(its), checkpoint_seconds=30.0)
    assert (spec.learning_rate, spec.warmup_steps) == (0.0123, 17)


def test_the_recipe_reaches_the_engine(workshop: Workshop, client: FakeClient) -> None:
    asked = Hyperparameters(
        num_epochs=1,
        batch_size=1,
        learning_rate_multiplier=1.0,
        lora_dropout=0.1,
        lora_targets=("q_proj",),
        use_rslora=True,
        lr_schedule=Schedule.LINEAR,
        weight_decay=0.01,
        max_grad_norm=0.5,
        early_stopping_patience=2,
    )
    its = assignment(hyperparameters=asked, training_file=client.put(b"{}"))
    spec = workshop.train_spec(its, workshop.attempt_folder(its), checkpoint_seconds=30.0)
    assert spec.lora == LoraSpec(dropout=0.1, targets=("q_proj",), use_rslora=True)
    assert (spec.lr_schedule, spec.weight_decay, spec.max_grad_norm) == ("linear", 0.01, 0.5)
    assert spec.early_stopping_patience == 2


def test_a_job_that_names_no_layers_has_all_of_them(workshop: Workshop, client: FakeClient) -> None:
    its = assignment(training_file=client.put(b"{}"))
    spec = workshop.train_spec(its, workshop.attempt_folder(its), checkpoint_seconds=30.0)
    assert spec.lora == LoraSpec()


def test_data_is_checked_for_the_method(tmp_path: Path) -> None:
    verdict = check_data(write(tmp_path / "t", *TEN), None, Method.DPO)
    assert isinstance(verdict, Failure)
    assert "Line 1: Example 1 is missing key 'input'." in verdict.message


def test_a_tuned_models_files_are_fetched_once(workshop: Workshop, client: FakeClient) -> None:
    weights = Artifact(name="adapter_model.safetensors", blob=client.put(b"weights"))
    source = AdapterSource(id="abc", artifacts=(weights,))
    folders = {workshop.adapter_folder(source) for _ in range(3)}
    assert len(folders) == 1
    assert (folders.pop() / "adapter_model.safetensors").read_bytes() == b"weights"
    assert client.fetched == ["adapter_model.safetensors"]


def model_in(folder: Path) -> BaseModel:
    files = (WeightFile(name="config.json", size_bytes=2), WeightFile(name="w", size_bytes=3))
    return base_model(folder=str(folder), files=files)


def test_a_base_model_that_this_machine_sees_is_used_where_it_lies(
    workshop: Workshop, client: FakeClient, tmp_path: Path
) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "w").write_text("www")
    assert workshop.model_folder(model_in(folder)) == folder
    assert client.fetched == []


def test_a_base_model_of_another_machine_is_fetched_once(
    workshop: Workshop, client: FakeClient, tmp_path: Path
) -> None:
    client.weights = {"config.json": b"{}", "w": b"www"}
    model = model_in(tmp_path / "not-here")
    folder = workshop.model_folder(model)
    assert (folder / "w").read_bytes() == b"www"
    assert workshop.model_folder(model) == folder
    assert client.fetched == ["config.json", "w"]


def test_a_file_of_another_size_is_fetched_again(
    workshop: Workshop, client: FakeClient, tmp_path: Path
) -> None:
    client.weights = {"config.json": b"{}", "w": b"www"}
    model = model_in(tmp_path / "not-here")
    (workshop.model_folder(model) / "w").write_text("half")
    workshop.model_folder(model)
    assert client.fetched == ["config.json", "w", "w"]


def test_changed_weights_of_the_old_size_are_fetched_again(
    workshop: Workshop, client: FakeClient, tmp_path: Path
) -> None:
    client.weights = {"config.json": b"{}", "w": b"www"}
    old, new = (
        replace(model_in(tmp_path / "not-here"), fingerprint=fingerprint)
        for fingerprint in ("old", "new")
    )
    workshop.model_folder(old)
    client.weights["w"] = b"vvv"
    assert (workshop.model_folder(new) / "w").read_bytes() == b"vvv"
    assert (workshop.model_folder(old) / "w").read_bytes() == b"www"
