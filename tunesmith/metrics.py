"""What Prometheus is told. No label ever names a job, a model or a person."""

import threading
import time
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

Name = TypeVar("Name")

REGISTRY = CollectorRegistry()
_FRESH_SECONDS = 120.0  # after which a figure that a worker told is told no more
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10)

REQUESTS = Histogram(
    "http_server_request_duration_seconds",
    "Until an answer begins.",
    ["http_route", "http_request_method", "http_response_status_code"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
DB_WRITES = Histogram(
    "tunesmith_db_write_seconds",
    "Transactions that change something, from waiting for their turn to their commit.",
    buckets=(0.001, 0.0025, *_SECONDS),
    registry=REGISTRY,
)
LEASE_RENEW_FAILURES = Counter(
    "tunesmith_lease_renew_failures",
    "Leases that ended because their worker was silent.",
    registry=REGISTRY,
)
FENCED_WRITES = Counter(
    "tunesmith_fenced_writes",
    "Reports of attempts that were over: somebody else has the job.",
    registry=REGISTRY,
)
ATTEMPTS = Counter(
    "tunesmith_attempts",
    "Attempts that ended.",
    ["outcome", "cause"],
    registry=REGISTRY,
)
TRAINED_TOKENS = Counter(
    "tunesmith_trained_tokens",
    "Tokens of training steps; what is trained again after an interruption counts once.",
    registry=REGISTRY,
)
JOBS = Gauge("tunesmith_jobs", "Jobs by state.", ["state"], registry=REGISTRY)
QUEUE_DEPTH = Gauge(
    "tunesmith_queue_depth", "Jobs that wait for a worker.", ["task"], registry=REGISTRY
)
QUEUE_OLDEST = Gauge(
    "tunesmith_queue_oldest_seconds",
    "How long the job has waited that has waited longest.",
    registry=REGISTRY,
)
WAL_BYTES = Gauge("tunesmith_wal_bytes", "SQLite's write-ahead log.", registry=REGISTRY)
FREE_BYTES = Gauge("tunesmith_free_bytes", "Room in the data folder.", registry=REGISTRY)
WORKERS = Gauge("tunesmith_workers", "Workers with an open connection.", registry=REGISTRY)


@dataclass(frozen=True, slots=True)
class _Told:
    """The newest figures of one attempt, or of one worker's host."""

    values: dict[str, float]
    at: float


class Running(Collector):
    """What attempts told last, added up over all that are under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: dict[object, _Told] = {}
        self._hosts: dict[str, _Told] = {}

    def stepped(self, attempt: object, *, loss: float | None, tokens_per_second: float) -> None:
        values = {"tokens_per_second": tokens_per_second}
        if loss is not None:
            values["loss"] = loss
        with self._lock:
            self._steps[attempt] = _Told(values, time.monotonic())

    def ended(self, attempt: object) -> None:
        with self._lock:
            self._steps.pop(attempt, None)

    def host_has(self, worker: str, memory_bytes: int) -> None:
        with self._lock:
            self._hosts[worker] = _Told({"memory_bytes": memory_bytes}, time.monotonic())

    def collect(self) -> list[GaugeMetricFamily]:
        with self._lock:
            self._steps, self._hosts = _fresh(self._steps), _fresh(self._hosts)
            steps = [told.values for told in self._steps.values()]
            hosts = {worker: told.values for worker, told in self._hosts.items()}
        losses = [values["loss"] for values in steps if "loss" in values]
        speed = sum(values["tokens_per_second"] for values in steps)
        families = [
            GaugeMetricFamily(
                "tunesmith_tokens_per_second", "Of all jobs that train.", value=speed
            ),
            GaugeMetricFamily(
                "tunesmith_host_memory_bytes",
                "Resident memory of a worker's hosts.",
                labels=["worker"],
            ),
        ]
        for worker, values in hosts.items():
            families[1].add_metric([worker], values["memory_bytes"])
        if losses:
            mean = sum(losses) / len(losses)
            families.append(
                GaugeMetricFamily(
                    "tunesmith_running_loss", "Mean over all jobs that train.", value=mean
                )
            )
        return families


def _fresh(told: dict[Name, _Told]) -> dict[Name, _Told]:
    oldest = time.monotonic() - _FRESH_SECONDS
    return {name: one for name, one in told.items() if one.at >= oldest}


RUNNING = Running()
REGISTRY.register(RUNNING)


def exposition() -> bytes:
    """Everything, in Prometheus' text format."""
    return generate_latest(REGISTRY)
