import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn

from tests.factories import MODEL_CONFIG, model_folder, safetensors
from tests.unit.cli.conftest import Run
from tunesmith import app as application
from tunesmith.cli.ownership import announce, owned
from tunesmith.domain.accounts import Scope
from tunesmith.settings import Settings


@contextmanager
def serving(data_dir: Path) -> Iterator[str]:
    """A real server that owns the folder; its address."""
    with owned(data_dir), socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        built = application.build(Settings(data_dir=data_dir))
        server = uvicorn.Server(uvicorn.Config(built.asgi, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        deadline = time.monotonic() + 10
        while not server.started:
            assert time.monotonic() < deadline
            time.sleep(0.005)
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        announce(data_dir, url)
        yield url
        server.should_exit = True
        thread.join()


def models_seen_by(secret: str, url: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {secret}"}
    return httpx.get(f"{url}/v1/models", headers=headers, trust_env=False)


def test_a_key_is_printed_alone_and_works(run: Run, data_dir: Path) -> None:
    made = run("keys", "create", "--name", "ci")
    assert made.exit_code == 0, made.output
    secret = made.stdout.removesuffix("\n")
    assert secret.startswith("ts_")
    assert "\n" not in secret
    with serving(data_dir) as url:
        assert models_seen_by(secret, url).status_code == 200


def test_a_key_may_have_its_owners_email(run: Run, data_dir: Path) -> None:
    secret = run("keys", "create", "--email", "ada@example.org").stdout.strip()
    refused = run("keys", "create", "--email", "nonsense")
    assert refused.exit_code == 1
    assert "email" in refused.output
    with serving(data_dir) as url:
        headers = {"x-auth-email": "ada@example.org", "x-auth-key": secret}
        user = httpx.get(f"{url}/client/v4/user", headers=headers, trust_env=False)
    assert user.json()["result"]["email"] == "ada@example.org"


def test_while_a_server_owns_the_folder_it_is_asked(run: Run, data_dir: Path) -> None:
    with serving(data_dir) as url:
        made = run("keys", "create")
        assert made.exit_code == 0, made.output
        assert models_seen_by(made.stdout.strip(), url).status_code == 200


def test_a_server_that_is_just_starting_is_not_disturbed(run: Run, data_dir: Path) -> None:
    with owned(data_dir):
        made = run("keys", "create")
    assert made.exit_code == 1
    assert "try again" in made.stderr


def test_a_key_has_the_scopes_that_were_asked_for(run: Run) -> None:
    run("keys", "create", "--name", "box", "--scopes", "worker")
    run("keys", "create", "--name", "both", "--scopes", "inference, files:read")
    listed = run("keys", "list").stdout.splitlines()
    (box,) = [line for line in listed if " box " in line]
    (both,) = [line for line in listed if " both " in line]
    assert Scope.WORKER.value in box
    assert Scope.INFERENCE.value not in box
    assert "files:read inference" in both


def test_an_unknown_scope_is_refused(run: Run) -> None:
    made = run("keys", "create", "--scopes", "everything")
    assert made.exit_code == 1
    assert made.stdout == ""
    assert "scopes" in made.stderr


def test_a_deleted_key_is_gone(run: Run) -> None:
    run("keys", "create", "--name", "old")
    (line,) = [line for line in run("keys", "list").stdout.splitlines() if " old " in line]
    key_id = line.split()[0]
    assert run("keys", "delete", key_id).exit_code == 0
    assert " old " not in run("keys", "list").stdout
    assert run("keys", "delete", key_id).exit_code == 1


def test_a_folder_with_a_decoder_can_be_offered(run: Run, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    added = run("models", "add", "mine", "--from", str(folder), "--alias", "gpt-4o-mini")
    assert added.exit_code == 0, added.output
    assert "208 parameters" in added.stdout
    listed = run("models", "list").stdout
    assert "mine" in listed
    assert "gpt-4o-mini" in listed
    assert run("models", "rm", "mine").exit_code == 0
    assert "mine" not in run("models", "list").stdout


def spoil(folder: Path, how: str) -> str:
    """Make a folder unfit; what the refusal says."""
    match how:
        case "pickles":
            for path in folder.glob("*.safetensors"):
                path.rename(path.with_suffix(".bin"))
            return "only pickled weights"
        case "no tokenizer":
            (folder / "tokenizer.json").unlink()
            return "no tokenizer"
        case "nothing":
            for path in folder.iterdir():
                path.unlink()
            return "no config.json"
    raise AssertionError(how)


@pytest.mark.parametrize("how", ["pickles", "no tokenizer", "nothing"])
def test_a_folder_that_is_no_model_is_refused_with_a_reason(
    run: Run, tmp_path: Path, how: str
) -> None:
    folder = model_folder(tmp_path / "model")
    reason = spoil(folder, how)
    added = run("models", "add", "mine", "--from", str(folder))
    assert added.exit_code == 1
    assert reason in added.stderr


@pytest.mark.parametrize(
    ("config", "reason"),
    [
        ({**MODEL_CONFIG, "auto_map": {"AutoModel": "code.Model"}}, "auto_map"),
        ({"architectures": ["BertForMaskedLM"]}, "not a decoder"),
    ],
    ids=["code of its own", "an encoder"],
)
def test_a_model_of_the_wrong_kind_is_refused_with_a_reason(
    run: Run, tmp_path: Path, config: dict[str, object], reason: str
) -> None:
    folder = model_folder(tmp_path / "model", config)
    added = run("models", "add", "mine", "--from", str(folder))
    assert added.exit_code == 1
    assert reason in added.stderr


def test_a_name_that_is_taken_is_refused(run: Run, tmp_path: Path) -> None:
    folder = str(model_folder(tmp_path / "model"))
    run("models", "add", "mine", "--from", folder)
    added = run("models", "add", "other", "--from", folder, "--alias", "mine")
    assert added.exit_code == 1
    assert "already names" in added.stderr


def test_what_the_operator_made_of_the_shipped_model_survives_a_restart(run: Run) -> None:
    folder = str(application.TINY_FOLDER)
    run("models", "add", "tunesmith-tiny", "--from", folder, "--alias", "gpt-4o-mini")
    assert "gpt-4o-mini" in run("models", "list").stdout


def test_a_folder_may_be_of_a_known_model_and_brings_its_names_along(
    run: Run, tmp_path: Path
) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "model-1.safetensors").write_bytes(safetensors({"a": [8, 10**9]}))
    added = run("models", "add", "llama-3.1-8b", "--from", str(folder), "--alias", "my-own")
    assert added.exit_code == 0, added.output
    listed = run("models", "list").stdout
    assert "@cf/meta/" in listed
    assert "my-own" in listed
    assert "llama3.1" in listed
    (line,) = [line for line in run("models", "known").stdout.splitlines() if "3.1-8B" in line]
    assert line.split()[-1] == "llama-3.1-8b"
    assert run("estimate", "meta-llama/Llama-3.1-8B-Instruct", "--examples", "9").exit_code == 0


def test_a_known_model_may_have_another_name(run: Run, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    (folder / "model-1.safetensors").write_bytes(safetensors({"a": [8, 10**9]}))
    added = run("models", "add", "mine", "--as", "llama-3.1-8b", "--from", str(folder))
    assert added.exit_code == 0, added.output
    assert run("estimate", "llama-3.1-8b", "--examples", "9").exit_code == 0
    (line,) = [line for line in run("models", "known").stdout.splitlines() if "3.1-8B" in line]
    assert line.split()[-1] == "mine"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("mine",), "is no known model"),
        (("mine", "--as", "nothing"), "is no known model"),
        (("llama-3.1-8b", "--from", "{folder}"), "another model"),
        (("mine", "--as", "llama-3.1-8b", "--from", "{folder}"), "another model"),
    ],
)
def test_what_is_not_the_known_model_is_refused(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], reason: str
) -> None:
    folder = str(model_folder(tmp_path / "model"))
    added = run("models", "add", *(word.format(folder=folder) for word in arguments))
    assert added.exit_code == 1
    assert reason in added.stderr


def test_a_model_whose_files_were_changed_is_listed_as_changed(run: Run, tmp_path: Path) -> None:
    folder = model_folder(tmp_path / "model")
    run("models", "add", "mine", "--from", str(folder))
    (folder / "tokenizer.json").write_text("[]")
    (line,) = [line for line in run("models", "list").stdout.splitlines() if "mine" in line]
    assert "changed" in line


def test_an_estimate_says_what_it_rests_on(run: Run) -> None:
    made = run("estimate", "tunesmith-tiny", "--examples", "100", "--tokens", "50")
    assert made.exit_code == 0, made.output
    assert "1 min, 0.00 dollars" in made.stdout
    assert "by calculation, 50 tokens per example" in made.stdout


def test_hardware_is_empty_until_a_worker_has_come(run: Run) -> None:
    shown = run("hardware")
    assert shown.exit_code == 0
    assert "cpu" not in shown.stdout
