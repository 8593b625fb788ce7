"""`python -m benchmarks.polling`: 200 clients ask after a job while it trains.

Stretches with and without them take turns within one job's training, so that what else the machine
does hits both. Each client asks for the job and its events, a second apart.
"""

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.e2e.service import ADMIN_KEY, Service

PAIRS = 4
BASE = "tunesmith-tiny"
Window = tuple[float, float]


def rows(count: int) -> bytes:
    words = "The ticket says that the card has not come yet, and asks what to do about it."
    messages = [
        {"role": "user", "content": words},
        {"role": "assistant", "content": "card_arrival"},
    ]
    return b"\n".join([json.dumps({"messages": messages}).encode()] * count)


async def poll(port: int, job_id: str, clients: int, seconds: float) -> tuple[Counter[int], int]:
    """The statuses of all answers, and how many connections broke."""
    paths = (f"/v1/fine_tuning/jobs/{job_id}", f"/v1/fine_tuning/jobs/{job_id}/events")
    until = time.monotonic() + seconds
    statuses: Counter[int] = Counter()
    broken = 0

    async def client(number: int) -> None:
        nonlocal broken
        await asyncio.sleep(number / clients)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        turn = 0
        while time.monotonic() < until:
            request = f"GET {paths[turn % 2]} HTTP/1.1\r\nHost: here\r\n"
            writer.write(f"{request}Authorization: Bearer {ADMIN_KEY}\r\n\r\n".encode())
            try:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            except (asyncio.IncompleteReadError, ConnectionError):
                broken += 1
                return
            statuses[int(head.split(b" ")[1])] += 1
            turn += 1
            await asyncio.sleep(1.0)
        writer.close()

    await asyncio.gather(*(client(number) for number in range(clients)))
    return statuses, broken


def steps_by_time(data_dir: Path) -> list[tuple[float, float]]:
    """When each step was told, and how long the host took for it; both in seconds."""
    connection = sqlite3.connect(f"file:{data_dir / 'tunesmith.db'}?mode=ro", uri=True)
    query = "SELECT created_at, data FROM events WHERE kind = 'step' ORDER BY seq"
    found = [(at / 1e6, json.loads(data)["seconds"]) for at, data in connection.execute(query)]
    connection.close()
    return found


def rate(steps: list[tuple[float, float]], windows: list[Window]) -> float:
    """Steps a second, over all of the windows."""
    count = sum(1 for at, _ in steps for begin, end in windows if begin <= at < end)
    return count / sum(end - begin for begin, end in windows)


def measure(service: Service, clients: int, stretch_seconds: float) -> None:
    files, jobs = service.client.files, service.client.fine_tuning.jobs
    data = files.create(file=("train.jsonl", rows(40_000)), purpose="fine-tune")
    asked = {"n_epochs": 50, "batch_size": 8}
    job_id = jobs.create(model=BASE, training_file=data.id, hyperparameters=asked).id
    while len(steps_by_time(service.data_dir)) < 50:
        time.sleep(0.5)
    port = int(service.url.rsplit(":", 1)[1])
    alone: list[Window] = []
    polled: list[Window] = []
    statuses: Counter[int] = Counter()
    broken = 0
    for _ in range(PAIRS):
        begin = time.time()
        time.sleep(stretch_seconds)
        alone.append((begin, time.time()))
        begin = time.time()
        more, lost = asyncio.run(poll(port, job_id, clients, stretch_seconds))
        polled.append((begin, time.time()))
        statuses += more
        broken += lost
    steps = steps_by_time(service.data_dir)
    jobs.cancel(job_id)
    quiet, busy = rate(steps, alone), rate(steps, polled)
    seconds = sum(end - begin for begin, end in polled)
    print(
        f"{statuses.total()} answers, {statuses.total() / seconds:.0f} a second: {dict(statuses)}"
    )
    print(f"{broken} connections broke")
    print(f"steps a second: {quiet:.2f} alone, {busy:.2f} beside {clients} clients")
    print(f"training slowed by {100 * (1 - busy / quiet):.1f} %")


def main() -> None:
    parser = argparse.ArgumentParser(prog="benchmarks.polling")
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=20, help="of each stretch")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        service = Service(Path(folder) / "data")
        service.start()
        try:
            measure(service, asked.clients, asked.seconds)
        finally:
            service.stop()


if __name__ == "__main__":
    main()
