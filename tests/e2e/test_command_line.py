"""The command line at a real service, in a real terminal."""

import json
import os
import pty
import select
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import ADMIN_KEY, PATIENCE_SECONDS, TUNESMITH, Service


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    file.write_bytes(conversations(60))
    return file


class Terminal:
    """A command in a terminal of 80 columns."""

    def __init__(self, service: Service, *arguments: str) -> None:
        self._screen, inner = pty.openpty()
        environment = {**service.environment, "TERM": "xterm", "COLUMNS": "80", "LINES": "30"}
        self.process = subprocess.Popen(
            [*TUNESMITH, *arguments, "--data-dir", str(service.data_dir)],
            env=environment,
            stdin=inner,
            stdout=inner,
            stderr=inner,
            start_new_session=True,
            # Whoever runs the tests in the background may have SIGINT ignored, which is inherited.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        os.close(inner)
        self.seen = ""

    def wait_for(self, words: str) -> None:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while words not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self._screen], [], [], 0.2)[0]:
                try:
                    self.seen += os.read(self._screen, 65536).decode(errors="replace")
                except OSError:  # the command has ended
                    assert words in self.seen, self.seen
        assert words in self.seen

    def press_ctrl_c(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_SECONDS)


def test_a_file_becomes_a_model_that_is_asked_and_examined(service: Service, rows: Path) -> None:
    said = service.run("tune", str(rows), "--model", BASE, "--epochs", "1", "--wait")
    tuned = said.splitlines()[0]
    assert tuned.startswith("ft:")
    assert service.run("chat", tuned, "Item 1 is green.", "--max-tokens", "8").endswith("\n")
    examined = json.loads(service.run("eval", tuned, str(rows), "--base", BASE, "--json"))
    assert [(one["model"], one["rows"]) for one in examined] == [(BASE, 60), (tuned, 60)]
    assert {"adapter_model.safetensors", "job.lock"} <= {
        file["name"] for file in json.loads(service.run("models", "show", tuned))["files"]
    }


def test_a_job_is_watched_with_its_curve_and_ctrl_c_leaves_it_alone(
    service: Service, rows: Path
) -> None:
    arguments = ["--model", BASE, "--epochs", "50", "--json"]
    job_id = json.loads(service.run("tune", str(rows), *arguments))["id"]
    terminal = Terminal(service, "jobs", "watch", job_id)
    terminal.wait_for("training loss by step")
    assert terminal.press_ctrl_c() == 130
    terminal.wait_for(f"tunesmith jobs watch {job_id}")
    assert "Traceback" not in terminal.seen
    assert json.loads(service.run("jobs", "show", job_id, "--json"))["status"] == "running"
    assert "cancelled" in service.run("jobs", "stop", job_id)


def test_tokens_are_counted_here_and_by_a_server_elsewhere_alike(
    service: Service, rows: Path
) -> None:
    command = ["data", "check", str(rows), "--model", BASE, "--json"]
    here = json.loads(service.run(*command))["tokens"]
    environment = service.environment
    environment |= {"TUNESMITH_URL": service.url, "TUNESMITH_API_KEY": ADMIN_KEY}
    before = service.run("files", "list")
    told = subprocess.run([*TUNESMITH, *command], env=environment, capture_output=True, check=True)
    assert json.loads(told.stdout)["tokens"] == here
    assert here["estimate"]["hyperparameters"]["epochs"] == here["num_epochs"]
    assert service.run("files", "list") == before


def test_the_machine_is_examined_while_the_service_runs(service: Service) -> None:
    findings = json.loads(service.run("doctor", "--json"))
    assert {finding["verdict"] for finding in findings} <= {"ok", "note"}
    assert any(service.url in finding["found"] for finding in findings)
