"""What hosts on this machine compute with: torch is asked where there may be a GPU."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import structlog
from pydantic import TypeAdapter, ValidationError

from tunesmith.domain.devices import Device, DeviceKind

log = structlog.get_logger()

_DEVICES = TypeAdapter(tuple[Device, ...])
_LOOK_SECONDS = 60.0  # importing torch can take long on a cold disk
_SIGNS_OF_A_GPU = (Path("/dev/nvidiactl"), Path("/dev/dxg"), Path("/dev/kfd"))


def find_devices(device: str) -> tuple[Device, ...]:
    """For hosts that are told to compute on `device`: "auto", "cpu", "cuda" or "mps".

    Empty where it cannot be found out.
    """
    if device == "cpu":
        return (_cpu(),)
    if device == "mps" or (device == "auto" and _is_apple()):
        return (_mps(),)
    if device == "auto" and not any(sign.exists() for sign in _SIGNS_OF_A_GPU):
        return (_cpu(),)
    return _ask_torch() or ((_cpu(),) if device == "auto" else ())


def _ask_torch() -> tuple[Device, ...]:
    """In a process of its own: a worker stays small, and holds no device."""
    command = [sys.executable, "-m", "tunesmith.compute.torch_devices"]
    try:
        told = subprocess.run(
            command, capture_output=True, timeout=_LOOK_SECONDS, check=True, text=True
        )
        return _DEVICES.validate_json(told.stdout)
    except (OSError, subprocess.SubprocessError, ValidationError) as error:
        log.warning("devices not found out", reason=str(error))
        return ()


def _cpu() -> Device:
    return Device(
        kind=DeviceKind.CPU,
        name=_cpu_name(),
        memory_bytes=_memory_bytes(),
        count=_num_cores(),
    )


def _mps() -> Device:
    """Its memory is the machine's."""
    return Device(kind=DeviceKind.MPS, name=_cpu_name(), memory_bytes=_memory_bytes(), count=1)


def _is_apple() -> bool:
    return sys.platform == "darwin" and platform.machine() == "arm64"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, "") or platform.processor() or platform.machine() or "CPU"


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, AttributeError):
        return 0


def _num_cores() -> int:
    """Those that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
