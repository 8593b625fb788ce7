"""Registered adapters below the edge: what answers, for whom, and what is kept."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from safetensors.torch import load_file, save_file

from tests.adapter_files import config, lora_tensors, safetensors, weights
from tests.factories import base_model, context, job, organization
from tunesmith.app import TINY_FOLDER
from tunesmith.domain.accounts import Organization
from tunesmith.domain.adapters import CONFIG_FILE, WEIGHTS_FILE, AdapterLimits, NewAdapter
from tunesmith.domain.errors import InvalidAdapter, InvalidRequest, NotFound
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import JobStatus
from tunesmith.domain.models import Deployment, TunedModel
from tunesmith.services import adapter_files, adapters, models, tensor_headers
from tunesmith.services.context import Context, House
from tunesmith.store.database import Store

NEW = NewAdapter(name="mine", base_model="base")


@pytest.fixture
def ctx(store: Store, house: House, owner: Organization) -> Context:
    store.models.put_base(base_model(folder=str(TINY_FOLDER)))
    return context(store, house, owner)


@pytest.fixture
def stranger(store: Store, house: House) -> Context:
    other = organization("other")
    store.accounts.add_organization(other)
    return context(store, house, other)


def add_pair(ctx: Context, reference: str) -> None:
    for name, content in ((CONFIG_FILE, config()), (WEIGHTS_FILE, weights())):
        adapters.add_file(ctx, reference, name, ctx.house.blobs.put(content))


def test_an_adapter_answers_with_its_second_file(ctx: Context) -> None:
    adapter = adapters.create(ctx, NEW)
    for reference in ("mine", str(adapter.id)):
        with pytest.raises(InvalidRequest, match="lacks files") as caught:
            adapters.usable_model(ctx, reference)
        assert caught.value.code == "adapter_incomplete"
    add_pair(ctx, "mine")
    model = adapters.usable_model(ctx, "mine")
    assert (model.id, model.job_id, model.base_model) == (adapter.id, None, "base")
    assert [artifact.name for artifact in model.artifacts] == [CONFIG_FILE, WEIGHTS_FILE]
    assert adapters.usable_model(ctx, adapter.id.hex) == model
    assert models.list_tuned(ctx) == (model,)


def test_what_has_still_to_be_deployed_does_not_answer(ctx: Context, store: Store) -> None:
    adapter = adapters.create(ctx, NEW)
    assert adapters.find_answering(ctx, "mine") is None
    add_pair(ctx, "mine")
    model = adapters.usable_model(ctx, "mine")
    waiting = Deployment(
        model_id=model.id, organization_id=ctx.owner, name="mine-deployed", deployed_at=None
    )
    store.deployments.add(waiting)
    for reference in ("mine", str(adapter.id)):
        assert adapters.find_answering(ctx, reference) is None
        with pytest.raises(InvalidRequest, match="deploy the job"):
            adapters.usable_model(ctx, reference)
    store.deployments.deploy(model.id, ctx.now())
    assert adapters.find_answering(ctx, "mine") == adapters.usable_model(ctx, "mine") == model


def test_an_adapter_that_a_job_makes_answers_with_what_the_job_leaves(
    ctx: Context, store: Store, owner: Organization
) -> None:
    adapters.create(ctx, NEW)
    blob = ctx.house.blobs.put(b"{}\n")
    made = adapters.train(
        ctx, "mine", filename="a.jsonl", blob=blob, hyperparameters=Hyperparameters(lora_rank=4)
    )
    assert made.job_id is not None
    with pytest.raises(InvalidRequest, match="still to be trained"):
        adapters.usable_model(ctx, "mine")
    left = tuned_model(ctx, made.job_id)
    store.models.add_tuned(left)
    store.adapters.settle(made.job_id, left.id, ctx.now())
    for reference in ("mine", str(made.id), str(left.id)):
        assert adapters.usable_model(ctx, reference) == left
        assert adapters.get(ctx, reference).adapter.id == made.id
    assert [state.adapter.name for state in adapters.list_(ctx)] == ["mine"]


def test_a_public_adapter_that_a_job_made_answers_others_by_every_id(
    ctx: Context, store: Store, stranger: Context
) -> None:
    adapters.create(ctx, replace(NEW, is_public=True))
    made = adapters.train(
        ctx,
        "mine",
        filename="a.jsonl",
        blob=ctx.house.blobs.put(b"{}\n"),
        hyperparameters=Hyperparameters(lora_rank=4),
    )
    assert made.job_id is not None
    left = tuned_model(ctx, made.job_id)
    store.models.add_tuned(left)
    store.adapters.settle(made.job_id, left.id, ctx.now())
    for reference in ("mine", str(made.id), str(left.id)):
        assert adapters.usable_model(stranger, reference) == left
        assert adapters.find_answering(stranger, reference) == left


def test_a_model_outlives_its_job_in_the_list(ctx: Context, store: Store) -> None:
    adapters.create(ctx, NEW)
    add_pair(ctx, "mine")
    left = replace(tuned_model(ctx, uuid4()), job_id=None)  # its job has been deleted
    store.models.add_tuned(left)
    assert {state.adapter.name for state in adapters.list_(ctx)} == {"mine", "ours-abcd1234"}
    assert adapters.usable_model(ctx, "ours-abcd1234") == left


def test_what_other_jobs_leave_is_there_by_id_and_name(
    ctx: Context, store: Store, owner: Organization
) -> None:
    its = job(owner, JobStatus.SUCCEEDED)
    store.jobs.add(its)
    left = tuned_model(ctx, its.id)
    store.models.add_tuned(left)
    (state,) = adapters.list_(ctx)
    assert (state.adapter.id, state.adapter.name) == (left.id, "ours-abcd1234")
    for reference in (str(left.id), "ours-abcd1234"):
        assert adapters.usable_model(ctx, reference) == left
    for reference in ("other-abcd1234", "abcd1234"):
        with pytest.raises(NotFound):
            adapters.usable_model(ctx, reference)
    with pytest.raises(InvalidRequest, match="in use"):
        adapters.create(ctx, NewAdapter(name="ours-abcd1234", base_model="base"))
    adapters.delete(ctx, "ours-abcd1234")
    assert adapters.list_(ctx) == ()


def test_others_use_what_is_public_and_answers(ctx: Context, stranger: Context) -> None:
    adapters.create(ctx, NewAdapter(name="mine", base_model="base", is_public=True))
    with pytest.raises(NotFound):
        adapters.usable_model(stranger, "mine")
    add_pair(ctx, "mine")
    model = adapters.usable_model(ctx, "mine")
    assert adapters.usable_model(stranger, "mine") == model
    assert adapters.usable_model(stranger, str(model.id)) == model
    with pytest.raises(NotFound):
        adapters.get(stranger, "mine")
    with pytest.raises(NotFound):
        adapters.delete(stranger, "mine")


def test_ones_own_comes_before_what_is_public(ctx: Context, stranger: Context) -> None:
    adapters.create(ctx, NewAdapter(name="mine", base_model="base", is_public=True))
    add_pair(ctx, "mine")
    own = adapters.create(stranger, NEW)
    add_pair(stranger, "mine")
    assert adapters.usable_model(stranger, "mine").id == own.id


def test_the_bytes_of_an_adapter_are_in_use_until_it_is_deleted(ctx: Context, store: Store) -> None:
    adapters.create(ctx, NEW)
    blob = ctx.house.blobs.put(config())
    adapters.add_file(ctx, "mine", CONFIG_FILE, blob)
    assert blob.sha256 in store.files.blobs_in_use()
    adapters.delete(ctx, "mine")
    assert blob.sha256 not in store.files.blobs_in_use()


def test_a_model_that_is_deleted_takes_its_adapter_with_it(ctx: Context) -> None:
    adapters.create(ctx, NEW)
    add_pair(ctx, "mine")
    models.delete_tuned(ctx, adapters.usable_model(ctx, "mine"))
    assert adapters.list_(ctx) == ()


def test_headers_are_read_as_the_library_writes_them(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(weights())
    save_file(load_file(path), path, metadata={"format": "pt"})
    tensors = tensor_headers.read(path)
    assert {name: (t.dtype, list(t.shape)) for name, t in tensors.items()} == lora_tensors()
    shipped = TINY_FOLDER / "model.safetensors"
    expected = {name: tensor.shape for name, tensor in load_file(shipped).items()}
    assert {name: t.shape for name, t in tensor_headers.read(shipped).items()} == expected


def test_linear_layers_that_are_stored_the_other_way_round_are_known(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "gpt2"}')
    stored = {"h.0.attn.c_attn.weight": ("F32", [3, 9])}
    (tmp_path / "model.safetensors").write_bytes(safetensors(stored))
    base = base_model(folder=str(tmp_path))
    peft, lora = tmp_path / "peft", tmp_path / "lora"
    peft.write_bytes(config())
    lora.write_bytes(weights(layers={"transformer.h.0.attn.c_attn": (9, 3)}))
    adapter_files.check_pair(peft, lora, base, (), AdapterLimits())
    lora.write_bytes(weights(layers={"transformer.h.0.attn.c_attn": (3, 9)}))
    with pytest.raises(InvalidAdapter, match="9 outputs"):
        adapter_files.check_pair(peft, lora, base, (), AdapterLimits())


@pytest.mark.parametrize(
    ("stored", "module", "base_config", "is_known"),
    [
        ("model.layers.0.q", "model.layers.0.q", "{}", True),
        ("model.layers.0.q", "layers.0.q", "{}", False),
        ("model.layers.0.q", "model.model.layers.0.q", "{}", False),
        ("model.layers.0.q", "model.language_model.layers.0.q", "{}", False),
        ("layers.0.q", "model.layers.0.q", "{}", True),
        ("language_model.model.layers.0.q", "model.language_model.layers.0.q", "{}", False),
        (
            "language_model.model.layers.0.q",
            "model.language_model.layers.0.q",
            '{"text_config": {}}',
            True,
        ),
    ],
)
def test_a_layer_is_known_by_the_name_that_it_has_when_it_is_loaded(
    tmp_path: Path, stored: str, module: str, base_config: str, is_known: bool
) -> None:
    (tmp_path / "config.json").write_text(base_config)
    (tmp_path / "model.safetensors").write_bytes(safetensors({f"{stored}.weight": ("F32", [2, 3])}))
    peft, lora = tmp_path / "peft", tmp_path / "lora"
    peft.write_bytes(config())
    lora.write_bytes(weights(layers={module: (2, 3)}))
    judged = partial(
        adapter_files.check_pair, peft, lora, base_model(folder=str(tmp_path)), (), AdapterLimits()
    )
    if is_known:
        judged()
    else:
        with pytest.raises(InvalidAdapter, match="no layer"):
            judged()


def tuned_model(ctx: Context, job_id: UUID) -> TunedModel:
    return TunedModel(
        id=uuid4(),
        short_id="abcd1234",
        organization_id=ctx.owner,
        organization_slug=ctx.organization.slug,
        job_id=job_id,
        base_model="base",
        suffix="ours",
        step=None,
        artifacts=(),
        created_at=ctx.now(),
    )
