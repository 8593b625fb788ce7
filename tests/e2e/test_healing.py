"""What goes wrong in one job is mended there, or fails it with a sentence; others never know."""

import json
import os
import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.recipes import adapter_of, create_job, lock_of
from tests.e2e.service import Service, steps_done, wait_for_job, wait_until
from tests.tiny_models import make_tiny_llama

JOBS = "/api/v1/fine-tuning/jobs"
HOST = "tunesmith.compute.host"
WORKER = "tunesmith worker"
LARGER = "larger-llama"
MEBIBYTE = 1 << 20


def _create(
    http: httpx.Client, rows: bytes, seed: int = 1, base: str = BASE, **hyperparameters: Any
) -> str:
    files = {"file": ("t.jsonl", rows)}
    dataset = http.post("/api/v1/datasets", files=files).raise_for_status().json()["id"]
    body = {
        "name": "job",
        "baseModel": base,
        "trainingDataset": dataset,
        "seed": seed,
        "hyperparameters": hyperparameters,
    }
    return str(http.post(JOBS, json=body).raise_for_status().json()["id"])


def _ended(http: httpx.Client, job: str) -> Any:
    wait_until(lambda: http.get(f"{JOBS}/{job}").json()["finishedAt"] is not None, "the job's end")
    return http.get(f"{JOBS}/{job}").json()


def _warnings(http: httpx.Client, job: str) -> list[str]:
    logs = http.get(f"{JOBS}/{job}/logs", params={"lines": 1000}).json()["logs"]
    return [line["message"] for line in logs if line["level"] == "warning"]


def _rows_that_agree_but_for_one(num_rows: int) -> bytes:
    """One answer is nothing that the others would lead to expect."""
    rows = []
    for number in range(num_rows):
        answer = "a" if number else "§ß~ñ#¿%"
        messages = [
            {"role": "user", "content": f"Is {number} a number?"},
            {"role": "assistant", "content": answer},
        ]
        rows.append(json.dumps({"messages": messages}))
    return "\n".join(rows).encode()


@pytest.fixture(scope="module")
def in_turns(make_service: ServiceMaker) -> Service:
    """Jobs in company are the same to the bit as alone."""
    service = make_service(max_pass_tokens="0")
    service.start()
    return service


def test_jobs_that_diverge_go_back_and_the_one_beside_them_learns_what_it_would_alone(
    in_turns: Service,
) -> None:
    alone = wait_for_job(in_turns, create_job(in_turns, n_epochs=3))
    [host] = in_turns.processes(HOST)
    beside = create_job(in_turns, n_epochs=3)
    with in_turns.http as http:
        ruined = _create(http, conversations(100), epochs=4, batchSize=4, learningRate=100)
        uneven = _create(
            http,
            _rows_that_agree_but_for_one(60),
            seed=2,
            epochs=3,
            batchSize=1,
            learningRate=0.02,
            learningRateSchedule="constant",
        )
        failed, tries = _ended(http, ruined), _warnings(http, ruined)
        healed, spikes = _ended(http, uneven), _warnings(http, uneven)
        figures = http.get(f"{JOBS}/{uneven}/metrics").json()["metrics"]["steps"]
    ended = wait_for_job(in_turns, beside)

    assert failed["status"] == "failed"
    assert failed["error"].endswith("Try a lower learning rate.")
    assert ["went back to step 0" in told for told in tries] == [True, True]
    assert ["(1 of 2 tries)" in tries[0], "(2 of 2 tries)" in tries[1]] == [True, True]
    assert healed["status"] == "completed"
    assert len(spikes) == 2
    assert all("more than 5 times what is usual" in spike for spike in spikes)
    assert [figures[0]["step"], figures[-1]["step"]] == [1, 180]
    assert figures[-1]["learningRate"] == 0.02 / 4
    assert in_turns.processes(HOST) == [host]
    assert not lock_of(in_turns, ended.fine_tuned_model)["was_alone"]
    assert adapter_of(in_turns, ended.fine_tuned_model) == adapter_of(
        in_turns, alone.fine_tuned_model
    )


def _rows_of(num_words: int, num_rows: int = 16) -> bytes:
    rows = []
    for number in range(num_rows):
        messages = [
            {"role": "user", "content": f"{number} " + "sea " * num_words},
            {"role": "assistant", "content": f"blue {number}"},
        ]
        rows.append(json.dumps({"messages": messages}))
    return "\n".join(rows).encode()


def _data_bytes(pid: int) -> int:
    """What RLIMIT_DATA limits."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmData:")]
    return int(line.split()[1]) * 1024


def _leave(pid: int, num_bytes: int) -> None:
    """So much memory more can a process have; what it asks for beyond that is refused."""
    _, most = resource.prlimit(pid, resource.RLIMIT_DATA)
    resource.prlimit(pid, resource.RLIMIT_DATA, (_data_bytes(pid) + num_bytes, most))


def _losses(http: httpx.Client, job: str) -> list[float]:
    steps = http.get(f"{JOBS}/{job}/metrics").json()["metrics"]["steps"]
    return [point["trainingLoss"] for point in steps]


def _create_small(service: Service) -> str:
    client = service.client
    training = client.files.create(file=("t.jsonl", _rows_of(3)), purpose="fine-tune")
    return client.fine_tuning.jobs.create(
        model=LARGER,
        training_file=training.id,
        seed=3,
        hyperparameters={"n_epochs": 50, "batch_size": 4, "learning_rate_multiplier": 1},
    ).id


@pytest.fixture
def with_a_larger_base(make_service: ServiceMaker, tmp_path: Path) -> Iterator[Service]:
    """It takes some 80 MiB to train on 1,700 tokens, and its host keeps none in hand."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MALLOC_TOP_PAD_", "65536")
        service = make_service(max_pass_tokens="0", spare_host="false")
        folder = make_tiny_llama(tmp_path / "larger", hidden_size=256, intermediate_size=1024)
        service.run("models", "add", LARGER, "--from", str(folder))
        service.start()
        yield service
        service.stop()


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="Linux's limits of other processes")
def test_memory_that_does_not_suffice_makes_smaller_passes_or_fails_that_job_alone(
    with_a_larger_base: Service,
) -> None:
    service = with_a_larger_base
    alone = wait_for_job(service, _create_small(service))
    [host] = service.processes(HOST)
    beside = _create_small(service)
    with service.http as http:

        def create_long() -> str:
            return _create(http, _rows_of(400), base=LARGER, epochs=1, batchSize=4)

        wait_until(lambda: bool(steps_done(service, beside)), "the first step")
        _leave(host, 6 * MEBIBYTE)
        refused = _ended(http, create_long())
        _leave(host, 45 * MEBIBYTE)
        in_halves = create_long()
        assert _ended(http, in_halves)["status"] == "completed"
        resource.prlimit(host, resource.RLIMIT_DATA, (resource.RLIM_INFINITY,) * 2)
        at_once = create_long()
        assert _ended(http, at_once)["status"] == "completed"

        assert refused["status"] == "failed"
        assert re.search(
            r"An example of 4\d\d tokens does not fit even by itself", refused["error"]
        )
        told = _warnings(http, in_halves)
        assert told
        assert all("steps are as large as before" in healed for healed in told)
        assert _warnings(http, at_once) == []
        losses = _losses(http, in_halves)
        assert len(losses) == 4
        assert losses == pytest.approx(_losses(http, at_once), rel=1e-4)
    ended = wait_for_job(service, beside)
    assert service.processes(HOST) == [host]
    assert not lock_of(service, ended.fine_tuned_model)["was_alone"]
    assert adapter_of(service, ended.fine_tuned_model) == adapter_of(
        service, alone.fine_tuned_model
    )


@contextmanager
def _memory_group(pid: int) -> Iterator[Path]:
    """A process, and those that it will begin, in a control group whose memory can be limited."""
    group = Path("/sys/fs/cgroup/memory") / f"tunesmith-test-{os.getpid()}"
    try:
        group.mkdir()
        (group / "cgroup.procs").write_text(str(pid))
    except OSError as error:
        pytest.skip(f"needs control groups of its own: {error}")
    try:
        yield group
    finally:
        (group / "memory.limit_in_bytes").write_text("-1")
        for left in (group / "cgroup.procs").read_text().split():
            (group.parent / "cgroup.procs").write_text(left)
        group.rmdir()


def _leave_to_all(group: Path, num_bytes: int) -> None:
    stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
    (group / "memory.limit_in_bytes").write_text(str(int(stat["total_rss"]) + num_bytes))


def test_a_host_that_the_system_ends_for_lack_of_memory_is_followed_by_smaller_passes(
    with_a_larger_base: Service,
) -> None:
    service = with_a_larger_base
    wait_until(lambda: bool(service.processes(WORKER)), "the worker")
    [worker] = service.processes(WORKER)
    with service.http as http, _memory_group(worker) as group:
        wait_for_job(service, _create_small(service))
        [host] = service.processes(HOST)
        _leave_to_all(group, 60 * MEBIBYTE)
        healed = _create(http, _rows_of(400), base=LARGER, epochs=1, batchSize=4)
        assert _ended(http, healed)["status"] == "completed"
        told = _warnings(http, healed)
        assert "signal SIGKILL, as the machine's memory did not suffice" in told[0]
        assert "Passes have at most 1024 tokens now; steps are as large as before." in told[1]
        assert service.processes(HOST) != [host]
