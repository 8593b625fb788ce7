"""Fine-tuning jobs: made, listed, cancelled, refused."""

import json
from typing import Any

import httpx
import openai
import pytest

from tests.contract.openai.support import (
    UNKNOWN_FILE,
    UNKNOWN_JOB,
    create_job,
    error,
    refused,
    trained_job,
    upload,
)
from tests.contract.server import ALIAS, BASE, Caller, Server
from tests.contract.worker import WEIGHTS, Worker
from tunesmith.dialects.openai import translate
from tunesmith.domain.accounts import Scope
from tunesmith.domain.hyperparameters import Method

AUTO = {"n_epochs": "auto", "batch_size": "auto", "learning_rate_multiplier": "auto"}


def test_a_new_job_is_as_documented(http: httpx.Client, client: openai.OpenAI) -> None:
    file = upload(client).id
    job = http.post("/fine_tuning/jobs", json={"model": BASE, "training_file": file}).json()
    created_at, organization, seed = job["created_at"], job["organization_id"], job["seed"]
    assert job == {
        "object": "fine_tuning.job",
        "id": job["id"],
        "created_at": created_at,
        "model": BASE,
        "organization_id": organization,
        "status": "validating_files",
        "training_file": file,
        "validation_file": None,
        "hyperparameters": AUTO,
        "method": {"type": "supervised", "supervised": {"hyperparameters": AUTO}},
        "seed": seed,
        "user_provided_suffix": None,
        "metadata": None,
        "integrations": [],
        "fine_tuned_model": None,
        "finished_at": None,
        "estimated_finish": None,
        "trained_tokens": None,
        "result_files": [],
        "error": None,
    }
    assert organization.startswith("org-")
    assert len(job["id"]) == len("ftjob-") + 24
    assert 0 <= seed < 2**31
    assert http.get(f"/fine_tuning/jobs/{job['id']}").json() == job


def test_what_was_asked_for_comes_back(client: openai.OpenAI) -> None:
    file = upload(client).id
    asked = {"n_epochs": 2, "batch_size": 4, "learning_rate_multiplier": 0.5}
    method: Any = {"type": "supervised", "supervised": {"hyperparameters": asked}}
    job = client.fine_tuning.jobs.create(
        model=ALIAS,
        training_file=file,
        validation_file=file,
        suffix="my_model",
        seed=7,
        metadata={"team": "red"},
        integrations=[],
        hyperparameters={"n_epochs": 9},
        method=method,
    )
    assert (job.model, job.validation_file, job.seed) == (BASE, file, 7)
    assert job.metadata == {"team": "red"}
    assert job.model_dump()["user_provided_suffix"] == "my_model"
    assert job.hyperparameters.model_dump() == asked


def test_the_older_place_for_hyperparameters_counts_without_a_newer(client: openai.OpenAI) -> None:
    job = create_job(client, hyperparameters={"n_epochs": 3}, method={"type": "supervised"})
    assert job.hyperparameters.n_epochs == 3
    assert create_job(client, hyperparameters={}).hyperparameters.n_epochs == "auto"


def test_methods_may_carry_what_is_not_known(client: openai.OpenAI) -> None:
    method: Any = {
        "type": "supervised",
        "supervised": {"hyperparameters": {"n_epochs": 1, "beta": 0.1}, "pass_threshold": 1},
        "dpo": {"hyperparameters": {"beta": 0.1}},
    }
    assert create_job(client, method=method).hyperparameters.n_epochs == 1


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"seed": -1}, "seed"),
        ({"seed": 2**31}, "seed"),
        ({"seed": True}, "seed"),
        ({"seed": "7"}, "seed"),
        ({"suffix": ""}, "suffix"),
        ({"suffix": "x" * 65}, "suffix"),
        ({"hyperparameters": {"n_epochs": 0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 51}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": True}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"n_epochs": 1.0}}, "hyperparameters.n_epochs"),
        ({"hyperparameters": {"batch_size": 257}}, "hyperparameters.batch_size"),
        (
            {"hyperparameters": {"learning_rate_multiplier": 0}},
            "hyperparameters.learning_rate_multiplier",
        ),
        ({"hyperparameters": {"epochs": 1}}, "hyperparameters.epochs"),
        ({"method": {"type": "magic"}}, "method.type"),
        ({"method": {}}, "method.type"),
        (
            {
                "method": {
                    "type": "supervised",
                    "supervised": {"hyperparameters": {"batch_size": 0}},
                }
            },
            "method.supervised.hyperparameters.batch_size",
        ),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 0}}}},
            "method.dpo.hyperparameters.beta",
        ),
        (
            {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 2.1}}}},
            "method.dpo.hyperparameters.beta",
        ),
        ({"method": {"type": "dpo", "dpo": 5}}, "method.dpo"),
        ({"method": {"type": ["dpo"]}}, "method.type"),
        ({"method": 5}, "method"),
        ({"integrations": [{"type": "mlflow", "wandb": {"project": "p"}}]}, "integrations.0.type"),
        ({"integrations": [{"type": "wandb"}]}, "integrations.0.wandb"),
        (
            {"integrations": [{"type": "wandb", "wandb": {"project": "p", "key": "k"}}]},
            "integrations.0.wandb.key",
        ),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "p"}}] * 6}, "integrations"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"k" * 65: ""}}, "metadata"),
        ({"metadata": {"k": "v" * 513}}, "metadata"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"training_file": 5}, "training_file"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_fields_out_of_bounds_are_named(
    client: openai.OpenAI, http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    body = {"model": BASE, "training_file": UNKNOWN_FILE, **fields}
    answer = http.post("/fine_tuning/jobs", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == param
    assert param in answer.json()["error"]["message"]


def test_reinforcement_is_refused_by_name_once_its_own_fields_are_right(
    client: openai.OpenAI,
) -> None:
    with refused(400) as answer:
        create_job(client, method={"type": "reinforcement"})
    assert answer["param"] == "method.reinforcement.grader"
    with refused(400) as answer:
        create_job(
            client, method={"type": "reinforcement", "reinforcement": {"grader": {"type": "x"}}}
        )
    assert answer["param"] == "method.reinforcement.grader.type"
    grader = {"type": "string_check", "name": "a", "input": "", "reference": "", "operation": "eq"}
    message = "The method 'reinforcement' is not available yet; use 'supervised' or 'dpo'."
    with refused(400, error(message, param="method.type")):
        create_job(client, method={"type": "reinforcement", "reinforcement": {"grader": grader}})


def test_dpo_has_a_beta_beside_the_other_hyperparameters(
    client: openai.OpenAI, worker: Worker
) -> None:
    asked = {"n_epochs": 2, "beta": 0.3}
    method: Any = {"type": "dpo", "dpo": {"hyperparameters": asked}, "supervised": "not read"}
    job = create_job(client, method=method)
    assert job.method is not None
    assert job.method.model_dump(exclude_unset=True) == {
        "type": "dpo",
        "dpo": {"hyperparameters": {**AUTO, **asked}},
    }
    assert job.hyperparameters.model_dump() == {**AUTO, "n_epochs": 2}
    worker.validate(translate.inner_id("job", job.id), num_examples=10)
    resolved = client.fine_tuning.jobs.retrieve(job.id).method
    assert resolved is not None
    assert resolved.dpo is not None
    assert resolved.dpo.hyperparameters is not None
    numbers = {"n_epochs": 2, "batch_size": 1, "learning_rate_multiplier": 1.0, "beta": 0.3}
    assert resolved.dpo.hyperparameters.model_dump() == numbers


def test_dpo_without_a_beta_gets_one_when_its_data_is_read(
    client: openai.OpenAI, worker: Worker
) -> None:
    job = create_job(client, method={"type": "dpo"}, hyperparameters={"n_epochs": 3})
    assert job.model_dump()["method"]["dpo"]["hyperparameters"] == {
        **AUTO,
        "n_epochs": 3,
        "beta": "auto",
    }
    worker.validate(translate.inner_id("job", job.id))
    shown = client.fine_tuning.jobs.retrieve(job.id).model_dump()
    assert shown["method"]["dpo"]["hyperparameters"]["beta"] == 0.1


def test_a_workers_assignment_has_the_method(client: openai.OpenAI, worker: Worker) -> None:
    job = create_job(client, method={"type": "dpo"})
    assert worker.start(translate.inner_id("job", job.id)).method is Method.DPO


def test_nulls_ask_for_nothing(client: openai.OpenAI, http: httpx.Client) -> None:
    names = "validation_file", "suffix", "seed", "integrations", "metadata", "hyperparameters"
    body = dict.fromkeys((*names, "method")) | {"model": BASE, "training_file": upload(client).id}
    job = http.post("/fine_tuning/jobs", json=body).json()
    assert (job["integrations"], job["metadata"], job["hyperparameters"]) == ([], None, AUTO)
    body |= {"method": {"type": "supervised", "supervised": {"hyperparameters": None}, "dpo": None}}
    assert http.post("/fine_tuning/jobs", json=body).status_code == 200


def test_integrations_come_back_as_asked_for(client: openai.OpenAI) -> None:
    wandb = {"project": "p", "name": "n", "entity": "e", "tags": ["a", "b"]}
    job = create_job(
        client,
        integrations=[
            {"type": "wandb", "wandb": wandb},
            {"type": "wandb", "wandb": {"project": "q", "tags": None}},
        ],
    )
    assert job.integrations is not None
    assert [i.model_dump() for i in job.integrations] == [
        {"type": "wandb", "wandb": wandb},
        {"type": "wandb", "wandb": {"project": "q", "name": None, "entity": None, "tags": []}},
    ]
    assert client.fine_tuning.jobs.retrieve(job.id) == job


def test_a_model_that_cannot_be_tuned_is_named(client: openai.OpenAI, http: httpx.Client) -> None:
    file = upload(client).id
    for model in ("gpt-9", f"ft:{BASE}:acme::abcdefgh"):
        answer = http.post(
            "/fine_tuning/jobs", content=json.dumps({"model": model, "training_file": file})
        )
        assert answer.status_code == 400, answer.text
        assert answer.json()["error"]["param"] == "model"
        assert model in answer.json()["error"]["message"]
        assert "is not available for fine-tuning" in answer.json()["error"]["message"]
        assert str(answer.json()).endswith("'code': 'model_not_available'}}")


def test_a_tuned_model_and_its_checkpoints_can_be_tuned_further(
    client: openai.OpenAI, worker: Worker
) -> None:
    first = trained_job(client, worker, suffix="one")
    final, earlier = client.fine_tuning.jobs.checkpoints.list(first.id).data
    for parent in (final, earlier):
        name = parent.fine_tuned_model_checkpoint
        file = upload(client).id
        job = client.fine_tuning.jobs.create(model=name, training_file=file, suffix="two")
        assert job.model == name
        job_id = translate.inner_id("job", job.id)
        worker.validate(job_id)
        client.models.delete(name)
        assignment = worker.lease(job_id)
        weights = assignment.initial_adapter[0].blob
        assert worker.bytes_of(weights) == WEIGHTS % parent.step_number
        assert assignment.base_model.name == BASE
        worker.finish(assignment)
        done = client.fine_tuning.jobs.retrieve(job.id)
        assert done.model == name
        assert (done.fine_tuned_model or "").startswith(f"ft:{BASE}:")
        assert ":two:" in (done.fine_tuned_model or "")


def test_a_strangers_tuned_model_is_as_unknown_as_any_other(
    client: openai.OpenAI, stranger: openai.OpenAI, worker: Worker
) -> None:
    name = trained_job(client, worker).fine_tuned_model
    assert name is not None
    with refused(400) as theirs:
        stranger.fine_tuning.jobs.create(model=name, training_file=upload(stranger).id)
    other = name[:-8] + "abcdefgh"
    with refused(400) as unknown:
        stranger.fine_tuning.jobs.create(model=other, training_file=upload(stranger).id)
    assert theirs["message"] == unknown["message"].replace(other, name)
    assert theirs["code"] == unknown["code"] == "model_not_available"


def _created_again(http: httpx.Client, body: dict[str, Any], count: str) -> str:
    headers = {"x-stainless-retry-count": count}
    answer = http.post("/fine_tuning/jobs", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def test_a_request_that_is_sent_again_makes_one_job(
    client: openai.OpenAI, http: httpx.Client, server: Server, caller: Caller
) -> None:
    body = {"model": BASE, "training_file": upload(client).id, "metadata": {"a": "b"}}
    first = _created_again(http, body, "0")
    assert _created_again(http, body, "1") == first
    assert _created_again(http, body, "2") == first
    assert _created_again(http, {**body, "seed": 1}, "1") != first
    for count in ("0", "", "-1", "x", "٢"):  # nobody says that it is the same again
        encoded = count.encode()
        headers = [(b"x-stainless-retry-count", encoded)]
        made = http.post("/fine_tuning/jobs", json=body, headers=headers)
        assert made.json()["id"] != first
    assert len(client.fine_tuning.jobs.list(limit=100).data) == 7


def test_the_official_clients_retry_makes_one_job(
    server: Server, caller: Caller, client: openai.OpenAI
) -> None:
    """The answer to the first call is lost on its way."""
    file = upload(client).id
    calls = 0

    class LosesTheFirst(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            nonlocal calls
            calls += 1
            answer = super().handle_request(request)
            if calls == 1:
                answer.read()
                answer.close()
                raise httpx.ReadTimeout("too slow", request=request)
            return answer

    with openai.OpenAI(
        base_url=f"{server.url}/v1",
        api_key=caller.secret,
        max_retries=2,
        http_client=httpx.Client(transport=LosesTheFirst()),
    ) as shaky:
        job = shaky.fine_tuning.jobs.create(model=BASE, training_file=file)
    assert calls == 2
    assert [found.id for found in client.fine_tuning.jobs.list()] == [job.id]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"metadata": {"k\0": "v"}}, "metadata"),
        ({"metadata": {"k": "\0"}}, "metadata"),
        ({"suffix": "a\0b"}, "suffix"),
        ({"model": "a\0"}, "model"),
        ({"model": "a\ud800"}, "model"),
        ({"training_file": "file-\0"}, "training_file"),
        ({"integrations": [{"type": "wandb", "wandb": {"project": "\0"}}]}, "integrations"),
        ({"a\0": 1}, "a\0"),
        ({"metadata": {"k": "\ud800"}}, "metadata"),
        ({"suffix": "\ud800"}, "suffix"),
    ],
)
def test_text_that_cannot_be_stored_is_refused(
    client: openai.OpenAI, http: httpx.Client, fields: dict[str, Any], param: str
) -> None:
    body = {"model": BASE, "training_file": upload(client).id, **fields}
    answer = http.post("/fine_tuning/jobs", content=json.dumps(body))
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["param"] == param


def test_an_unknown_training_file_is_named(client: openai.OpenAI) -> None:
    for file in (UNKNOWN_FILE, "nonsense"):
        with refused(404, error(f"No such File object: {file}", param="training_file")):
            create_job(client, training_file=file)


def test_a_file_of_another_purpose_is_refused(client: openai.OpenAI) -> None:
    file = client.files.create(file=b"{}", purpose="batch")
    message = "The file was uploaded with another purpose (batch); upload it again for fine-tuning."
    with refused(400, error(message, param="training_file")):
        create_job(client, training_file=file.id)


def test_lists_are_newest_first_and_end(client: openai.OpenAI) -> None:
    file = upload(client).id
    ids = [create_job(client, training_file=file).id for _ in range(5)]
    assert [job.id for job in client.fine_tuning.jobs.list()] == ids[::-1]
    assert [job.id for job in client.fine_tuning.jobs.list(limit=2)] == ids[::-1]
    assert client.fine_tuning.jobs.list(limit=1).data[0].id == ids[-1]


def test_lists_are_by_metadata(client: openai.OpenAI, http: httpx.Client) -> None:
    file = upload(client).id
    red = create_job(client, training_file=file, metadata={"team": "red", "note": ""})
    create_job(client, training_file=file, metadata={"team": "blue"})
    create_job(client, training_file=file)
    wanted = [{"team": "red"}, {"note": ""}, {"team": "red", "note": ""}]
    for pairs in wanted:
        assert [job.id for job in client.fine_tuning.jobs.list(metadata=pairs)] == [red.id]
    assert list(client.fine_tuning.jobs.list(metadata={"team": "red", "note": "x"})) == []
    assert http.get("/fine_tuning/jobs?metadata%5Bteam%5D=red").json()["data"][0]["id"] == red.id


@pytest.mark.parametrize("value", ["null", ""])
def test_jobs_without_metadata_can_be_asked_for(
    client: openai.OpenAI, http: httpx.Client, value: str
) -> None:
    """In both spellings: of the Python and of the Node client."""
    bare = create_job(client)
    create_job(client, metadata={"team": ""})
    found = http.get(f"/fine_tuning/jobs?metadata={value}").json()["data"]
    assert [job["id"] for job in found] == [bare.id]
    assert [job.id for job in client.fine_tuning.jobs.list(extra_query={"metadata": value})] == [
        bare.id
    ]


@pytest.mark.parametrize(
    "query",
    [
        "metadata=red",
        "metadata[a]=%00",
        "metadata[%00]=a",
        "&".join(f"metadata[{number}]=" for number in range(17)),
    ],
)
def test_a_filter_that_no_job_can_meet_is_refused(http: httpx.Client, query: str) -> None:
    answer = http.get(f"/fine_tuning/jobs?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "metadata"


@pytest.mark.parametrize("key", ["a.b", "a'b", "0", "[0]", "", 'a"b', "a\\b", "a]b", "&=%"])
def test_any_key_of_metadata_can_be_asked_for(client: openai.OpenAI, key: str) -> None:
    job = create_job(client, metadata={key: "x"})
    assert [job.id for job in client.fine_tuning.jobs.list(metadata={key: "x"})] == [job.id]


@pytest.mark.parametrize("job_id", [UNKNOWN_JOB, "ftjob-x", "nonsense"])
def test_an_unknown_job_is_named(client: openai.OpenAI, job_id: str) -> None:
    message = f"Could not find fine tune: {job_id}"
    unknown = error(message, param="fine_tune_id", code="fine_tune_not_found")
    jobs = client.fine_tuning.jobs
    reads = jobs.retrieve, jobs.list_events, jobs.checkpoints.list
    for call in (*reads, jobs.cancel, jobs.pause, jobs.resume):
        with refused(404, unknown):
            call(job_id)


def test_an_unknown_cursor_is_named(client: openai.OpenAI) -> None:
    message = f"Could not find fine tune: {UNKNOWN_JOB}"
    with refused(404, error(message, param="after", code="fine_tune_not_found")):
        client.fine_tuning.jobs.list(after=UNKNOWN_JOB)
    job = create_job(client)
    for cursor, words in (("ftevent-", "event"), ("ftckpt_", "checkpoint")):
        after = cursor + "0" * 24
        jobs = client.fine_tuning.jobs
        list_ = jobs.list_events if words == "event" else jobs.checkpoints.list
        with refused(404, error(f"No such {words}: {after}", param="after")):
            list_(job.id, after=after)


def test_cancel_answers_with_the_cancelled_job(client: openai.OpenAI) -> None:
    job = create_job(client)
    cancelled = client.fine_tuning.jobs.cancel(job.id)
    assert cancelled.status == "cancelled"
    assert cancelled.finished_at is not None
    assert client.fine_tuning.jobs.retrieve(job.id) == cancelled
    assert client.fine_tuning.jobs.list_events(job.id, limit=1).data[0].message == (
        "Fine-tuning job cancelled; its checkpoints are kept"
    )


def test_a_finished_job_cannot_be_cancelled(client: openai.OpenAI) -> None:
    job = create_job(client)
    client.fine_tuning.jobs.cancel(job.id)
    with refused(400, error("Job has already completed: its status is cancelled.")):
        client.fine_tuning.jobs.cancel(job.id)


def test_a_running_job_can_be_cancelled(client: openai.OpenAI, worker: Worker) -> None:
    job = create_job(client)
    worker.start(translate.inner_id("job", job.id))
    assert client.fine_tuning.jobs.retrieve(job.id).status == "running"
    assert client.fine_tuning.jobs.cancel(job.id).status == "cancelled"


def test_an_empty_body_that_calls_itself_json_is_fine(
    client: openai.OpenAI, http: httpx.Client
) -> None:
    job = create_job(client)
    headers = {"Content-Type": "application/json"}
    answer = http.post(f"/fine_tuning/jobs/{job.id}/cancel", headers=headers)
    assert answer.json()["status"] == "cancelled"
    assert http.delete(f"/files/{job.training_file}", headers=headers).json()["deleted"] is True


def test_a_job_outlives_its_training_file(client: openai.OpenAI, worker: Worker) -> None:
    job = create_job(client)
    client.files.delete(job.training_file)
    worker.train(translate.inner_id("job", job.id))
    assert client.fine_tuning.jobs.retrieve(job.id).status == "succeeded"


def test_a_key_without_the_scope_is_told_so(server: Server, anyone: openai.OpenAI) -> None:
    uploader = server.new_caller(frozenset({Scope.FILES_WRITE, Scope.FILES_READ}))
    message = "This key lacks the scope 'fine-tuning:write'; use a key that has it."
    with refused(403, error(message)):
        create_job(anyone.with_options(api_key=uploader.secret))


def test_another_organization_sees_nothing(client: openai.OpenAI, stranger: openai.OpenAI) -> None:
    job = create_job(client)
    assert list(stranger.fine_tuning.jobs.list()) == []
    with refused(404):
        stranger.fine_tuning.jobs.cancel(job.id)


@pytest.mark.parametrize("content_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_does_not_say_it_is_json_is_read(
    client: openai.OpenAI, server: Server, caller: Caller, content_type: str
) -> None:
    body = f'{{"model": "{BASE}", "training_file": "{upload(client).id}"}}'
    headers = {"Authorization": f"Bearer {caller.secret}"}
    if content_type:
        headers["Content-Type"] = content_type
    answer = httpx.post(f"{server.url}/v1/fine_tuning/jobs", content=body, headers=headers)
    assert answer.status_code == 200, answer.text
