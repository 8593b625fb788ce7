"""Every method of the official client is called, or listed with the reason why it cannot be.

The methods are found in the client itself: a new version of it shows here what is missing.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
import openai
import pytest

from scripts.reference_dialects import NOT_SERVED_OF_OPENAI
from tests.contract.openai.support import EXAMPLES, create_job, trained_job, upload
from tests.contract.server import BASE, ScriptedSampler
from tests.contract.worker import Worker
from tunesmith.dialects.openai import translate

RESOURCES = (
    "files",
    "uploads",
    "fine_tuning",
    "models",
    "chat",
    "completions",
    "embeddings",
    "responses",
    "webhooks",
)
NEEDS_NO_SERVER = {"webhooks.unwrap", "webhooks.verify_signature"}
HI: Any = [{"role": "user", "content": "Hi."}]
GRADER: Any = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "yes",
}


@dataclass
class Given:
    """What the calls need, made when it is asked for."""

    client: openai.OpenAI
    admin: openai.OpenAI
    worker: Worker

    @cached_property
    def file(self) -> str:
        return upload(self.client).id

    @cached_property
    def job(self) -> str:
        return create_job(self.client).id

    @cached_property
    def running_job(self) -> str:
        self.worker.start(translate.inner_id("job", self.job))
        return self.job

    @cached_property
    def paused_job(self) -> str:
        assignment = self.worker.start(translate.inner_id("job", self.job))
        self.client.fine_tuning.jobs.pause(self.job)
        self.worker.let_go(assignment, step=1)
        return self.job

    @cached_property
    def trained_job(self) -> Any:
        return trained_job(self.client, self.worker)

    @cached_property
    def model(self) -> str:
        return str(self.trained_job.fine_tuned_model)

    @cached_property
    def upload(self) -> str:
        return self.client.uploads.create(
            bytes=len(EXAMPLES),
            filename="train.jsonl",
            mime_type="application/jsonl",
            purpose="fine-tune",
        ).id

    @cached_property
    def part(self) -> str:
        return self.client.uploads.parts.create(self.upload, data=EXAMPLES).id

    @cached_property
    def permission(self) -> str:
        permissions = self.admin.fine_tuning.checkpoints.permissions
        return permissions.create(self.model, project_ids=["proj_abc"]).data[0].id


def _parsed_stream(manager: Any) -> list[Any]:
    with manager as stream:
        return list(stream)


CALLS: dict[str, Callable[[Given], Any]] = {
    "files.create": lambda g: g.client.files.create(file=EXAMPLES, purpose="fine-tune"),
    "files.list": lambda g: list(g.client.files.list()),
    "files.retrieve": lambda g: g.client.files.retrieve(g.file),
    "files.content": lambda g: g.client.files.content(g.file).read(),
    "files.retrieve_content": lambda g: g.client.files.retrieve_content(g.file),
    "files.wait_for_processing": lambda g: g.client.files.wait_for_processing(g.file),
    "files.delete": lambda g: g.client.files.delete(g.file),
    "uploads.create": lambda g: g.upload,
    "uploads.parts.create": lambda g: g.part,
    "uploads.complete": lambda g: g.client.uploads.complete(g.upload, part_ids=[g.part]),
    "uploads.cancel": lambda g: g.client.uploads.cancel(g.upload),
    "uploads.upload_file_chunked": lambda g: g.client.uploads.upload_file_chunked(
        file=EXAMPLES,
        filename="train.jsonl",
        bytes=len(EXAMPLES),
        mime_type="application/jsonl",
        purpose="fine-tune",
    ),
    "fine_tuning.jobs.create": lambda g: g.job,
    "fine_tuning.jobs.list": lambda g: list(g.client.fine_tuning.jobs.list()),
    "fine_tuning.jobs.retrieve": lambda g: g.client.fine_tuning.jobs.retrieve(g.job),
    "fine_tuning.jobs.cancel": lambda g: g.client.fine_tuning.jobs.cancel(g.job),
    "fine_tuning.jobs.pause": lambda g: g.client.fine_tuning.jobs.pause(g.running_job),
    "fine_tuning.jobs.resume": lambda g: g.client.fine_tuning.jobs.resume(g.paused_job),
    "fine_tuning.jobs.list_events": lambda g: list(g.client.fine_tuning.jobs.list_events(g.job)),
    "fine_tuning.jobs.checkpoints.list": lambda g: list(
        g.client.fine_tuning.jobs.checkpoints.list(g.trained_job.id)
    ),
    "fine_tuning.checkpoints.permissions.create": lambda g: g.permission,
    "fine_tuning.checkpoints.permissions.list": lambda g: list(
        g.admin.fine_tuning.checkpoints.permissions.list(g.model)
    ),
    "fine_tuning.checkpoints.permissions.retrieve": lambda g: (
        g.admin.fine_tuning.checkpoints.permissions.retrieve(g.model)
    ),
    "fine_tuning.checkpoints.permissions.delete": lambda g: (
        g.admin.fine_tuning.checkpoints.permissions.delete(
            g.permission, fine_tuned_model_checkpoint=g.model
        )
    ),
    "fine_tuning.alpha.graders.run": lambda g: g.client.fine_tuning.alpha.graders.run(
        grader=GRADER, model_sample="yes", item={}
    ),
    "fine_tuning.alpha.graders.validate": lambda g: g.client.fine_tuning.alpha.graders.validate(
        grader=GRADER
    ),
    "models.list": lambda g: list(g.client.models.list()),
    "models.retrieve": lambda g: g.client.models.retrieve(BASE),
    "models.delete": lambda g: g.client.models.delete(g.model),
    "chat.completions.create": lambda g: g.client.chat.completions.create(model=BASE, messages=HI),
    "chat.completions.parse": lambda g: g.client.chat.completions.parse(model=BASE, messages=HI),
    "chat.completions.stream": lambda g: _parsed_stream(
        g.client.chat.completions.stream(model=BASE, messages=HI)
    ),
    "completions.create": lambda g: g.client.completions.create(model=BASE, prompt="Hi."),
    "embeddings.create": lambda g: g.client.embeddings.create(
        model=BASE,
        input="Hi.",
        encoding_format="float",  # a strict client refuses its own default
    ),
    "responses.create": lambda g: g.client.responses.create(model=BASE, input="Hi."),
    "responses.parse": lambda g: g.client.responses.parse(model=BASE, input="Hi."),
    "responses.stream": lambda g: _parsed_stream(
        g.client.responses.stream(model=BASE, input="Hi.")
    ),
}


def methods_of(resource: Any, name: str) -> Iterator[str]:
    """The public methods of a resource and of those below it."""
    for attribute in dir(type(resource)):
        if attribute.startswith(("_", "with_")):
            continue
        found = getattr(type(resource), attribute)
        if isinstance(found, property | cached_property):
            yield from methods_of(getattr(resource, attribute), f"{name}.{attribute}")
        elif callable(found):
            yield f"{name}.{attribute}"


def test_every_method_of_the_client_is_accounted_for(client: openai.OpenAI) -> None:
    methods = [method for name in RESOURCES for method in methods_of(getattr(client, name), name)]
    accounted = [*CALLS, *NOT_SERVED_OF_OPENAI, *NEEDS_NO_SERVER]
    assert sorted(methods) == sorted(accounted)


@pytest.mark.parametrize("method", CALLS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:tests")
def test_a_method_is_answered_as_the_strict_client_wants_it(
    client: openai.OpenAI,
    admin: openai.OpenAI,
    worker: Worker,
    sampler: ScriptedSampler,
    method: str,
) -> None:
    assert CALLS[method](Given(client, admin, worker)) is not None


@pytest.mark.parametrize("method", NOT_SERVED_OF_OPENAI)
def test_what_is_not_served_is_said_to_be_unknown(http: httpx.Client, method: str) -> None:
    verb, path = NOT_SERVED_OF_OPENAI[method][0].split()
    answer = http.request(verb, path)
    assert answer.status_code in (404, 405)
    assert answer.json()["error"]["code"] in ("unknown_url", "method_not_allowed")
