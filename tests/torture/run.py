"""One run: load, kills, the end of all that was begun, unbroken runs of the same, the verdict."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from uuid import UUID

from tests.e2e.conftest import BASE
from tests.e2e.service import Service, wait_until
from tests.tiny_models import make_tiny_llama
from tests.torture import checker
from tests.torture.checker import STUCK_SECONDS, Facts, Told
from tests.torture.clients import Client, Cloudflare, OpenAi, Operator, Owner, Platform
from tests.torture.injector import Fleet, Injector

OWNERS: tuple[type[Owner], ...] = (OpenAi, OpenAi, Platform, Cloudflare)
SETTLE_SECONDS = 900.0


@dataclass(slots=True, kw_only=True)
class Result:
    kills: Counter[str]
    told: Told
    facts: Facts
    violations: list[str]
    num_resumed: int
    num_read: int
    seconds: float

    def figures(self) -> dict[str, str]:
        """What a table of the run shows."""
        jobs = self.facts.jobs
        idle = max(self.told.idle_seconds.values(), default=0.0)
        by_dialect = Counter(job.name.partition("-")[0] for job in jobs)
        return {
            "kills (-9)": str(self.kills.total()),
            **{f"of the {name}": str(count) for name, count in sorted(self.kills.items())},
            "jobs acknowledged, and succeeded": ", ".join(
                f"{count} {dialect}" for dialect, count in sorted(by_dialect.items())
            ),
            "attempts at them": str(sum(job.attempts for job in jobs)),
            "steps trained, each told once": str(sum(len(job.steps) for job in jobs)),
            "adapters equal to an unbroken run's, byte for byte": str(
                sum(job.adapter == self.facts.unbroken.get(job.recipe) for job in jobs)
            ),
            "unbroken runs to compare with": str(len(self.facts.unbroken)),
            "checkpoints read meanwhile, all whole": str(self.num_read),
            "blobs named, all whole": str(self.facts.num_blobs),
            "parked jobs that were resumed": str(self.num_resumed),
            "longest silence of a job": f"{idle:.0f} s (two leases are {STUCK_SECONDS:.0f} s)",
            "time": f"{self.seconds:.0f} s",
            "violations": str(len(self.violations)),
        }


def run(folder: Path, rng: random.Random, rounds: int, say: Callable[[str], None]) -> Result:
    began = time.monotonic()
    server = Service(folder / "data", "server", checkpoint_seconds="0.3", max_pass_tokens="0")
    server.run("models", "add", BASE, "--from", str(make_tiny_llama(folder / "base")))
    server.start()
    key = server.run("keys", "create", "--scopes", "worker").strip()
    fleet = Fleet(server, key, folder / "work")
    fleet.start_worker()
    told = Told()
    operator = Operator(lambda: server.url, told, _fork(rng))
    owners = [kind(lambda: server.url, told, _fork(rng)) for kind in OWNERS]
    threads = [threading.Thread(target=client.work) for client in (operator, *owners)]
    for thread in threads:
        thread.start()
    injector = Injector(fleet, rng)
    try:
        for number in range(1, rounds + 1):
            injector.kill_one()
            if number % 10 == 0:
                seconds = time.monotonic() - began
                say(f"{number:4} kills in {seconds:.0f} s; {len(told.acknowledged)} jobs begun")
        _settle(owners, threads[1:], told, say)
        _train_unbroken(server, folder / "data", operator, say)
    finally:
        for client in (operator, *owners):
            client.is_over.set()
            client.is_cut.set()
        for thread in threads:
            thread.join()
        fleet.kill_worker()
        server.kill()
    facts = checker.gather(folder / "data")
    return Result(
        kills=injector.counts,
        told=told,
        facts=facts,
        violations=checker.violations(told, facts),
        num_resumed=operator.num_resumed,
        num_read=operator.num_read,
        seconds=time.monotonic() - began,
    )


def _settle(
    owners: list[Owner], threads: list[threading.Thread], told: Told, say: Callable[[str], None]
) -> None:
    """Without kills, whatever was begun comes to its end."""
    for owner in owners:
        owner.is_over.set()
    deadline = time.monotonic() + SETTLE_SECONDS
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    say(f"{len(told.acknowledged)} jobs at their ends" if not _alive(threads) else "jobs are stuck")


def _alive(threads: list[threading.Thread]) -> bool:
    return any(thread.is_alive() for thread in threads)


def _train_unbroken(
    server: Service, data_dir: Path, client: Client, say: Callable[[str], None]
) -> None:
    """Each recipe once more, one after another and with nobody to disturb it."""
    recipes = checker.succeeded_by_recipe(data_dir)
    for number, job_id in enumerate(recipes.values(), 1):
        path = f"/admin/v1/jobs/{job_id}/reproduce"
        again = UUID(client.ask("POST", path).json()["id"]).hex
        has_succeeded = partial(checker.has_succeeded, data_dir, again)
        wait_until(has_succeeded, "an unbroken run")
        if number % 10 == 0 or number == len(recipes):
            say(f"{number} of {len(recipes)} unbroken runs")


def _fork(rng: random.Random) -> random.Random:
    return random.Random(rng.getrandbits(64))
