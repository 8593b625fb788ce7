"""The files of finetunes: in any order, whole or not at all, and judged before they are kept."""

import hashlib
import json
import socket
from pathlib import Path
from typing import Any

import cloudflare
import httpx
import pytest

from tests import adapter_files
from tests.adapter_files import K_PROJ, Q_PROJ, config, lora_tensors, safetensors, weights
from tests.contract.cloudflare.support import CONFIG, MODEL, WEIGHTS, Account, refused, result
from tests.contract.cloudflare.test_finetunes import EXAMPLES, limits
from tests.contract.server import ALIAS, BASE, Server
from tests.contract.worker import Worker
from tunesmith.domain.accounts import Scope
from tunesmith.domain.jobs import Failure
from tunesmith.domain.paging import PageRequest

BOUNDARY = "xyz"


def form(*parts: tuple[str, str | None, bytes]) -> bytes:
    """Of name, filename and content."""
    body = b""
    for name, filename, content in parts:
        disposition = f'form-data; name="{name}"'
        if filename is not None:
            disposition += f'; filename="{filename}"'
        body += f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n\r\n".encode()
        body += content + b"\r\n"
    return body + f"--{BOUNDARY}--\r\n".encode()


def post_form(account: Account, body: bytes, finetune: str = "mine") -> httpx.Response:
    return account.http.post(
        f"/finetunes/{finetune}/finetune-assets",
        content=body,
        headers={"content-type": f"multipart/form-data; boundary={BOUNDARY}"},
    )


def num_models(server: Server, account: Account) -> int:
    with server.database.read() as store:
        return len(store.models.list_tuned(account.caller.organization.id))


@pytest.mark.parametrize("order", [(CONFIG, WEIGHTS), (WEIGHTS, CONFIG)])
def test_two_files_make_a_model_that_answers_in_every_dialect(
    server: Server, account: Account, order: tuple[str, str]
) -> None:
    finetune = account.created("my adapter")
    contents = {CONFIG: config(), WEIGHTS: weights()}
    for name in order:
        assert account.one(finetune["id"])["status"] == "incomplete"
        answer = account.upload(finetune["id"], name, contents[name])
        asset = result(answer)
        assert (asset["file_name"], asset["finetune_id"]) == (name, finetune["id"])
        assert set(asset) == {
            "id", "bucket_name", "created_at", "file_name", "finetune_id", "modified_at",
        }  # fmt: skip
    assert account.one(finetune["id"])["status"] == "ready"
    assert sorted(account.file_names("my adapter")) == [CONFIG, WEIGHTS]
    for name, content in contents.items():
        path = f"/finetunes/my adapter/finetune-assets/{name}"
        assert account.http.get(path).content == content
    models = httpx.get(f"{server.url}/v1/models", headers=account.http.headers).json()["data"]
    (tuned,) = [model["id"] for model in models if model["id"].startswith("ft:")]
    slug = account.caller.organization.slug
    assert tuned.startswith(f"ft:tunesmith-tiny:{slug}:my-adapter:")
    body = {"model": tuned, "messages": [{"role": "user", "content": "Hi."}]}
    said = httpx.post(f"{server.url}/v1/chat/completions", json=body, headers=account.http.headers)
    assert said.json()["choices"][0]["message"]["content"] == "Hello"
    httpx.delete(f"{server.url}/v1/models/{tuned}", headers=account.http.headers)
    assert account.list_() == []


@pytest.mark.parametrize("is_file_first", [True, False])
@pytest.mark.parametrize("filename", ["upload", "blob", "../../etc/passwd", CONFIG])
def test_the_parts_come_in_either_order(
    account: Account, is_file_first: bool, filename: str
) -> None:
    account.created()
    parts = [("file_name", None, WEIGHTS.encode()), ("file", filename, weights())]
    result(post_form(account, form(*(reversed(parts) if is_file_first else parts))))
    assert account.file_names("mine") == [WEIGHTS]


def test_a_file_may_carry_its_name_itself(account: Account) -> None:
    account.created()
    result(post_form(account, form(("file", CONFIG, config()))))
    refused(post_form(account, form(("file", "upload", weights()))), 400, 3003)
    assert account.file_names("mine") == [CONFIG]


def test_the_same_bytes_again_are_answered_as_at_first(account: Account) -> None:
    account.created()
    first = result(account.upload("mine", CONFIG, config()))
    assert result(account.upload("mine", CONFIG, config())) == first
    result(account.upload("mine", WEIGHTS, weights()))
    assert result(account.upload("mine", CONFIG, config())) == first


def test_a_file_that_is_there_stays_as_it_is(account: Account) -> None:
    account.whole()
    refused(account.upload("mine", CONFIG, config(lora_alpha=9)), 400, 5004)
    refused(account.upload("mine", WEIGHTS, weights(fill=b"\1")), 400, 5004)
    assert account.http.get(f"/finetunes/mine/finetune-assets/{CONFIG}").content == config()


@pytest.mark.parametrize(
    "name",
    [
        "adapter_model.bin",
        "adapter_model.pt",
        "../adapter_config.json",
        "/etc/passwd",
        "..%2fadapter_config.json",
        "Adapter_Config.json",
        "adapter_config.json ",
        "../train.jsonl",
        ".jsonl",
        "",
        "adapter_config.json\0",
    ],
)
def test_no_other_files_are_taken(account: Account, name: str) -> None:
    account.created()
    refused(account.upload("mine", name, b"x"), 400, 5004)
    assert account.file_names("mine") == []


@pytest.mark.parametrize(
    ("body", "number"),
    [
        (form(), 3003),
        (form(("file_name", None, CONFIG.encode())), 3003),
        (form(("file", "x", b"{}")), 3003),
        (form(("file_name", None, CONFIG.encode()), ("colour", None, b"red")), 3003),
        (form(("file_name", None, b"\xff"), ("file", "x", b"{}")), 3003),
        (form(("file_name", None, CONFIG.encode()), ("file", "x", b"{}"))[:-20], 3003),
        (b"nonsense", 3003),
        (b"", 3003),
    ],
)
def test_a_form_must_be_whole(account: Account, body: bytes, number: int) -> None:
    account.created()
    refused(post_form(account, body), 400, number)
    assert account.file_names("mine") == []


@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream"])
def test_only_forms_are_uploads(account: Account, kind: str) -> None:
    account.created()
    path = "/finetunes/mine/finetune-assets"
    answer = account.http.post(path, content=config(), headers={"content-type": kind})
    refused(answer, 400, 3003)


CONFIGS: list[tuple[bytes, str]] = [
    (b"", "not valid JSON"),
    (b"{", "not valid JSON"),
    (b"[]", "JSON object"),
    (b"\x80\x04\x95", "not valid JSON"),
    (b"[" * 100_000, "not valid JSON"),
    (config(rank=33), "up to 32"),
    (config(rank=0), "positive integer"),
    (config(rank=10**30), "up to 32"),
    (config(r="4"), "positive integer"),
    (config(r=True), "positive integer"),
    (config(r=None), "positive integer"),
    (config(peft_type="IA3"), "Only LoRA"),
    (config(peft_type=["LORA"]), "Only LoRA"),
    (b'{"r": 4}', "peft_type"),
    (config(bias="all"), "bias"),
    (config(use_dora=True), "use_dora"),
    (config(modules_to_save=["lm_head"]), "modules_to_save"),
    (config(rank_pattern={"q_proj": 8}), "rank_pattern"),
    (config(alpha_pattern={"q_proj": 8}), "alpha_pattern"),
    (config(init_lora_weights="pissa_niter_4"), "init_lora_weights"),
    (config(task_type="SEQ_CLS"), "CAUSAL_LM"),
    (config(lora_alpha="8"), "lora_alpha"),
    (config(lora_alpha=10**400), "lora_alpha"),
    (config(lora_alpha=float("nan")), "lora_alpha"),
    (config(lora_dropout=2), "lora_dropout"),
    (config(use_rslora="yes"), "use_rslora"),
]


@pytest.mark.parametrize(("content", "words"), CONFIGS)
def test_a_config_is_judged_when_it_comes(account: Account, content: bytes, words: str) -> None:
    account.created()
    (error,) = refused(account.upload("mine", CONFIG, content), 400, 5004)
    assert words in error["message"]
    assert account.file_names("mine") == []


def header(**changes: Any) -> bytes:
    """Of one tensor of two floats, with lies."""
    name = f"base_model.model.{Q_PROJ}.lora_A.weight"
    entry = {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8], **changes}
    return adapter_files.with_header({name: entry}, bytes(8))


A, B = (f"base_model.model.{Q_PROJ}.lora_{part}.weight" for part in "AB")
WRONG_WEIGHTS: list[tuple[bytes, str]] = [
    (b"", "too short"),
    (b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}", "pickled"),
    (b"PK\x03\x04" + bytes(100), "pickled"),
    (b"\xff" * 16, "longer than the file"),
    (adapter_files.with_header(b"nonsense"), "not valid JSON"),
    (adapter_files.with_header(b"[" * 100_000), "not valid JSON"),
    (adapter_files.with_header([]), "no JSON object"),
    (adapter_files.with_header({}), "no LoRA tensors"),
    (adapter_files.with_header(b'{"a": 1, "a": 2}'), "twice"),
    (adapter_files.with_header({"a": None}), "lacks dtype"),
    (header(data_offsets=[0, 9]), "do not fit its shape"),
    (header(data_offsets=[0, 2**40]), "do not fit its shape"),
    (header(data_offsets=[-8, 0]), "whole numbers"),
    (header(data_offsets=[0.0, 8.0]), "whole numbers"),
    (header(data_offsets=[4, 12]), "leaves a gap"),
    (header(shape=[1, 2**62]), "do not fit its shape"),
    (header(shape=[True, 2]), "whole numbers"),
    (header(dtype="F99"), "unknown dtype"),
    (header() + b"more", "bytes of tensors"),
    (header()[:-1], "bytes of tensors"),
    (
        adapter_files.with_header(
            {
                A: {"dtype": "F32", "shape": [1, 2], "data_offsets": [0, 8]},
                B: {"dtype": "F32", "shape": [2, 1], "data_offsets": [4, 12]},
            },
            bytes(12),
        ),
        "overlaps",
    ),
    (header(), "lacks lora_A or lora_B"),
    (weights(rank=33), "up to 32"),
    (safetensors({A: ("F32", [4, 256]), B: ("F32", [256, 8])}), "must be"),
    (safetensors({A: ("F32", [4]), B: ("F32", [256, 4])}), "must be"),
    (safetensors(lora_tensors(dtype="I8")), "I8"),
    (safetensors({"model.embed_tokens.weight": ("F32", [2, 2])}), "not a LoRA tensor"),
    (
        safetensors({**lora_tensors(), A.replace("A.weight", "magnitude"): ("F32", [256])}),
        "not a LoRA tensor",
    ),
]


@pytest.mark.parametrize(("content", "words"), WRONG_WEIGHTS)
def test_weights_are_judged_when_they_come(account: Account, content: bytes, words: str) -> None:
    account.created()
    (error,) = refused(account.upload("mine", WEIGHTS, content), 400, 5004)
    assert words in error["message"]
    assert account.file_names("mine") == []


PAIRS: list[tuple[bytes, bytes, str]] = [
    (config(rank=8), weights(rank=4), "has the rank 4"),
    (config(), weights(layers={Q_PROJ: (256, 128)}), "128 inputs"),
    (config(), weights(layers={K_PROJ: (256, 256)}), "256 inputs and 128 outputs"),
    (config(), weights(layers={Q_PROJ.replace("0", "9"): (256, 256)}), "no layer"),
    (config(), weights(layers={"model.layers.0.self_attn.qkv": (256, 256)}), "no layer"),
    (config(), weights(layers={"model.layers.0.input_layernorm": (256, 1)}), "has the shape"),
    (config(), weights(layers={"lm_head": (4096, 256)}), "no layer"),
    (config(), weights(layers={"model.embed_tokens": (4096, 256)}), "no layer"),
    (config(model_type="mistral"), weights(), "mistral"),
    (config(model_type=["llama"]), weights(), "model_type"),
    (config(base_model_name_or_path=BASE), weights(), BASE),
    (config(base_model_name_or_path=ALIAS), weights(), ALIAS),
]


@pytest.mark.parametrize(("config_file", "weights_file", "words"), PAIRS)
@pytest.mark.parametrize("is_config_first", [True, False])
def test_a_pair_is_judged_when_it_is_whole(
    server: Server,
    account: Account,
    config_file: bytes,
    weights_file: bytes,
    words: str,
    is_config_first: bool,
) -> None:
    account.created()
    pair = [(CONFIG, config_file), (WEIGHTS, weights_file)]
    first, second = pair if is_config_first else pair[::-1]
    result(account.upload("mine", *first))
    (error,) = refused(account.upload("mine", *second), 400, 5004)
    assert words in error["message"]
    assert account.file_names("mine") == [first[0]]
    assert account.one("mine")["status"] == "incomplete"
    assert num_models(server, account) == 0


@pytest.mark.parametrize(
    "config_file",
    [
        config(model_type="llama"),
        config(model_type="llama4"),
        config(base_model_name_or_path=MODEL),
        config(base_model_name_or_path="tunesmith-tiny"),
        config(base_model_name_or_path=None),
        config(use_rslora=True, modules_to_save=None, use_dora=False, rank_pattern={}),
    ],
)
def test_what_says_nothing_wrong_is_taken(account: Account, config_file: bytes) -> None:
    account.created()
    result(account.upload("mine", CONFIG, config_file))
    result(account.upload("mine", WEIGHTS, safetensors(lora_tensors(dtype="BF16"))))
    assert account.one("mine")["status"] == "ready"


def test_a_base_model_that_lies_elsewhere_is_not_looked_at(account: Account) -> None:
    result(account.http.post("/finetunes", json={"model": BASE, "name": "mine"}))
    result(account.upload("mine", CONFIG, config()))
    result(account.upload("mine", WEIGHTS, weights(layers={"somewhere.else": (3, 5)})))


def test_a_file_may_be_larger_than_any_other_body(account: Account) -> None:
    account.created()
    layer = {"somewhere": (8, 3_000_000)}  # 48 MB
    result(account.upload("mine", WEIGHTS, weights(layers=layer)))


def test_large_files_are_refused_before_they_come(server: Server, account: Account) -> None:
    account.created()
    with limits(server, max_file_bytes=1000):
        refused(account.upload("mine", WEIGHTS, bytes(1001)), 413, 3006)
        refused(account.upload("mine", WEIGHTS, bytes(1_000_000)), 413, 3006)
    refused(account.upload("mine", CONFIG, b" " * (1024 * 1024 + 1)), 413, 3006)
    assert account.file_names("mine") == []


def test_who_asks_before_sending_is_told_before_sending(server: Server, account: Account) -> None:
    account.created()
    head = (
        f"POST /client/v4/accounts/{account.id}/ai/finetunes/mine/finetune-assets HTTP/1.1\r\n"
        f"Host: {server.host}\r\nAuthorization: Bearer {account.caller.secret}\r\n"
        f"Content-Length: {10**12}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection((server.host, server.port), timeout=10) as connection:
        connection.sendall(head.encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_nothing_is_left_of_what_was_refused(server: Server, account: Account) -> None:
    account.created()
    with limits(server, max_file_bytes=1000):
        refused(account.upload("mine", WEIGHTS, bytes(1001)), 413, 3006)
    refused(post_form(account, form(("file", CONFIG, config()))[:-20]), 400, 3003)
    wrong = weights(rank=33, fill=b"\7")
    refused(account.upload("mine", WEIGHTS, wrong), 400, 5004)
    assert not server.blobs.has(hashlib.sha256(wrong).hexdigest())
    assert list(server.incoming.iterdir()) == []


def test_an_unknown_finetune_takes_nothing(account: Account) -> None:
    refused(account.upload("nothing", CONFIG, config()), 404, 7003, 7000)
    refused(account.http.get("/finetunes/nothing/finetune-assets"), 404, 7003, 7000)


def test_a_file_that_is_not_there_is_not_found(account: Account) -> None:
    account.created()
    for name in (CONFIG, "nonsense", "..%2f..%2fsecret"):
        answer = account.http.get(f"/finetunes/mine/finetune-assets/{name}")
        refused(answer, 404, 7003, 7000)


def test_training_data_makes_the_adapter(server: Server, account: Account, worker: Worker) -> None:
    finetune = account.created("trained")
    asset = result(
        account.upload(
            "trained", "train.jsonl", EXAMPLES, hyperparameters='{"num_epochs": 2, "lora_rank": 4}'
        )
    )
    assert (asset["file_name"], asset["finetune_id"]) == ("train.jsonl", finetune["id"])
    assert account.one("trained")["status"] == "validating"
    with server.database.read() as store:
        owner = account.caller.organization.id
        (job,) = store.jobs.list_page(owner, PageRequest(limit=5)).items
    assert (job.hyperparameters.num_epochs, job.hyperparameters.lora_rank) == (2, 4)
    assert (job.suffix, job.base_model) == ("trained", "tunesmith-tiny")
    again = account.upload("trained", "train.jsonl", EXAMPLES)
    assert result(again)["id"] == asset["id"]
    worker.train(job.id)
    (listed,) = account.list_()
    assert (listed["status"], listed["metrics"]["step"]) == ("ready", 4)
    assert listed["id"] == finetune["id"]
    assert account.file_names("trained") == [WEIGHTS]
    refused(account.create("trained"), 400, 3003)


def test_files_and_training_data_do_not_mix(account: Account) -> None:
    account.created("files")
    result(account.upload("files", CONFIG, config()))
    refused(account.upload("files", "train.jsonl", EXAMPLES), 400, 5004)
    account.created("data")
    result(account.upload("data", "train.jsonl", EXAMPLES))
    refused(account.upload("data", CONFIG, config()), 400, 5004)
    refused(account.upload("data", "train.jsonl", EXAMPLES + b"\n" + EXAMPLES), 400, 5004)
    assert account.one("data")["status"] == "validating"


def test_a_failed_training_is_told_and_can_be_begun_again(
    server: Server, account: Account, worker: Worker
) -> None:
    account.created()
    result(account.upload("mine", "train.jsonl", EXAMPLES))
    refused(account.create("mine"), 400, 3003)  # it is under way
    with server.database.read() as store:
        owner = account.caller.organization.id
        (job,) = store.jobs.list_page(owner, PageRequest(limit=5)).items
    worker.fail(job.id, Failure(code="bad_example", message="Line 3 is bad."))
    finetune = account.one("mine")
    assert finetune["status"] == "failed"
    assert finetune["error"] == {"code": "bad_example", "message": "Line 3 is bad."}
    account.created("mine")
    assert account.one("mine")["status"] == "incomplete"
    result(account.upload("mine", CONFIG, config()))


def test_deleting_a_finetune_stops_its_training(server: Server, account: Account) -> None:
    account.created()
    result(account.upload("mine", "train.jsonl", EXAMPLES))
    result(account.http.delete("/finetunes/mine"))
    with server.database.read() as store:
        owner = account.caller.organization.id
        (job,) = store.jobs.list_page(owner, PageRequest(limit=5)).items
    assert job.status == "stopped"


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"", {}),
        (b"not json", {}),
        (EXAMPLES, {"hyperparameters": "{"}),
        (EXAMPLES, {"hyperparameters": "[]"}),
        (EXAMPLES, {"hyperparameters": '{"num_epochs": 1000}'}),
        (EXAMPLES, {"hyperparameters": '{"num_epochs": "many"}'}),
        (EXAMPLES, {"hyperparameters": '{"num_epochs": true}'}),
        (EXAMPLES, {"hyperparameters": '{"learning_rate_multiplier": NaN}'}),
        (EXAMPLES, {"hyperparameters": '{"lora_alpha": 1e999}'}),
        (EXAMPLES, {"hyperparameters": '{"colour": "red"}'}),
    ],
)
def test_training_that_cannot_be_is_refused(
    server: Server, account: Account, data: bytes, fields: dict[str, str]
) -> None:
    account.created()
    refused(account.upload("mine", "train.jsonl", data, **fields), 400, 3003)
    assert account.one("mine")["status"] == "incomplete"
    with server.database.read() as store:
        owner = account.caller.organization.id
        assert store.jobs.list_page(owner, PageRequest(limit=5)).items == ()


def test_hyperparameters_of_a_file_are_refused(account: Account) -> None:
    account.created()
    refused(account.upload("mine", CONFIG, config(), hyperparameters="{}"), 400, 3003)


def test_training_data_need_the_right_to_files(server: Server) -> None:
    with Account(server, server.new_caller(frozenset({Scope.JOBS_WRITE}))) as account:
        account.whole()
        account.created("data")
        refused(account.upload("data", "train.jsonl", EXAMPLES), 403, 10000)


def test_the_sdk_brings_a_finetune(
    client: cloudflare.Cloudflare, account: Account, tmp_path: Path
) -> None:
    (tmp_path / CONFIG).write_bytes(config())
    (tmp_path / WEIGHTS).write_bytes(weights())
    ids = {"account_id": account.id}
    finetune = client.ai.finetunes.create(model=MODEL, name="n", description="d", **ids)
    assets = client.ai.finetunes.assets
    as_bytes = (tmp_path / WEIGHTS).read_bytes()
    assert assets.create(finetune.id, file=as_bytes, file_name=WEIGHTS, **ids).success
    assert assets.create(finetune.id, file=tmp_path / CONFIG, file_name=CONFIG, **ids).success
    (listed,) = client.ai.finetunes.list(**ids)
    assert (listed.id, listed.name, listed.model) == (finetune.id, "n", MODEL)
    assert listed.created_at == finetune.created_at


def test_the_sdk_uploads_by_a_name_with_a_slash(
    client: cloudflare.Cloudflare, account: Account
) -> None:
    ids = {"account_id": account.id}
    client.ai.finetunes.create(model=MODEL, name="my name/x", **ids)
    assets = client.ai.finetunes.assets
    assert assets.create("my name/x", file=config(), file_name=CONFIG, **ids).success


def test_the_sdk_pages_and_verifies(client: cloudflare.Cloudflare, account: Account) -> None:
    ids = {"account_id": account.id}
    created = client.ai.finetunes.create(model=MODEL, name="n", public=True, **ids)
    assert created.public is True
    assert list(client.ai.finetunes.public.list(limit=5, offset=0, order_by="name", **ids)) == []
    assert client.user.tokens.verify().status == "active"
    assert [found.id for found in client.accounts.list()] == [account.id]
    assert [found.account.id for found in client.memberships.list()] == [account.id]


def test_the_sdk_tells_what_went_wrong(client: cloudflare.Cloudflare, account: Account) -> None:
    with pytest.raises(cloudflare.BadRequestError) as caught:
        client.ai.finetunes.create(account_id=account.id, model="@cf/x/y", name="n")
    assert [error.code for error in caught.value.errors] == [5007]


def test_lies_cost_no_memory(account: Account) -> None:
    """A header that tells of a tensor of 2**62 numbers is arithmetic, not an allocation."""
    account.created()
    huge = {A: {"dtype": "F32", "shape": [2**31, 2**31], "data_offsets": [0, 2**64]}}
    content = adapter_files.with_header(huge)
    assert json.loads(content[8:]) == huge
    refused(account.upload("mine", WEIGHTS, content), 400, 5004)
