"""Small things that these tests need again and again."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import openai
import pytest
from openai.types import FileObject
from openai.types.fine_tuning import FineTuningJob

from tests.contract.server import BASE
from tests.contract.worker import Worker
from tunesmith.dialects.openai import translate

EXAMPLE = {
    "messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Hello."}]
}
EXAMPLES = "\n".join(json.dumps(EXAMPLE) for _ in range(10)).encode()
UNKNOWN_FILE = "file-" + "0" * 22
UNKNOWN_JOB = "ftjob-" + "0" * 24


def upload(client: openai.OpenAI, content: bytes = EXAMPLES) -> FileObject:
    return client.files.create(file=("train.jsonl", content), purpose="fine-tune")


def create_job(client: openai.OpenAI, **fields: Any) -> FineTuningJob:
    fields.setdefault("training_file", upload(client).id)
    return client.fine_tuning.jobs.create(model=BASE, **fields)


def trained_job(client: openai.OpenAI, worker: Worker, **fields: Any) -> FineTuningJob:
    job = create_job(client, **fields)
    worker.train(translate.inner_id("job", job.id))
    return client.fine_tuning.jobs.retrieve(job.id)


@contextmanager
def refused(status: int, body: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The block's call is answered with this status and, where one is given, exactly this error.

    What is yielded is the error, once the block has ended.
    """
    said: dict[str, Any] = {}
    with pytest.raises(openai.APIStatusError) as caught:
        yield said
    assert caught.value.status_code == status
    answer = caught.value.response.json()
    assert list(answer) == ["error"]
    assert list(answer["error"]) == ["message", "type", "param", "code"]
    said.update(answer["error"])
    if body is not None:
        assert said == body


def error(
    message: str,
    *,
    param: str | None = None,
    code: str | None = None,
    kind: str = "invalid_request_error",
) -> dict[str, Any]:
    return {"message": message, "type": kind, "param": param, "code": code}


def wait_until(is_so: Callable[[], bool], seconds: float = 5.0) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.01)
