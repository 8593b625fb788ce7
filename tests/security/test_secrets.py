"""Secrets that are planted everywhere turn up nowhere: the grep over all that processes write."""

import json
import os
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.collector import collecting

ADMIN = "ts_planted-admin-secret-of-many-letters"
WANDB = "planted-wandb-secret-0123456789abcdef"
OTHER = "planted-environment-secret"
ROW = "planted-dataset-text"
# What callers send by mistake, or to see what becomes of it.
STRAY_KEY = "ts_planted-stray-key-000000000000000000000000"
IN_QUERY, IN_HEADER, IN_BODY = "planted-in-query", "planted-in-header", "planted-in-body"
IN_URL, IN_NAME, IN_PROMPT = "planted-in-url", "planted-in-name", "planted-in-prompt"
STRAY = (STRAY_KEY, IN_QUERY, IN_HEADER, IN_BODY, IN_URL, IN_NAME, IN_PROMPT)


@dataclass
class Planted:
    """What was answered, but for what is shown this once; and the secrets that were."""

    answers: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)


def test_no_process_writes_down_a_secret(tmp_path: Path) -> None:
    log, data_dir, metrics_port = tmp_path / "log", tmp_path / "data", _free_port()
    with collecting() as collector:
        settings = {
            "TUNESMITH_ADMIN_KEY": ADMIN,
            "TUNESMITH_WANDB_API_KEY": WANDB,
            "TUNESMITH_LOG_LEVEL": "debug",
            "TUNESMITH_OTLP_ENDPOINT": collector.url,
            "TUNESMITH_METRICS_PORT": str(metrics_port),
            "MY_SECRET": OTHER,
        }
        with _served(data_dir, log, settings) as http:
            planted = _plant(http)
            measured = httpx.get(f"http://127.0.0.1:{metrics_port}/metrics", trust_env=False).text
        traced = b"".join(collector.bodies).decode(errors="replace")
    told = {
        "log": log.read_text(),
        "metrics": measured,
        "traces": traced,
        "answers": "".join(planted.answers),
        "tables": _tables(data_dir / "tunesmith.db"),
    }
    assert "/v1/fine_tuning/jobs" in told["metrics"]
    assert "attempt" in told["traces"]
    assert "request" in told["log"]
    secrets = [ADMIN, WANDB, OTHER, ROW, *planted.made]
    found = [(place, s) for place, text in told.items() for s in secrets if s in text]
    # What callers name and ask is theirs to see again, and no business of an operator's.
    found += [(p, s) for p in ("log", "metrics", "traces") for s in STRAY if s in told[p]]
    found += [("tables", s) for s in (STRAY_KEY, IN_QUERY, IN_HEADER) if s in told["tables"]]
    assert found == []


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@contextmanager
def _served(data_dir: Path, log: Path, settings: dict[str, str]) -> Iterator[httpx.Client]:
    command = [sys.executable, "-m", "tunesmith", "serve", "--port", "0"]
    with log.open("wb") as file:
        process = subprocess.Popen(
            [*command, "--data-dir", str(data_dir)],
            env={**os.environ, **settings},
            stdout=file,
            stderr=file,
        )
    try:
        url = _address(data_dir / "server.json")
        with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
            http.headers["authorization"] = f"Bearer {ADMIN}"
            yield http
    finally:
        process.terminate()
        process.wait(60)


def _address(path: Path) -> str:
    deadline = time.monotonic() + 300
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return str(json.loads(path.read_text())["url"])


def _plant(http: httpx.Client) -> Planted:
    planted = Planted()
    told, made = planted.answers, planted.made
    body: dict[str, Any] = {"name": IN_NAME, "scopes": ["inference"]}
    made.append(http.post("/admin/v1/keys", json=body).json()["key"])
    body = {"url": f"https://example.org/{IN_URL}?token={IN_URL}"}
    made.append(http.post("/admin/v1/webhooks", json=body).json()["secret"])
    _wait_for_job(http, _create_job(http))
    for path in ("/admin/v1/keys", "/admin/v1/webhooks", "/admin/v1/audit", "/v1/files", "/readyz"):
        told.append(http.get(path).text)
    for path in ("", "/events"):
        told.append(http.get(f"/v1/fine_tuning/jobs/{_newest_job(http)}{path}").text)
    bad = http.get("/v1/models", headers={"authorization": f"Bearer {made[0]}x"})
    told.append(bad.text)
    told.append(http.post("/v1/chat/completions", json={"model": ROW[:-1]}).text)
    told.append(http.post("/v1/files", content=b"{" + OTHER[:-1].encode()).text)
    _stray(http)
    return planted


def _create_job(http: httpx.Client) -> str:
    """One whose data is at fault, of which its events tell."""
    message = [{"role": "user", "content": ROW}, {"role": "assistant", "content": "a"}]
    rows = json.dumps({"messages": message, "weight": 3}).encode() + b"\n"
    form = {"files": {"file": (f"{IN_NAME}.jsonl", rows * 12)}, "data": {"purpose": "fine-tune"}}
    body = {
        "model": "tunesmith-tiny",
        "training_file": http.post("/v1/files", **form).json()["id"],  # type: ignore[arg-type]
        "metadata": {"owner": IN_NAME},
        "integrations": [{"type": "wandb", "wandb": {"project": IN_NAME}}],
    }
    return str(http.post("/v1/fine_tuning/jobs", json=body).json()["id"])


def _newest_job(http: httpx.Client) -> str:
    return str(http.get("/v1/fine_tuning/jobs").json()["data"][0]["id"])


def _wait_for_job(http: httpx.Client, job_id: str) -> None:
    deadline = time.monotonic() + 60
    while http.get(f"/v1/fine_tuning/jobs/{job_id}").json()["status"] != "failed":
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _stray(http: httpx.Client) -> None:
    """Secrets where they do not belong, of which each dialect has its own ways to speak."""
    query = {"api_key": IN_QUERY, "after": IN_QUERY}
    headers = {"x-api-key": IN_HEADER, "cookie": f"session={IN_HEADER}", "traceparent": IN_HEADER}
    nested = {"api_key": IN_BODY, "model": IN_BODY, "messages": [{"role": IN_BODY}]}
    prompt = [{"role": "user", "content": IN_PROMPT}]
    for path in (
        f"/v1/fine_tuning/jobs/{STRAY_KEY}",
        f"/v1/files/{STRAY_KEY}/content",
        f"/api/v1/jobs/{STRAY_KEY}",
        f"/client/v4/accounts/{STRAY_KEY}/ai/finetunes",
        f"/admin/v1/keys/{STRAY_KEY}",
        f"/{STRAY_KEY}",
        f"/fleet/v1/blobs/{STRAY_KEY}",
        "/v1/fine_tuning/jobs",
        "/api/v1/jobs",
    ):
        http.get(path, params=query, headers=headers)
        http.post(path, params=query, headers=headers, json=nested)
        http.delete(path, headers={"authorization": f"Bearer {STRAY_KEY}"})
    for content in (b"{" + IN_BODY.encode(), b"\xff" + IN_BODY.encode()):
        http.post("/v1/fine_tuning/jobs", content=content)
        http.post("/v1/files", content=content, headers={"content-type": "multipart/form-data"})
    answer = {"model": "tunesmith-tiny", "messages": prompt, "max_completion_tokens": 1}
    assert http.post("/v1/chat/completions", json=answer).status_code == 200
    refused = {**answer, "messages": [{"role": "assistant", "content": IN_PROMPT, "weight": 7}]}
    http.post("/v1/chat/completions", json=refused)


def _tables(path: Path) -> str:
    """All rows but the one that must hold a secret to sign with."""
    connection = sqlite3.connect(path)
    names = [
        row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type='table'")
    ]
    rows = [
        str(connection.execute(f"SELECT * FROM {name}").fetchall())
        for name in names
        if name != "webhook_endpoints"
    ]
    connection.close()
    return "".join(rows)
