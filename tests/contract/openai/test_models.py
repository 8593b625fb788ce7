"""Models: listed, retrieved, deleted, and the files of tuned ones."""

import hashlib
from dataclasses import replace

import httpx
import openai
import pytest

from tests.contract.openai.support import error, refused, trained_job, upload
from tests.contract.server import ALIAS, BASE, Server
from tests.contract.worker import TOTAL_STEPS, WEIGHTS, Worker
from tunesmith.dialects.openai import translate


def not_found(name: str) -> dict[str, object]:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return error(message, param="model", code="model_not_found")


def test_base_models_are_known_by_name_and_alias(client: openai.OpenAI) -> None:
    base = client.models.retrieve(BASE)
    assert (base.id, base.object, base.owned_by) == (BASE, "model", "system")
    assert base.model_dump()["shutdown_date"] is None
    assert client.models.retrieve(ALIAS) == base
    assert client.models.list().data == [base]


def test_tuned_models_and_checkpoints_are_listed_for_their_owner(
    client: openai.OpenAI, stranger: openai.OpenAI, worker: Worker
) -> None:
    job = trained_job(client, worker, suffix="s")
    checkpoints = client.fine_tuning.jobs.checkpoints.list(job.id)
    names = {checkpoint.fine_tuned_model_checkpoint for checkpoint in checkpoints}
    assert {model.id for model in client.models.list()} == {BASE, *names}
    assert [model.id for model in stranger.models.list()] == [BASE]
    with refused(404, not_found(job.fine_tuned_model or "")):
        stranger.models.retrieve(job.fine_tuned_model or "")


def test_a_deleted_model_is_gone(client: openai.OpenAI, worker: Worker) -> None:
    name = trained_job(client, worker).fine_tuned_model or ""
    deleted = client.models.delete(name)
    assert deleted.model_dump() == {"id": name, "object": "model", "deleted": True}
    with refused(404, not_found(name)):
        client.models.retrieve(name)
    with refused(404, not_found(name)):
        client.models.delete(name)


def test_a_base_model_cannot_be_deleted(client: openai.OpenAI) -> None:
    message = f"{BASE!r} is a base model; only fine-tuned models can be deleted."
    with refused(403, error(message)):
        client.models.delete(BASE)


def test_a_tuned_model_whose_base_is_gone_is_there_and_does_not_answer(
    client: openai.OpenAI, server: Server, worker: Worker
) -> None:
    with server.database.write() as store:
        base = store.models.find_base(BASE)
        assert base is not None
        store.models.put_base(replace(base, name="going", aliases=()))
    job = client.fine_tuning.jobs.create(model="going", training_file=upload(client).id)
    worker.train(translate.inner_id("job", job.id))
    with server.database.write() as store:
        store.models.delete_base("going")
    name = client.fine_tuning.jobs.retrieve(job.id).fine_tuned_model or ""
    assert client.models.retrieve(name).id == name
    message = "The base model `going` of this fine-tuned model is not offered any more."
    body = error(message, param="model", code="model_not_found")
    with refused(404, body):
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "x"}])
    with refused(404, body):
        client.completions.create(model=name, prompt="x")
    with refused(404, body):
        client.responses.create(model=name, input="x")
    with refused(404, body):
        client.embeddings.create(model=name, input="x")
    assert client.models.delete(name).deleted


@pytest.mark.parametrize(
    "name",
    ["gpt-9", "ft:gpt-9:acme::00000000", "ft:x", "a b", "x/y/z", "ft:::::ckpt-step-1"],
)
def test_an_unknown_model_is_named(client: openai.OpenAI, name: str) -> None:
    with refused(404, not_found(name)):
        client.models.retrieve(name)
    with refused(404, not_found(name)):
        client.chat.completions.create(model=name, messages=[{"role": "user", "content": "x"}])


def test_a_name_that_is_no_text_is_nobodys(client: openai.OpenAI) -> None:
    with refused(404, not_found("a\0b")):
        client.models.retrieve("a\0b")
    with pytest.raises(openai.BadRequestError, match="NUL"):
        client.chat.completions.create(model="a\0b", messages=[{"role": "user", "content": "x"}])


def test_a_name_must_be_right_in_all_of_its_parts(client: openai.OpenAI, worker: Worker) -> None:
    job = trained_job(client, worker, suffix="s")
    name = job.fine_tuned_model or ""
    checkpoint = client.fine_tuning.jobs.checkpoints.list(job.id).data[1]
    snapshot = checkpoint.fine_tuned_model_checkpoint
    wrong = [
        name.replace(":s:", ":t:"),
        name + ":ckpt-step-4",
        snapshot.partition(":ckpt")[0],
        snapshot.replace("step-2", "step-3"),
    ]
    for near in wrong:
        with refused(404, not_found(near)):
            client.models.retrieve(near)


def test_slashes_and_colons_may_be_escaped(client: openai.OpenAI, http: httpx.Client) -> None:
    assert http.get("/models/acme/tiny-1b").json()["id"] == BASE
    assert http.get("/models/acme%2Ftiny-1b").json()["id"] == BASE


def test_the_files_of_a_tuned_model_can_be_downloaded(
    client: openai.OpenAI, http: httpx.Client, worker: Worker
) -> None:
    name = trained_job(client, worker, suffix="s").fine_tuned_model
    weights = WEIGHTS % TOTAL_STEPS
    file = {
        "object": "model.file",
        "name": "adapter_model.safetensors",
        "bytes": len(weights),
        "sha256": hashlib.sha256(weights).hexdigest(),
    }
    assert http.get(f"/models/{name}/files").json() == {"object": "list", "data": [file]}
    assert http.get(f"/models/{name}/files/{file['name']}").content == weights
    assert http.get(f"/models/{name}/files/optimizer.safetensors").status_code == 404
    assert http.get(f"/models/{name}/files/..%2f..%2fx").status_code == 404


def test_a_base_model_has_no_files_to_download(http: httpx.Client) -> None:
    answer = http.get(f"/models/{BASE}/files")
    assert answer.status_code == 400
    assert answer.json()["error"] == error(
        f"{BASE!r} is a base model, and has no files to download."
    )
