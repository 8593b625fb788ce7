"""The command line as a client: what it prints, what it ends with, and what it says to do."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from click.testing import Result
from typer.testing import CliRunner

from tests.contract.server import ALIAS, BASE, Caller, ScriptedSampler, Server, delta, done
from tests.contract.worker import Worker
from tunesmith.cli.main import app
from tunesmith.cli.options import Exit
from tunesmith.cli.remote import inner
from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import SampleRequest
from tunesmith.domain.jobs import Failure

Run = Callable[..., Result]

ROWS = "".join(
    json.dumps({"messages": [{"role": "user", "content": q}, {"role": "assistant", "content": a}]})
    + "\n"
    for q, a in [("one", "Hello"), ("two", "Other")] * 6
)


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    file = tmp_path / "rows.jsonl"
    file.write_text(ROWS)
    return file


def run_as(server: Server, caller: Caller, *arguments: str, text: str | None = None) -> Result:
    environment = {
        "TUNESMITH_URL": server.url,
        "TUNESMITH_API_KEY": caller.secret,
        "COLUMNS": "200",
    }
    return CliRunner().invoke(app, arguments, env=environment, input=text)


@pytest.fixture
def run(server: Server, caller: Caller, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, text: str | None = None) -> Result:
        return run_as(server, caller, *arguments, text=text)

    return run


@pytest.fixture
def job(run: Run, rows: Path) -> str:
    made = run("tune", str(rows), "--model", ALIAS, "--epochs", "2", "--json")
    assert made.exit_code == 0, made.output
    return str(json.loads(made.stdout)["id"])


def test_a_file_becomes_a_job_with_what_was_asked_for(run: Run, rows: Path) -> None:
    arguments = ["--epochs", "3", "--seed", "7", "--suffix", "mine", "--validation", str(rows)]
    made = run("tune", str(rows), "--model", ALIAS, *arguments)
    assert made.exit_code == 0, made.output
    job = json.loads(run("jobs", "show", made.stdout.split()[0], "--json").stdout)
    assert job["model"] == BASE
    assert job["hyperparameters"]["n_epochs"] == 3
    assert (job["seed"], job["user_provided_suffix"]) == (7, "mine")
    assert job["validation_file"] is not None


def test_waiting_follows_the_job_to_its_model(
    server: Server, caller: Caller, run: Run, rows: Path, worker: Worker
) -> None:
    headers = {"Authorization": f"Bearer {caller.secret}"}

    def train_what_comes() -> None:
        deadline = time.monotonic() + 30
        with httpx.Client(base_url=server.url, headers=headers) as http:
            while not (jobs := http.get("/v1/fine_tuning/jobs").json()["data"]):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        worker.train(inner(jobs[0]["id"]))

    thread = threading.Thread(target=train_what_comes)
    thread.start()
    finished = run("tune", str(rows), "--model", ALIAS, "--wait")
    thread.join()
    assert finished.exit_code == 0, finished.output
    assert finished.stdout.startswith("ft:")
    assert "tunesmith chat ft:" in finished.stdout
    assert "step 4/4" in finished.stderr


def test_a_line_that_is_no_json_is_told_before_anything_is_sent(run: Run, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text(ROWS + "{nothing\n")
    refused = run("tune", str(broken), "--model", ALIAS)
    assert refused.exit_code == Exit.FAILED
    assert "line 13" in refused.stderr
    assert json.loads(run("files", "list", "--json").stdout) == []


def test_a_large_file_goes_in_parts(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tunesmith.cli.files._PART_BYTES", 500)
    large = tmp_path / "large.jsonl"
    large.write_text(ROWS)
    file_id = run("files", "upload", str(large)).stdout.strip()
    fetched = run("files", "download", file_id, str(tmp_path / "back.jsonl"))
    assert fetched.exit_code == 0, fetched.output
    assert (tmp_path / "back.jsonl").read_text() == ROWS
    assert run("files", "rm", file_id).exit_code == 0
    assert run("files", "show", file_id).exit_code == Exit.NOT_FOUND


def test_what_others_wrote_is_shown_as_words(run: Run, job: str, worker: Worker) -> None:
    """A message that looks like markup, and would clear the screen."""
    worker.validate(inner(job))
    worker.fail(inner(job), Failure(code="bad_row", message="Not [/this]:\x1b[2J gone"))
    shown = run("jobs", "show", job).output
    assert "Not [/this]:\N{REPLACEMENT CHARACTER}[2J gone" in shown
    assert "\x1b" not in shown + run("jobs", "logs", job).output


def test_a_name_that_looks_like_markup_is_a_name(run: Run, tmp_path: Path) -> None:
    named = tmp_path / "[b] [red]loud.jsonl"
    named.write_text(ROWS)
    assert run("files", "upload", str(named)).exit_code == 0
    assert named.name in run("files", "list").stdout


def test_jobs_are_steered(run: Run, job: str, worker: Worker) -> None:
    worker.validate(inner(job))
    assert "is paused" in run("jobs", "pause", job).stdout
    assert "is queued" in run("jobs", "resume", job).stdout
    assert "cancelled" in run("jobs", "stop", job).stdout
    again = run("jobs", "stop", job)
    assert again.exit_code == Exit.FAILED
    assert again.stderr
    assert run("jobs", "restart", job).exit_code == 0


def test_a_job_is_known_by_any_of_its_ids(run: Run, job: str) -> None:
    shown = run("jobs", "show", str(inner(job)))
    assert shown.exit_code == 0, shown.output
    assert job in shown.stdout
    assert "place" in shown.stdout  # it waits


def test_a_failed_job_says_why_and_fails_the_command(run: Run, job: str, worker: Worker) -> None:
    worker.validate(inner(job))
    worker.fail(inner(job), Failure(code="diverged", message="The loss is no number."))
    watched = run("jobs", "watch", job)
    assert watched.exit_code == Exit.FAILED
    assert "Failed: The loss is no number." in watched.stderr


def test_a_finished_job_is_shown_logged_compared_and_deployed(
    run: Run, job: str, rows: Path, worker: Worker
) -> None:
    worker.train(inner(job))
    other = run("tune", str(rows), "--model", ALIAS, "--epochs", "5").stdout.split()[0]
    assert "ft:" in run("jobs", "list").stdout
    assert "succeeded" in run("jobs", "list", "--status", "succeeded").stdout
    assert "checkpoint" in run("jobs", "show", job).stdout
    assert "Step 4 of 4" in run("jobs", "logs", job, "--follow").stdout
    compared = run("jobs", "compare", job, other)
    assert compared.exit_code == 0, compared.output
    [epochs] = [line for line in compared.stdout.splitlines() if "n_epochs" in line]
    assert epochs.split()[1:] == ["2", "5"]
    deployed = run("deploy", job)
    assert deployed.exit_code == 0, deployed.output
    assert "tunesmith chat" in deployed.stdout


def test_a_model_is_asked_by_argument_and_by_pipe(run: Run, sampler: ScriptedSampler) -> None:
    said = run("chat", ALIAS, "Hi.", "--system", "Be brief.")
    assert said.stdout == "Hello\n"
    assert run("chat", ALIAS, text="Hi.").stdout == "Hello\n"
    messages = sampler.requests[0].messages
    assert messages is not None
    assert [message["role"] for message in messages] == ["system", "user"]


def test_held_out_rows_are_counted(run: Run, rows: Path, sampler: ScriptedSampler) -> None:
    sampler.script = lambda request: [delta(request, "Hello"), done(request)]
    result = run("eval", ALIAS, str(rows), "--json")
    assert result.exit_code == 0, result.output
    [counted] = json.loads(result.stdout)
    assert (counted["rows"], counted["exact"]) == (12, 0.5)
    beside = run("eval", ALIAS, str(rows), "--base", BASE, "--show", "1")
    assert beside.stdout.count("50.0%") == 2
    assert "right: Other" in beside.stdout


def test_who_is_not_there_is_not_found_and_perhaps_another_was_meant(run: Run) -> None:
    refused = run("chat", "acme/tiny-1c", "Hi.")
    assert refused.exit_code == Exit.NOT_FOUND
    assert f"Did you mean {BASE}?" in refused.stderr
    assert run("jobs", "show", "ftjob-none").exit_code == Exit.NOT_FOUND
    assert "tunesmith jobs list" in run("jobs", "show", "ftjob-none").stderr


def test_a_wrong_key_and_a_key_for_other_things_are_told_apart(
    server: Server, caller: Caller, run: Run
) -> None:
    wrong = run_as(server, Caller(organization=caller.organization, secret="ts_no"), "jobs", "list")
    assert wrong.exit_code == Exit.NOT_PERMITTED
    assert "TUNESMITH_API_KEY" in wrong.stderr
    reader = server.new_key(caller, frozenset({Scope.JOBS_READ}))
    assert run_as(server, reader, "jobs", "list").exit_code == 0
    refused = run_as(server, reader, "files", "list")
    assert refused.exit_code == Exit.NOT_PERMITTED
    assert "tunesmith keys create" in refused.stderr


def test_a_server_that_is_away_is_said_to_be(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tunesmith.cli.remote.time.sleep", lambda _: None)
    away = {"TUNESMITH_URL": "http://127.0.0.1:9", "TUNESMITH_API_KEY": "ts_x"}
    refused = CliRunner().invoke(app, ["jobs", "list"], env=away)
    assert refused.exit_code == Exit.UNREACHABLE
    assert "TUNESMITH_URL" in refused.stderr
    nowhere = CliRunner().invoke(app, ["jobs", "list"], env={})
    assert nowhere.exit_code == Exit.UNREACHABLE
    assert "tunesmith serve" in nowhere.stderr
    assert not (tmp_path / "data").exists()


def test_an_answer_that_fails_midway_is_no_answer(run: Run, sampler: ScriptedSampler) -> None:
    def breaks(request: SampleRequest) -> list[object]:
        return [delta(request, "Hel"), RuntimeError("gone")]

    sampler.script = breaks  # type: ignore[assignment]
    broken = run("chat", ALIAS, "Hi.")
    assert broken.exit_code != 0
    assert broken.stderr


def test_a_mistyped_command_is_guessed(run: Run) -> None:
    refused = run("job")
    assert refused.exit_code == 2
    assert "jobs" in refused.output
