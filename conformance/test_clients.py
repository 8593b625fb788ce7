"""Real jobs on a real service, by the clients that people have: each is asked what it saw."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance.clients.data import conversations, preferences
from conformance.conftest import Figure
from conformance.environments import ROOT, environment, node_modules_with, python_with
from tests.e2e.service import ADMIN_KEY, Service, wait_for_job

CLIENTS = ROOT / "conformance" / "clients"
BASE = "tunesmith-tiny"
WITH_SLASH = "acme/tiny"
SEEN_BY_ALL = {
    "file": ["train.jsonl", "fine-tune", "processed", True],
    "content is the same": True,
    "file is listed": True,
    "created": ["validating_files", "fine_tuning.job", 7, None, None],
    "jobs are listed, newest first": True,
    "jobs are found by metadata": True,
    "cancelled": "cancelled",
    "job": ["succeeded", None, 2, 1],
    "job has ended": True,
    "model": [f"ft:{BASE}:default:my-colours", 8],
    "events are different ones": True,
    "newest event": "The job has successfully completed",
    "oldest event": "Created fine-tuning job",
    "steps, newest first": [10, 9, 8, 7, 6, 5, 4, 3, 2, 1],
    "checkpoints": [10, 5],
    "checkpoint is the model": True,
    "results": [["step", "train_loss", "train_accuracy"], 11],
    "older hyperparameters": 1,
    "answer": ["chat.completion", True, True],
    "a stream says the same": True,
    "the model is listed": True,
    "model deleted": True,
    "deleted model": ["NotFoundError", "model_not_found"],
    "base model": "PermissionDeniedError",
    "file deleted": True,
    "deleted file": "NotFoundError",
}
SEEN_BEYOND = {
    "upload": ["completed", True, "fine-tune"],
    "parts are one file": True,
    "part": ["upload.part", True],
    "upload is cancelled": "cancelled",
    "preferences": ["succeeded", True, 0.2, 1],
    "a pair's loss at first": 0.69,
    "rewards are told": True,
    "pausing": "running",
    "paused": "paused",
    "its snapshot answers": True,
    "resumed": "queued",
    "runs again": "running",
    "cancelled": "cancelled",
    "permissions": ["proj_a", "proj_b"],
    "permission is taken back": True,
    "permissions left": ["proj_b"],
    "grader": "text_similarity",
    "reward": 1,
    "call": ["paint", ["colour"]],
    "streamed call": ["paint", True, "tool_calls"],
    "answer in a schema": ["colour"],
    "response": ["response", True, True],
    "a response's stream says the same": True,
    "its first event": "response.created",
    "events are numbered": True,
    "length of an embedding": 1,
    "alike are alike": [True, True],
    "dimensions": 8,
}
PYTHON_VERSIONS = ("3.52.0", "2.54.0", "1.109.1")
NODE_VERSION = "7.55.0"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "train.jsonl"
    path.write_bytes(conversations())
    return path


@pytest.fixture(scope="module")
def pairs(data: Path) -> Path:
    path = data.with_name("pairs.jsonl")
    path.write_bytes(preferences())
    return path


@pytest.mark.parametrize("version", PYTHON_VERSIONS)
def test_openais_python_client_gets_a_job_done(
    service: Service, data: Path, figure: Figure, version: str
) -> None:
    python = python_with(f"openai-{version}", f"openai=={version}")
    seen = _said(python, CLIENTS / "python_sdk.py", data, service=service)
    assert seen.pop("version") == version
    kind, code, message = seen.pop("cancelled again")
    assert (kind, code) == ("BadRequestError", None)
    assert "Job has already completed" in message
    assert seen == SEEN_BY_ALL
    figure(f"OpenAI Python SDK {version}, a job's whole life", f"{len(seen) + 2} claims hold")


@pytest.mark.parametrize("version", PYTHON_VERSIONS)
def test_openais_python_client_gets_beyond_that(
    service: Service, data: Path, pairs: Path, figure: Figure, version: str
) -> None:
    python = python_with(f"openai-{version}", f"openai=={version}")
    assert _said(python, CLIENTS / "python_beyond.py", data, pairs, service=service) == SEEN_BEYOND
    figure(f"OpenAI Python SDK {version}, beyond one job", f"{len(SEEN_BEYOND)} claims hold")


def test_openais_node_client_gets_a_job_done(
    service: Service, data: Path, figure: Figure, needs_node: None
) -> None:
    version, folder = NODE_VERSION, _node_folder()
    _offer_under_another_name(service, WITH_SLASH)
    seen = _said("node", CLIENTS / "node_sdk.mjs", data, WITH_SLASH, service=service, cwd=folder)
    assert seen.pop("version") == version
    assert seen.pop("a name with a slash")
    kind, code, message = seen.pop("cancelled again")
    assert (kind, code) == ("BadRequestError", None)
    assert "Job has already completed" in message
    assert seen == SEEN_BY_ALL
    figure(f"OpenAI Node SDK {version}, a job's whole life", f"{len(seen) + 3} claims hold")


def test_openais_node_client_gets_beyond_that(
    service: Service, data: Path, pairs: Path, figure: Figure, needs_node: None
) -> None:
    """With two keys: permissions alone are asked for with the one that may administer."""
    key = service.run("keys", "create").strip()
    arguments = (CLIENTS / "node_beyond.mjs", data, pairs)
    assert _said("node", *arguments, service=service, cwd=_node_folder(), key=key) == SEEN_BEYOND
    figure(f"OpenAI Node SDK {NODE_VERSION}, beyond one job", f"{len(SEEN_BEYOND)} claims hold")


def test_the_last_python_command_line_gets_a_job_done(
    service: Service, data: Path, figure: Figure
) -> None:
    """As it was in 1.109.1. `-b` needs the slash at its end."""
    python = python_with("openai-1.109.1", "openai==1.109.1")

    def cli(*words: str) -> Any:
        command = [python.parent / "openai", "-b", f"{service.url}/v1/", "-k", ADMIN_KEY, "api"]
        done = subprocess.run([*command, *words], env=environment(), capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    file = json.loads(cli("files.create", "-f", str(data), "-p", "fine-tune"))
    options = ["-m", BASE, "-F", file["id"], "-H", '{"n_epochs": 1, "batch_size": 8}', "-s", "cli"]
    job = json.loads(cli("fine_tuning.jobs.create", *options))
    assert job["status"] == "validating_files"
    other = json.loads(cli("fine_tuning.jobs.create", "-m", BASE, "-F", file["id"]))
    assert json.loads(cli("fine_tuning.jobs.cancel", "-i", other["id"]))["status"] == "cancelled"
    model = str(wait_for_job(service, job["id"]).fine_tuned_model)
    assert model.startswith(f"ft:{BASE}:default:cli:")
    events = json.loads(cli("fine_tuning.jobs.list_events", "-i", job["id"], "-l", "1"))
    assert [event["message"] for event in events["data"]] == ["The job has successfully completed"]
    answer = cli("chat.completions.create", "-m", model, "-g", "user", "Hi.", "-M", "5", "--stream")
    assert answer.strip()
    assert json.loads(cli("models.delete", "-i", model))["deleted"]
    # Its `files.delete` never asks a server: it misses the arguments of `files.create`.
    figure("openai command line of 1.109.1, a job's whole life", "passed")


def test_litellm_gets_its_jobs_done(service: Service, data: Path, figure: Figure) -> None:
    version = "1.106.0"
    python = python_with(f"litellm-{version}", f"litellm=={version}")
    url = f"{service.url}/v1"
    seen = _said(python, CLIENTS / "litellm_sdk.py", data, url, ADMIN_KEY, service=service)
    assert seen == {
        "file": ["file", "fine-tune"],
        "created": ["fine_tuning.job", BASE],
        "file deleted": True,
        "listed": True,
        "retrieved": True,
        "cancelled": "cancelled",
        "answer": "chat.completion",
    }
    figure(f"LiteLLM {version}, its own order of calls", f"{len(seen)} claims hold")


def _node_folder() -> Path:
    return node_modules_with(f"openai-node-{NODE_VERSION}", f"openai@{NODE_VERSION}")


def _said(
    program: str | Path,
    *arguments: str | Path,
    service: Service,
    cwd: Path | None = None,
    key: str = ADMIN_KEY,
) -> dict[str, Any]:
    """What a client's script printed on its last line."""
    done = subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=environment(
            OPENAI_BASE_URL=f"{service.url}/v1",
            OPENAI_API_KEY=key,
            OPENAI_ADMIN_KEY=ADMIN_KEY,
            LITELLM_LOCAL_MODEL_COST_MAP="True",  # it asks GitHub for prices otherwise
        ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    seen: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return seen


def _offer_under_another_name(service: Service, name: str) -> None:
    with service.http as http:
        (entry,) = [
            entry for entry in http.get("/admin/v1/base-models").json() if entry["name"] == BASE
        ]
        for told in ("id", "weights"):  # by the server alone
            del entry[told]
        http.put("/admin/v1/base-models", json={**entry, "name": name}).raise_for_status()
