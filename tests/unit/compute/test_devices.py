import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunesmith.compute import devices
from tunesmith.compute.devices import find_devices
from tunesmith.compute.local import LocalLauncher
from tunesmith.domain.devices import DeviceKind

H200 = {"kind": "cuda", "name": "NVIDIA H200", "memory_bytes": 2**37, "count": 2}


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the machine has that runs the tests."""
    monkeypatch.setattr(devices, "_SIGNS_OF_A_GPU", ())
    monkeypatch.setattr(sys, "platform", "linux")


@pytest.fixture
def torch_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """In a machine that looks as if it had a GPU."""

    def torch_says(*words: str) -> None:
        monkeypatch.setattr(devices, "_SIGNS_OF_A_GPU", (tmp_path,))
        program = f"import sys; print({words!r}[0]) if {words!r} else sys.exit(3)"
        asked = subprocess.run

        def run(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
            assert command[1:] == ["-m", "tunesmith.compute.torch_devices"]
            return asked([sys.executable, "-c", program], **options)

        monkeypatch.setattr(subprocess, "run", run)

    return torch_says


def test_a_machine_without_a_gpu_is_its_cpu_and_torch_is_not_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(devices, "_ask_torch", lambda: pytest.fail("asked"))
    (cpu,) = LocalLauncher(device="auto", threads=None).devices()
    assert cpu.kind is DeviceKind.CPU
    assert cpu.name
    assert cpu.count >= 1
    assert cpu.memory_bytes > 2**28


def test_where_there_may_be_a_gpu_torch_says_which(torch_says: Any) -> None:
    torch_says(json.dumps([H200]))
    (found,) = find_devices("auto")
    assert (found.kind, found.name, found.count) == (DeviceKind.CUDA, "NVIDIA H200", 2)
    assert find_devices("cuda") == (found,)


def test_hosts_that_are_told_to_use_the_cpu_use_the_cpu(torch_says: Any) -> None:
    torch_says(json.dumps([H200]))
    assert [found.kind for found in find_devices("cpu")] == [DeviceKind.CPU]


@pytest.mark.parametrize("words", [("[]",), ("gibberish",), ()], ids=["none", "gibberish", "fails"])
def test_a_gpu_that_torch_cannot_use_is_none(torch_says: Any, words: tuple[str, ...]) -> None:
    torch_says(*words)
    assert [found.kind for found in find_devices("auto")] == [DeviceKind.CPU]
    assert find_devices("cuda") == ()


def test_torch_is_not_waited_for_for_ever(torch_says: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    torch_says("[]")
    monkeypatch.setattr(devices, "_LOOK_SECONDS", 0.0)
    assert find_devices("cuda") == ()


def test_an_apple_computes_with_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_is_apple", lambda: True)
    assert [found.kind for found in find_devices("auto")] == [DeviceKind.MPS]
