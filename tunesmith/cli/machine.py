"""`doctor`: what is wrong with this machine, and what to do about it."""

import json
import os
import platform
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import typer
from rich.text import Text

from tunesmith.cli.options import AsJson, DataDir, Exit, load_settings, print_json
from tunesmith.cli.output import Console, Table
from tunesmith.cli.ownership import find_server
from tunesmith.settings import Settings

_PROBE = """
import json, os, torch
has_gpu = torch.cuda.is_available()
print(json.dumps({
    "bf16": torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    "threads": torch.get_num_threads(),
    "gpus": [
        [torch.cuda.get_device_name(i), torch.cuda.get_device_properties(i).total_memory]
        for i in range(torch.cuda.device_count() if has_gpu else 0)
    ],
    "cuda_build": torch.version.cuda,
}))
"""
_PROBE_SECONDS = 120
_LIBRARIES = ("torch", "transformers", "tokenizers", "safetensors", "fastapi", "sqlalchemy")
_LITTLE_MEMORY = 4 * 2**30
_FEW_FILES = 1024
_SOUND_SQLITE = (3, 51, 3)  # before it two writers and a checkpoint could damage a file
_GIGABYTE = 2**30


@dataclass(frozen=True, slots=True)
class Finding:
    what: str
    verdict: Literal["ok", "note", "problem"]
    found: str
    advice: str = ""


def doctor(as_json: AsJson = False, data_dir: DataDir = None) -> None:
    """Say what is wrong with this machine, and what to do. Ends with 1 where there is a problem."""
    settings = load_settings(data_dir=data_dir)
    findings = list(_examined(settings))
    if as_json:
        print_json([asdict(finding) for finding in findings])
    else:
        _tell(findings)
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(Exit.FAILED)


def _tell(findings: list[Finding]) -> None:
    styles = {"ok": "green", "note": "yellow", "problem": "red"}
    table = Table("", "", "found", "what to do")
    for finding in findings:
        verdict = Text(finding.verdict, styles[finding.verdict])
        table.add_row(verdict, finding.what, finding.found, finding.advice)
    Console().print(table)


def _examined(settings: Settings) -> Iterator[Finding]:
    yield _python()
    yield from _libraries()
    yield from _compute()
    yield _memory()
    yield _disk(settings)
    yield _data_folder(settings)
    yield _port(settings)
    yield _open_files()
    yield _sqlite()


def _python() -> Finding:
    found = f"{platform.python_version()} on {platform.system()} {platform.machine()}"
    return Finding("Python", "ok", found)


def _libraries() -> Iterator[Finding]:
    for name in _LIBRARIES:
        try:
            yield Finding(name, "ok", version(name))
        except PackageNotFoundError:
            yield Finding(name, "problem", "missing", "Install Tunesmith anew: make setup.")


def _compute() -> Iterator[Finding]:
    probed = _probed()
    if isinstance(probed, str):
        yield Finding("torch", "problem", probed, "Nothing can be trained: install torch anew.")
        return
    cores = os.cpu_count() or 1
    yield Finding("CPU", "ok", f"{cores} cores; hosts use all but one (TUNESMITH_THREADS)")
    if probed["bf16"]:
        yield Finding("bf16", "ok", "the CPU has it")
    else:
        advice = "Training is two to three times slower than on a CPU that has it."
        yield Finding("bf16", "note", "the CPU lacks it; fp32 is used", advice)
    for name, memory in probed["gpus"]:
        yield Finding("GPU", "ok", f"{name}, {memory / _GIGABYTE:.0f} GB")
    if not probed["gpus"] and shutil.which("nvidia-smi"):
        build = probed["cuda_build"] or "none, it is a build for CPUs"
        advice = "Install a torch with CUDA that fits the driver."
        yield Finding("GPU", "problem", f"not seen by torch (its CUDA: {build})", advice)
    elif not probed["gpus"]:
        yield Finding("GPU", "note", "none", "Small models train on the CPU.")


def _probed() -> dict[str, Any] | str:
    """Of a process of its own: torch takes seconds and memory, and may crash."""
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_SECONDS
        )
        probed: dict[str, Any] = json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        return f"did not load within {_PROBE_SECONDS} s"
    except ValueError:
        return (done.stderr.strip().splitlines() or ["ended without a word"])[-1]
    return probed


def _memory() -> Finding:
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    found = f"{total / _GIGABYTE:.1f} GB"
    if total >= _LITTLE_MEMORY:
        return Finding("memory", "ok", found)
    return Finding("memory", "note", found, "Models over some 100 million parameters will not fit.")


def _disk(settings: Settings) -> Finding:
    folder = _existing(settings.data_dir.resolve())
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIGABYTE:.1f} GB free for {settings.data_dir}"
    if free >= settings.min_free_bytes:
        return Finding("disk", "ok", found)
    advice = "Make room, or lower TUNESMITH_MIN_FREE_BYTES: no uploads are taken below it."
    return Finding("disk", "problem", found, advice)


def _data_folder(settings: Settings) -> Finding:
    folder = settings.data_dir.resolve()
    if not os.access(_existing(folder), os.W_OK):
        advice = "Choose another with --data-dir, or give yourself the right to write there."
        return Finding("data folder", "problem", f"{folder} cannot be written", advice)
    server = find_server(folder)
    if server is not None:
        return Finding("data folder", "ok", f"{folder}, served at {server[0]}")
    state = "no server runs on it" if folder.exists() else "not made yet"
    return Finding("data folder", "ok", f"{folder}, {state}")


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())


def _port(settings: Settings) -> Finding:
    place = f"{settings.host}:{settings.port}"
    if find_server(settings.data_dir) is not None:
        return Finding("port", "ok", f"{place} is for the server that runs")
    with socket.socket(socket.AF_INET6 if ":" in settings.host else socket.AF_INET) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            advice = "Choose another with --port, or stop what listens there."
            return Finding("port", "problem", f"{place}: {error.strerror}", advice)
    return Finding("port", "ok", f"{place} is free")


def _open_files() -> Finding:
    most = os.sysconf("SC_OPEN_MAX")
    if most >= _FEW_FILES:
        return Finding("open files", "ok", f"{most} at once")
    return Finding(
        "open files", "note", f"{most} at once", f"For many clients: ulimit -n {1 << 16}"
    )


def _sqlite() -> Finding:
    if sqlite3.sqlite_version_info >= _SOUND_SQLITE:
        return Finding("SQLite", "ok", sqlite3.sqlite_version)
    advice = "Fine as long as the server alone opens the database; 3.51.3 mends a rare fault."
    return Finding("SQLite", "note", sqlite3.sqlite_version, advice)
