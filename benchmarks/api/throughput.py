"""GET of one job, with keys, metrics and log, beside a bare FastAPI endpoint that reads its row.

    python -m benchmarks.api.throughput [--seconds 0.5] [--clients 32]

Both servers are processes of their own with one worker. They take turns, so that what else the
machine does hits both; the best of ten rounds counts.
"""

import argparse
import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.request import Request, urlopen

import sqlalchemy as sa

from benchmarks.api.filling import Filling
from tunesmith.dialects import openai

KEY = "a-key-for-benchmarks-0123456789"
ROUNDS = 10


class Served:
    """A server that has been started, and one request to it."""

    def __init__(self, command: list[str], environment: dict[str, str], port: int) -> None:
        self.port = port
        self._process = subprocess.Popen(
            command,
            env={**os.environ, **environment},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def wait_for(self, path: str) -> bytes:
        for _ in range(300):
            try:
                headers = {"Authorization": f"Bearer {KEY}"}
                request = Request(f"http://127.0.0.1:{self.port}{path}", headers=headers)
                with urlopen(request, timeout=5) as answer:
                    return bytes(answer.read())
            except OSError:
                time.sleep(0.1)
        raise TimeoutError(path)

    def cpu_seconds(self) -> float:
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rsplit(") ", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(30)


async def asked(port: int, path: str, clients: int, seconds: float) -> list[float]:
    """Seconds that each request took, of clients that ask again as soon as they are answered."""
    request = f"GET {path} HTTP/1.1\r\nHost: here\r\nAuthorization: Bearer {KEY}\r\n\r\n".encode()
    until = time.perf_counter() + seconds
    taken: list[float] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while time.perf_counter() < until:
            started = time.perf_counter()
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
            await reader.readexactly(length)
            taken.append(time.perf_counter() - started)
        writer.close()

    await asyncio.gather(*(client() for _ in range(clients)))
    return taken


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--clients", type=int, default=32)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        compare(Path(name), given.clients, given.seconds)


def compare(folder: Path, clients: int, seconds: float) -> None:
    environment = {"TUNESMITH_ADMIN_KEY": KEY, "TUNESMITH_LOG_LEVEL": "info"}
    port, metrics_port, bare_port = free_port(), free_port(), free_port()
    environment["TUNESMITH_METRICS_PORT"] = str(metrics_port)
    command = [sys.executable, "-m", "tunesmith", "server", "--data-dir", str(folder)]
    ours = Served([*command, "--port", str(port)], environment, port)
    ours.wait_for("/readyz")
    url = f"sqlite:///{folder / 'tunesmith.db'}"
    job = Filling(sa.create_engine(url)).fill(1000, 100)
    command = [sys.executable, "-m", "uvicorn", "benchmarks.api.bare:app", "--port", str(bare_port)]
    bare = Served([*command, "--no-access-log"], {"BARE_DATABASE": url}, bare_port)
    paths = {
        "Tunesmith, /v1": (
            ours,
            f"/v1/fine_tuning/jobs/{openai.translate.outer_id('ftjob-', job)}",
        ),
        "bare, async": (bare, f"/async/{job.hex}"),
        "bare, def": (bare, f"/def/{job.hex}"),
    }
    best = dict.fromkeys(paths, 0.0)
    try:
        for served, path in paths.values():
            served.wait_for(path)
            asyncio.run(asked(served.port, path, clients, 1.0))  # FastAPI builds routes when asked
        for _ in range(ROUNDS):
            for what, (served, path) in paths.items():
                before = served.cpu_seconds()
                taken = sorted(asyncio.run(asked(served.port, path, clients, seconds)))
                cpu = served.cpu_seconds() - before
                p50, p99 = (taken[int(len(taken) * share)] * 1000 for share in (0.5, 0.99))
                print(
                    f"{what:16}{len(taken) / seconds:8.0f}/s   p50 {p50:6.2f} ms   "
                    f"p99 {p99:6.2f} ms   {1e6 * cpu / len(taken):6.0f} CPU µs a request",
                    flush=True,
                )
                best[what] = max(best[what], len(taken) / cpu)
    finally:
        ours.stop()
        bare.stop()
    mine = best.pop("Tunesmith, /v1")
    for what, rate in best.items():
        print(f"requests a CPU second, Tunesmith to {what}: {mine / rate:.2f}")


if __name__ == "__main__":
    main()
