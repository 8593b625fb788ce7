"""What requests that write could gain from sharing commits: `python -m benchmarks.commits`.

A server on SQLite as it is, and one whose commits do not wait for the disk at all, which is more
than any grouping of commits could save.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx

from benchmarks import server
from tunesmith.store import database

CLIENTS = (1, 8, 32)
MODES = ("FULL", "OFF")
_SERVE = "from benchmarks.commits import serve_without_waiting; serve_without_waiting()"


def serve_without_waiting() -> None:
    """In the place of `python -m tunesmith`."""
    from tunesmith.cli.main import app  # noqa: PLC0415  (this process alone needs it)

    prepare = database._prepare_sqlite

    def careless(connection: Any, record: Any) -> None:
        prepare(connection, record)
        connection.execute("PRAGMA synchronous=OFF")

    with patch.object(database, "_prepare_sqlite", careless):
        app(sys.argv[1:])


@contextmanager
def serving(mode: str, folder: Path) -> Iterator[server.Server]:
    program = ("-m", "tunesmith") if mode == "FULL" else ("-c", _SERVE)
    with server.serving(folder, program=program) as started:
        yield started


def jobs_per_second(url: str, num_clients: int, seconds: float) -> tuple[float, float]:
    """And the median milliseconds that a request takes."""
    headers = {"Authorization": f"Bearer {server.KEY}"}
    row = b'{"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}'
    with httpx.Client(base_url=url, headers=headers, timeout=60) as http:
        upload = {"file": ("t.jsonl", b"\n".join([row] * 12))}
        file = http.post("/v1/files", files=upload, data={"purpose": "fine-tune"}).json()["id"]

        def ask(number: int) -> list[float]:
            taken: list[float] = []
            while time.perf_counter() < until:
                began = time.perf_counter()
                _create(http, file, f"{num_clients}-{number}-{len(taken)}")
                taken.append(time.perf_counter() - began)
            return taken

        until = time.perf_counter() + seconds
        with ThreadPoolExecutor(num_clients) as pool:
            taken = [one for ones in pool.map(ask, range(num_clients)) for one in ones]
    return len(taken) / seconds, 1000 * statistics.median(taken)


def _create(http: httpx.Client, file: str, name: str) -> None:
    """Under a name of its own, so that it is no repetition."""
    body = {"model": "tunesmith-tiny", "training_file": file, "metadata": {"name": name}}
    http.post("/v1/fine_tuning/jobs", json=body).raise_for_status()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=8.0, help="for each figure")
    parser.add_argument("--repeats", type=int, default=2, help="by turns")
    arguments = parser.parse_args()
    print("| Clients | Waits for the disk | Jobs created in a second | Median, ms |")
    print("|---|---|---|---|", flush=True)
    for number in range(arguments.repeats * len(MODES)):
        mode = MODES[number % len(MODES)]
        with tempfile.TemporaryDirectory() as name, serving(mode, Path(name)) as started:
            for clients in CLIENTS:
                rate, median = jobs_per_second(started.url, clients, arguments.seconds)
                waits = "yes" if mode == "FULL" else "never"
                print(f"| {clients} | {waits} | {rate:.0f} | {median:.1f} |", flush=True)


if __name__ == "__main__":
    main()
