"""The hosts of this machine: which are there, which one a base model's work goes to."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from tunesmith.domain.assignments import Resident, Room
from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.errors import Unavailable
from tunesmith.worker.host import Host, OnAnswer
from tunesmith.worker.job_lock import Machine, machine_of
from tunesmith.worker.ports import Launcher

log = structlog.get_logger()

_MAX_HALVINGS = 5

Weights = tuple[str, str | None, str]  # a base model's name and fingerprint, and who owns the host


class NoRoom(Unavailable):
    """All hosts are busy with other base models."""


class Hosts:
    """At most `max_hosts` of them; an idle one makes room for another base model.

    A host with an `owner` is that one's alone: a job that changes the weights themselves.

    Whoever means to use a base model claims it first: that keeps a place for it, and its host from
    making room. The table of hosts is never locked for long; loading takes a lock of its own.

    Where the system ends a host for lack of memory, the next one has passes of half the size; where
    it ends that one too, whoever needs too much is looked for: the next ones take one run at a
    time, until it has come to its end.
    """

    def __init__(self, launcher: Launcher, max_hosts: int, on_answer: OnAnswer) -> None:
        self._launcher = launcher
        self._max_hosts = max_hosts
        self._on_answer = on_answer
        self._devices = launcher.devices()
        self._hosts: dict[Weights, Host] = {}
        self._starting: Host | None = None
        self._is_closed = False
        self._claims: Counter[Weights] = Counter()
        self._shortages: Counter[Weights] = Counter()  # hosts that lacked memory
        self._table = threading.Lock()
        self._loading = threading.Lock()
        launcher.prepare()

    def room(self) -> Room:
        """For training, as it is now."""
        with self._table:
            self._forget_lost()
            residents = tuple(
                Resident(
                    base_model=weights[0],
                    fingerprint=weights[1],
                    takes_more=self._takes_more(weights),
                )
                for weights in {**self._hosts, **self._claims}
                if not weights[2]
            )
            return Room(residents=residents, takes_others=len(self._in_use()) < self._max_hosts)

    def claim(self, base: BaseModel, owner: str = "") -> None:
        """Keep a place for a base model until `unclaim`; raises `NoRoom`."""
        weights = (base.name, base.fingerprint, owner)
        with self._table:
            self._forget_lost()
            if weights not in self._hosts and weights not in self._claims:
                self._make_room(base.name)
            self._claims[weights] += 1

    def unclaim(self, base: BaseModel, owner: str = "") -> None:
        weights = (base.name, base.fingerprint, owner)
        with self._table:
            self._claims[weights] -= 1
            if not self._claims[weights]:
                del self._claims[weights]

    def place(self, base: BaseModel, folder: Callable[[], Path], owner: str = "") -> Host:
        """The host that holds these weights of a base model, started if need be.

        Raises `NoRoom`, `ModelRefused` or `Unavailable`.
        """
        with self._claimed(base, owner):
            weights = (base.name, base.fingerprint, owner)
            host = self._find(weights)
            if host is None:
                with self._loading:
                    host = self._find(weights) or self._start(base, folder, owner)
            host.used_at = time.monotonic()
            return host

    def end(self, base: BaseModel, owner: str) -> None:
        """The owner is done, and nobody else can use its host; that it is gone is fine."""
        with self._table:
            host = self._forget((base.name, base.fingerprint, owner))
            if not self._hosts and not self._is_closed:
                self._launcher.prepare()
        if host is not None:
            host.kill()

    def num_halvings(self, base: BaseModel, owner: str) -> int:
        """How many times passes are to be halved, as memory did not suffice for larger ones."""
        return min(_MAX_HALVINGS, self._shortages[base.name, base.fingerprint, owner])

    def machine_of(self, host: Host) -> Machine:
        """What a host computes with."""
        return machine_of(host.ready, self._devices, self._launcher.threads)

    def cancel(self, request_id: str) -> None:
        """Whoever is answering it, or nobody any more."""
        for host in list(self._hosts.values()):
            host.cancel(request_id)

    def cancel_all(self) -> None:
        """Nobody listens any more."""
        for host in list(self._hosts.values()):
            host.cancel_all()

    def close(self) -> None:
        """End them all, and begin none; may be called from any thread."""
        with self._table:
            self._is_closed = True
            hosts = [*self._hosts.values(), self._starting]
            self._launcher.close()
        for host in hosts:
            if host is not None:
                host.kill()

    @contextmanager
    def _claimed(self, base: BaseModel, owner: str) -> Iterator[None]:
        self.claim(base, owner)
        try:
            yield
        finally:
            self.unclaim(base, owner)

    def _find(self, weights: Weights) -> Host | None:
        host = self._hosts.get(weights)
        return host if host is not None and host.is_alive else None

    def _start(self, base: BaseModel, folder: Callable[[], Path], owner: str) -> Host:
        model_folder = folder()
        with self._table:
            if self._is_closed:
                raise NoRoom("This worker is leaving.")
            process = self._launcher.launch(
                base.name,
                model_folder,
                base.quantization,
                num_halvings=self.num_halvings(base, owner),
            )
            host = self._starting = Host(process, base.name, self._on_answer)
        log.info("host started", base_model=base.name, pid=process.pid)
        try:
            host.wait_until_ready()
            with self._table:
                self._hosts[base.name, base.fingerprint, owner] = host
        finally:
            self._starting = None
        return host

    def _takes_more(self, weights: Weights) -> bool:
        host = self._hosts.get(weights)
        if self._shortages[weights] > 1 and not (host is not None and host.has_finished_one):
            return not self._claims[weights]
        if host is None or host.max_runs is None:
            return True
        return self._claims[weights] < host.max_runs

    def _in_use(self) -> set[Weights]:
        busy = {weights for weights, host in self._hosts.items() if host.is_busy}
        return busy | set(self._claims)

    def _forget_lost(self) -> None:
        for weights, host in list(self._hosts.items()):
            if not host.is_alive:
                self._forget(weights)

    def _forget(self, weights: Weights) -> Host | None:
        host = self._hosts.pop(weights, None)
        if host is not None and host.lacked_memory:
            self._shortages[weights] += 1
        return host

    def _make_room(self, base_model: str) -> None:
        while len({*self._hosts, *self._claims}) >= self._max_hosts:
            in_use = self._in_use()
            idle = [
                (weights, host) for weights, host in self._hosts.items() if weights not in in_use
            ]
            if not idle:
                raise NoRoom(
                    f"No room for {base_model}: this worker's hosts are busy with other base "
                    "models. Wait, or raise TUNESMITH_MAX_HOSTS."
                )
            weights, oldest = min(idle, key=lambda item: item[1].used_at)
            log.info("host ended to make room", base_model=oldest.base_model)
            oldest.kill()
            del self._hosts[weights]
