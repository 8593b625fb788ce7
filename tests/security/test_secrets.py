"""Secrets that are planted everywhere turn up nowhere: the grep over all that processes write."""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx

ADMIN = "ts_planted-admin-secret-of-many-letters"
WANDB = "planted-wandb-secret-0123456789abcdef"
OTHER = "planted-environment-secret"
ROW = "planted-dataset-text"


def test_no_process_writes_down_a_secret(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "TUNESMITH_ADMIN_KEY": ADMIN,
        "TUNESMITH_WANDB_API_KEY": WANDB,
        "TUNESMITH_LOG_LEVEL": "debug",
        "MY_SECRET": OTHER,
    }
    log, data_dir = tmp_path / "log", tmp_path / "data"
    command = [
        sys.executable,
        "-m",
        "tunesmith",
        "serve",
        "--port",
        "0",
        "--data-dir",
        str(data_dir),
    ]
    with log.open("wb") as file:
        process = subprocess.Popen(command, env=environment, stdout=file, stderr=file)
    try:
        url = _address(data_dir / "server.json")
        told, made = _plant(url)
    finally:
        process.terminate()
        process.wait(60)
    written = log.read_text() + told + _tables(data_dir / "tunesmith.db")
    secrets = [ADMIN, WANDB, OTHER, ROW, *made]
    assert [secret for secret in secrets if secret in written] == []


def _address(path: Path) -> str:
    deadline = time.monotonic() + 90
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.1)
    return str(json.loads(path.read_text())["url"])


def _plant(url: str) -> tuple[str, list[str]]:
    """All that was answered, but for what is shown this once; and the secrets that were."""
    told, made = [], []
    message = [{"role": "user", "content": ROW}, {"role": "assistant", "content": "a"}]
    rows = json.dumps({"messages": message, "weight": 3}).encode() + b"\n"
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        http.headers["authorization"] = f"Bearer {ADMIN}"
        body = {"name": "a", "scopes": ["inference"]}
        made.append(http.post("/admin/v1/keys", json=body).json()["key"])
        body = {"url": "https://example.org/"}
        made.append(http.post("/admin/v1/webhooks", json=body).json()["secret"])
        form = {"files": {"file": ("a.jsonl", rows * 12)}, "data": {"purpose": "fine-tune"}}
        file = http.post("/v1/files", **form).json()["id"]
        body = {"model": "tunesmith-tiny", "training_file": file}
        body["integrations"] = [{"type": "wandb", "wandb": {"project": "a"}}]
        job = http.post("/v1/fine_tuning/jobs", json=body).json()["id"]
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            state = http.get(f"/v1/fine_tuning/jobs/{job}")
            if state.json()["status"] in ("failed", "succeeded"):
                break
            time.sleep(0.5)
        for path in (
            f"/v1/fine_tuning/jobs/{job}",
            f"/v1/fine_tuning/jobs/{job}/events",
            "/admin/v1/keys",
            "/admin/v1/webhooks",
            "/admin/v1/audit",
            "/v1/files",
            "/readyz",
        ):
            told.append(http.get(path).text)
        bad = http.get("/v1/models", headers={"authorization": f"Bearer {made[0]}x"})
        told.append(bad.text)
        told.append(http.post("/v1/chat/completions", json={"model": ROW[:-1]}).text)
        told.append(http.post("/v1/files", content=b"{" + OTHER[:-1].encode()).text)
    return "".join(told), made


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
