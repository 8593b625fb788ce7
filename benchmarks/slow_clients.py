"""`python -m benchmarks.slow_clients`: clients of a byte a second beside others that mean it.

The slow ones are a process of their own, so that the others do not wait for them here, and send
their bytes spread over the second.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import httpx

from benchmarks.server import KEY, Server, serving

HEADERS = {"Authorization": f"Bearer {KEY}"}
BODY = b"POST /v1/files HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\nauthorization: Bearer "


def all_slow(port: int, num_clients: int) -> list[float]:
    """The seconds until each was cut."""

    async def at_once() -> list[float]:
        each = (slow(port, n, 1.0 * n / num_clients) for n in range(num_clients))
        return await asyncio.gather(*each)

    return asyncio.run(at_once())


async def slow(port: int, number: int, wait_seconds: float) -> float:
    """Half of them dawdle over their headers, half over a body."""
    await asyncio.sleep(wait_seconds)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    started = time.monotonic()
    if number % 2:
        kind = b"\r\ncontent-type: multipart/form-data; boundary=edge\r\n\r\n"
        writer.write(BODY + KEY.encode() + kind)
    try:
        while time.monotonic() < started + 60:
            writer.write(b"-" if number % 2 else b"G")
            await writer.drain()
            try:
                if await asyncio.wait_for(reader.read(100), 1) == b"":
                    break
            except TimeoutError:
                continue
    except ConnectionError:
        pass
    finally:
        writer.close()
    return time.monotonic() - started


async def normal(server: Server, seconds: float) -> list[float]:
    """How long each request of a few good clients took."""
    times: list[float] = []
    deadline = time.monotonic() + seconds

    async def ask() -> None:
        async with httpx.AsyncClient(base_url=server.url, headers=HEADERS, timeout=60) as http:
            while time.monotonic() < deadline:
                started = time.monotonic()
                (await http.get("/v1/fine_tuning/jobs")).raise_for_status()
                times.append(time.monotonic() - started)
                await asyncio.sleep(0.02)

    await asyncio.gather(*(ask() for _ in range(4)))
    return times


def _told(name: str, times: list[float]) -> None:
    cuts = statistics.quantiles(times, n=100)
    middle, far = cuts[49] * 1000, cuts[98] * 1000
    print(f"{name}: {len(times)} requests, p50 {middle:.1f} ms, p99 {far:.1f} ms")


def measure(server: Server, num_clients: int, pool: ProcessPoolExecutor) -> None:
    pool.submit(int).result()  # so that it has started
    _told("alone", asyncio.run(normal(server, 15)))
    dawdling = pool.submit(all_slow, server.port, num_clients)
    time.sleep(2)
    _told(f"beside {num_clients} slow ones", asyncio.run(normal(server, 12)))
    cut = dawdling.result()
    print(f"slow ones cut after {min(cut):.0f} to {max(cut):.0f} seconds")
    print(f"memory: {server.resident_bytes('VmHWM') / 1024**2:.0f} MiB at most")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.slow_clients")
    parser.add_argument("--clients", type=int, default=1000)
    asked = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(Path(folder)) as server,
        ProcessPoolExecutor(1, get_context("spawn")) as pool,
    ):
        measure(server, asked.clients, pool)


if __name__ == "__main__":
    main()
