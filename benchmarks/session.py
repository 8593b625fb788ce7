"""One measuring session: its settings, its folder, and the records that it has written so far."""

import json
import os
import platform
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

Record = dict[str, Any]


class OutOfTime(Exception):
    """The minutes of this call are over; the next one goes on from here."""


@dataclass(kw_only=True, eq=False)
class Session:
    """`clock` says which seconds count: "wall" on a quiet machine, "cpu" on a busy one.

    Nothing is begun after `minutes`. A session that goes on does not measure again what `out`
    holds already.
    """

    data: Path
    folder: Path  # environments, models and scratch
    out: Path
    clock: str
    threads: int
    device: str
    is_quick: bool
    is_full: bool
    is_preliminary: bool
    goes_on: bool
    minutes: float
    records: list[Record] = field(default_factory=list)
    began_at: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._about = {
            **about(),
            "is_preliminary": self.is_preliminary,
            "clock": self.clock,
            "threads": self.threads,
            "device": self.device,
        }
        if self.goes_on and self.out.exists():
            self.records = json.loads(self.out.read_text(encoding="utf-8"))["records"]

    def known(self, part: str, **fields: Any) -> list[Record]:
        """The records of a part with these fields. Raises OutOfTime where none may follow."""
        found = [
            record
            for record in self.records
            if record["part"] == part and all(record[key] == fields[key] for key in fields)
        ]
        if not found and time.monotonic() - self.began_at > 60 * self.minutes:
            raise OutOfTime
        return found

    def forget(self, parts: Sequence[str], **among: Sequence[str] | None) -> None:
        """Drop the records of these parts with one of these values in each of the fields named."""
        self.records = [
            record
            for record in self.records
            if record["part"] not in parts
            or not all(
                values is None or record.get(key, values[0]) in values
                for key, values in among.items()
            )
        ]

    def add(self, part: str, text: str, **fields: Any) -> Record:
        """Keep a record, on disk at once, and say so."""
        commit, made_at = self._about["commit"], self._about["made_at"]
        record = {"part": part, "commit": commit, "made_at": made_at, **fields}
        self.records.append(record)
        self._write()
        minutes, seconds = divmod(int(time.monotonic() - self.began_at), 60)
        print(f"[{minutes:3}:{seconds:02}] {part}: {text}", flush=True)
        return record

    def seconds(self, result: dict[str, Any]) -> float:
        return float(result[f"{self.clock}_seconds"])

    def rate(self, result: dict[str, Any]) -> float:
        """Original tokens a second."""
        return float(result["num_tokens"]) / self.seconds(result)

    def _write(self) -> None:
        aside = self.out.with_suffix(".part")
        content = {**self._about, "load_at_end": os.getloadavg()[0], "records": self.records}
        aside.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        aside.replace(self.out)


def about() -> dict[str, Any]:
    """When, of which commit and on what a measurement is made."""
    return {
        "made_at": datetime.now(UTC).isoformat(timespec="minutes"),
        "commit": _git("rev-parse", "--short", "HEAD"),
        "machine": _machine(),
    }


def _machine() -> dict[str, Any]:
    flags = _cpu("flags").split()
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cpu": _cpu("model name"),
        "cores": os.cpu_count(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "matrix_flags": [f for f in flags if f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16")],
        "system": platform.platform(),
        "gpu": device,
        "load_at_start": os.getloadavg()[0],
    }


def _cpu(key: str) -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(key):
            return line.partition(":")[2].strip()
    return ""


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip()
