"""`models add` with a Hugging Face id, against a small hub of our own."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.factories import model_folder, safetensors

COMMIT = "c0ffee" * 6 + "c0ff"
REPOSITORY = "acme/small"


class Hub(ThreadingHTTPServer):
    """Serves one repository from a folder, and notes which files were fetched."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder = folder
        self.repository = REPOSITORY
        self.fetched: set[str] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        files = {file.name: file.read_bytes() for file in self.server.folder.iterdir()}
        repository = self.server.repository
        resolved = f"/{repository}/resolve/{COMMIT}/"
        if path == f"/api/models/{repository}/revision/main":
            siblings = [{"rfilename": name} for name in files]
            self._send(json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode())
        elif path == f"/api/models/{repository}/tree/{COMMIT}":
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": name}
                for name, content in files.items()
            ]
            self._send(json.dumps(entries).encode())
        elif path.startswith(resolved) and path.removeprefix(resolved) in files:
            name = path.removeprefix(resolved)
            self.server.fetched.add(name)
            self._send(files[name], etag=name)
        else:
            self.send_error(404)

    def _send(self, body: bytes, etag: str = "none") -> None:
        self.send_response(200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{etag}"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    folder = model_folder(tmp_path / "repository")
    for name in ("pytorch_model.bin", "modeling_small.py", "model.gguf"):
        (folder / name).write_text("not wanted")
    with Hub(folder) as hub:
        thread = threading.Thread(target=hub.serve_forever)
        thread.start()
        yield hub
        hub.shutdown()
        thread.join()


def tunesmith(tmp_path: Path, hub: Hub, *arguments: str) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the hub's address is read when its library is imported."""
    environment = {
        **os.environ,
        "HF_ENDPOINT": hub.url,
        "HF_HOME": str(tmp_path / "cache"),
        "NO_PROXY": "127.0.0.1",
        "COLUMNS": "200",
    }
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-m", "tunesmith", *arguments, "--data-dir", str(tmp_path / "data")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_a_model_of_the_hub_is_fetched_without_code_and_pickles(hub: Hub, tmp_path: Path) -> None:
    added = tunesmith(tmp_path, hub, "models", "add", "small", "--from", REPOSITORY)
    assert added.returncode == 0, added.stderr
    assert hub.fetched == {
        "config.json",
        "model-1.safetensors",
        "model-2.safetensors",
        "tokenizer.json",
    }
    assert f"{REPOSITORY}@{COMMIT}" in tunesmith(tmp_path, hub, "models", "list").stdout


def test_a_model_that_the_hub_does_not_have_is_refused_with_a_reason(
    hub: Hub, tmp_path: Path
) -> None:
    added = tunesmith(tmp_path, hub, "models", "add", "small", "--from", "acme/nothing")
    assert added.returncode == 1
    assert "acme/nothing" in added.stderr
    assert "Traceback" not in added.stderr


def test_a_known_model_is_fetched_by_its_name_and_not_twice_in_other_forms(
    hub: Hub, tmp_path: Path
) -> None:
    hub.repository = "Qwen/Qwen3-0.6B"
    weights = safetensors({"a": [6, 10**8]})
    for name in ("model-1.safetensors", "consolidated.safetensors"):
        (hub.folder / name).write_bytes(weights)
    added = tunesmith(tmp_path, hub, "models", "add", "qwen3-0.6b")
    assert added.returncode == 0, added.stderr
    assert "600,000,003 parameters" in added.stdout
    assert "consolidated.safetensors" not in hub.fetched
    listed = tunesmith(tmp_path, hub, "models", "list").stdout
    assert "qwen-3-0.6b" in listed
    assert f"Qwen/Qwen3-0.6B@{COMMIT[:8]}" in listed
    estimate = tunesmith(tmp_path, hub, "estimate", "Qwen/Qwen3-0.6B", "--examples", "1")
    assert estimate.returncode == 0, estimate.stderr
