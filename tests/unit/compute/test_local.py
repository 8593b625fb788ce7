import sys
from pathlib import Path

import pytest

from tunesmith.compute import local
from tunesmith.compute.local import LocalHost, LocalLauncher

ECHO = "import sys\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"


def host(program: str) -> LocalHost:
    return LocalHost([sys.executable, "-c", program], {})


def test_lines_go_in_and_come_out() -> None:
    echo = host(ECHO)
    lines = iter(echo.read())
    echo.send("hello")
    assert next(lines) == "HELLO\n"
    echo.kill()
    assert list(lines) == []
    assert echo.wait() == "signal SIGKILL"


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("import sys; sys.exit(3)", "exit code 3"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "signal SIGKILL"),
    ],
)
def test_how_a_host_ended_is_said_in_words(program: str, words: str) -> None:
    assert host(program).wait() == words


def test_a_host_that_is_gone_takes_no_command() -> None:
    gone = host("pass")
    gone.wait()
    with pytest.raises(BrokenPipeError):
        gone.send("hello")


def test_a_host_learns_no_keys_and_no_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "ts_secret")
    monkeypatch.setenv("HOME", "/home/somebody")
    made = []
    monkeypatch.setattr(local, "LocalHost", lambda command, environment: made.append(environment))
    LocalLauncher(device="cpu", threads=2).launch("base", Path("/model"))
    (environment,) = made
    assert not any(name.startswith("TUNESMITH_") for name in environment)
    assert environment["HOME"] == "/home/somebody"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_a_host_is_told_how_to_hold_the_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[list[str]] = []
    monkeypatch.setattr(local, "LocalHost", lambda command, environment: made.append(command))
    launcher = LocalLauncher(device="cpu", precision="bf16", threads=2)
    launcher.launch("base", Path("/model"), "nf4")
    (command,) = made
    assert command[command.index("--precision") + 1] == "bf16"
    assert command[command.index("--quantize") + 1] == "nf4"
