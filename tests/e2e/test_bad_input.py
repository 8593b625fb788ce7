"""Bad input against the running service: the documented answer, and the server stays up."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import Service, wait_for_job

GIGABYTE = 1024**3


def _resident_bytes(pid: int) -> int:
    """Peak resident memory of a process, from Linux's /proc."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


def _multipart(num_bytes: int) -> Iterator[bytes]:
    head = 'Content-Disposition: form-data; name="file"; filename="big.jsonl"'
    yield f"--edge\r\n{head}\r\n\r\n".encode()
    block = b"x" * (1024 * 1024)
    for _ in range(num_bytes // len(block)):
        yield block
    purpose = 'Content-Disposition: form-data; name="purpose"'
    yield f"\r\n--edge\r\n{purpose}\r\n\r\nfine-tune\r\n--edge--\r\n".encode()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's /proc")
def test_a_gigabyte_is_refused_in_constant_memory_and_leaves_nothing(service: Service) -> None:
    assert service.process is not None
    before = _resident_bytes(service.process.pid)

    with service.http as http:
        answer = http.post(
            "/v1/files",
            content=_multipart(GIGABYTE),
            headers={"Content-Type": "multipart/form-data; boundary=edge"},
        )

    assert answer.status_code == 413
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert _resident_bytes(service.process.pid) - before < 50 * 1024**2
    assert not list((service.data_dir / "blobs" / "incoming").iterdir())
    assert service.client.files.list().data == []


@pytest.mark.parametrize(
    ("rows", "code", "words"),
    [
        (conversations(9), "invalid_n_examples", "has 9 example(s), but must have at least 10"),
        (
            conversations(11) + b'\n{"messages": [{"role": "user", "content": "Hi"}]}',
            "invalid_training_file",
            "Line 12: There is no message with the role assistant",
        ),
        (
            conversations(11) + b'\n{"messages": [], "weight": 1}',
            "invalid_file_format",
            'contains an extra "weight"',
        ),
    ],
)
def test_bad_data_fails_the_job_with_its_line(
    service: Service, rows: bytes, code: str, words: str
) -> None:
    client = service.client
    uploaded = client.files.create(file=("t.jsonl", rows), purpose="fine-tune")
    created = client.fine_tuning.jobs.create(model=BASE, training_file=uploaded.id)

    job = wait_for_job(service, created.id, status="failed")

    assert job.error is not None
    assert job.error.code == code
    assert job.error.param == "training_file"
    assert words in job.error.message


def test_a_row_that_the_model_cannot_learn_from_fails_the_job_with_its_line(
    service: Service,
) -> None:
    client = service.client
    messages = [
        {"role": "user", "content": "Hi " * 50_000},
        {"role": "assistant", "content": "Ho"},
    ]
    far = b"\n" + json.dumps({"messages": messages}).encode()
    uploaded = client.files.create(file=("t.jsonl", conversations(11) + far), purpose="fine-tune")
    created = client.fine_tuning.jobs.create(model=BASE, training_file=uploaded.id)

    job = wait_for_job(service, created.id, status="failed")

    assert job.error is not None
    assert job.error.code == "invalid_training_file"
    assert "Line 12: All tokens to learn lie beyond the limit" in job.error.message


def test_the_server_stays_up_and_says_what_is_wrong(service: Service) -> None:
    client = service.client
    with pytest.raises(openai.AuthenticationError) as wrong_key:
        client.with_options(api_key="wrong").models.list()
    assert wrong_key.value.code == "invalid_api_key"
    with pytest.raises(openai.BadRequestError, match="JSONL"):
        client.files.create(file=("t.jsonl", b"a,b\n1,2\n"), purpose="fine-tune")
    with pytest.raises(openai.NotFoundError, match="No such File object"):
        client.fine_tuning.jobs.create(model=BASE, training_file="file-nothing")
    uploaded = client.files.create(file=("t.jsonl", conversations(10)), purpose="fine-tune")
    with pytest.raises(openai.BadRequestError, match="is not available for fine-tuning"):
        client.fine_tuning.jobs.create(model="gpt-17", training_file=uploaded.id)
    with pytest.raises(openai.NotFoundError) as no_model:
        client.chat.completions.create(model="gpt-17", messages=[{"role": "user", "content": "Hi"}])
    assert no_model.value.code == "model_not_found"
    with service.http as http:
        answer = http.post(
            "/v1/fine_tuning/jobs",
            content=b"{not json",
            headers={"Content-Type": "application/json"},
        )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
    assert httpx.get(f"{service.url}/healthz").json() == {"status": "ok"}
    assert httpx.get(f"{service.url}/readyz").json()["status"] == "ready"
    assert "Traceback" not in service.log
