import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tunesmith.compute import local
from tunesmith.compute.local import LocalHost, LocalLauncher
from tunesmith.engine.messages import HoldModel, decode

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


class Processes:
    """In the place of hosts: what was begun, and what each was told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.environments: list[dict[str, str]] = []
        self.told: list[list[str]] = []
        self.dead: set[int] = set()
        self.killed: list[int] = []
        monkeypatch.setattr(local, "LocalHost", self._begin)

    def _begin(self, command: list[str], environment: dict[str, str]) -> Any:
        number = len(self.told)
        self.environments.append(environment)
        self.told.append([])
        return SimpleNamespace(
            send=self.told[number].append,
            is_alive=number not in self.dead,
            kill=lambda: self.killed.append(number),
        )


@pytest.fixture
def processes(monkeypatch: pytest.MonkeyPatch) -> Processes:
    return Processes(monkeypatch)


def launcher(*, keeps_spare: bool = False) -> LocalLauncher:
    return LocalLauncher(device="cpu", precision="bf16", threads=2, keeps_spare=keeps_spare)


def test_a_host_learns_no_keys_and_no_addresses(
    processes: Processes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TUNESMITH_API_KEY", "ts_secret")
    monkeypatch.setenv("HOME", "/home/somebody")
    launcher().launch("base", Path("/model"))
    (environment,) = processes.environments
    assert not any(name.startswith("TUNESMITH_") for name in environment)
    assert environment["HOME"] == "/home/somebody"
    assert environment["OMP_NUM_THREADS"] == "2"
    assert environment["HF_HUB_OFFLINE"] == "1"


def test_a_host_is_told_what_to_hold_and_how(processes: Processes) -> None:
    launcher().launch("base", Path("/model"), "nf4")
    ((line,),) = processes.told
    assert decode(line) == HoldModel(
        name="base",
        folder=Path("/model"),
        device="cpu",
        precision="bf16",
        quantization="nf4",
        threads=2,
        answering_share=0.5,
        max_pass_tokens=2048,
    )


def test_the_next_host_starts_in_the_process_that_is_kept_ready(processes: Processes) -> None:
    box = launcher(keeps_spare=True)
    box.prepare()
    box.prepare()
    assert processes.told == [[]]
    box.launch("base", Path("/model"))
    box.launch("other", Path("/model"))
    assert [decode(line).name for (line,) in processes.told] == ["base", "other"]


def test_a_process_that_was_kept_ready_and_died_is_replaced(processes: Processes) -> None:
    processes.dead = {0}
    box = launcher(keeps_spare=True)
    box.prepare()
    box.launch("base", Path("/model"))
    assert [len(told) for told in processes.told] == [0, 1]


def test_a_process_that_was_kept_ready_ends_with_the_launcher(processes: Processes) -> None:
    box = launcher(keeps_spare=True)
    box.prepare()
    box.close()
    assert processes.killed == [0]


def test_where_none_is_wanted_no_process_is_kept_ready(processes: Processes) -> None:
    box = launcher()
    box.prepare()
    box.close()
    assert processes.told == []


def test_a_process_that_was_kept_ready_goes_when_nobody_holds_it_any_more() -> None:
    command = [sys.executable, "-m", "tunesmith.compute.host"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=True)
    assert ended.stdout == b""
