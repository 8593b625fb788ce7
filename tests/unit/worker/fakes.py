"""A server that notes what it is told, and hosts that follow a script."""

import hashlib
import queue
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

from tunesmith.domain.assignments import Receipt, Report, ReportBatch, Wish
from tunesmith.domain.devices import Device, DeviceKind
from tunesmith.domain.errors import TunesmithError, Unavailable
from tunesmith.domain.files import Artifact, Blob
from tunesmith.engine.messages import Command, HostReady, Message, decode, encode

CPU = Device(kind=DeviceKind.CPU, name="Some CPU", memory_bytes=2**34, count=4)
READY = HostReady(device="cpu", dtype="float32", load_seconds=0.0)


def blob_of(content: bytes) -> Blob:
    return Blob(sha256=hashlib.sha256(content).hexdigest(), size_bytes=len(content))


class FakeClient:
    """Stores batches and blobs as the server does; `trouble` is raised instead while it is set."""

    server_url = "http://127.0.0.1:9"  # where nobody listens
    key = "ts_key"
    tls = None

    def __init__(self) -> None:
        self.batches: list[ReportBatch] = []
        self.blobs: dict[str, bytes] = {}
        self.weights: dict[str, bytes] = {}
        self.fetched: list[str] = []
        self.trouble: TunesmithError | None = None
        self.loses_answers = False  # the server hears, and its answer does not arrive
        self.has_heard = threading.Event()
        self.wanted: Wish | None = None

    @property
    def reports(self) -> list[Report]:
        return [report for batch in self.batches for report in batch.reports]

    def report(self, job_id: UUID, attempt: int, batch: ReportBatch) -> Receipt:
        self._check()
        stored = self.batches[-1].sequence if self.batches else 0
        if batch.sequence > stored:
            self.batches.append(batch)
        self.has_heard.set()
        if self.loses_answers:
            raise Unavailable("The connection broke.")
        return Receipt(wanted=self.wanted)

    def publish(self, path: Path, blob: Blob, traceparent: str | None = None) -> None:
        self._check()
        content = path.read_bytes()
        assert blob_of(content) == blob
        self.blobs[blob.sha256] = content

    def fetch(self, artifact: Artifact, folder: Path) -> Path:
        self._check()
        self.fetched.append(artifact.name)
        return _write(folder / artifact.name, self.blobs[artifact.blob.sha256])

    def fetch_weights(self, base_model: str, file: str, target: Path) -> None:
        self._check()
        self.fetched.append(file)
        _write(target, self.weights[file])

    def put(self, content: bytes) -> Blob:
        blob = blob_of(content)
        self.blobs[blob.sha256] = content
        return blob

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


class FakeHost:
    """A host process whose words the test puts into its mouth."""

    pid = 1

    def __init__(self) -> None:
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._sent: queue.Queue[Command] = queue.Queue()
        self._ended = threading.Event()
        self.reason = "exit code 0"
        self.lacked_memory = False
        self.reply: Callable[[Command], list[Message]] = lambda command: []

    def say(self, *messages: Message) -> None:
        for message in messages:
            self._lines.put(encode(message))

    def say_line(self, line: str) -> None:
        self._lines.put(line)

    def end(self, reason: str = "signal SIGKILL", *, lacked_memory: bool = False) -> None:
        if not self._ended.is_set():
            self.reason, self.lacked_memory = reason, lacked_memory
            self._ended.set()
            self._lines.put(None)

    def next_command(self) -> Any:
        return self._sent.get(timeout=10)

    def has_commands(self) -> bool:
        return not self._sent.empty()

    def send(self, line: str) -> None:
        if self._ended.is_set():
            raise BrokenPipeError("the host is gone")
        command = decode(line)
        self._sent.put(command)
        self.say(*self.reply(command))

    def read(self) -> Iterator[str]:
        while (line := self._lines.get()) is not None:
            yield line

    def wait(self) -> str:
        self._ended.wait(timeout=10)
        return self.reason

    def kill(self) -> None:
        self.end("signal SIGKILL")

    @property
    def is_ended(self) -> bool:
        return self._ended.is_set()


class FakeLauncher:
    """`first_words` is what each host says when it starts."""

    threads = 1

    def __init__(self, *first_words: Message) -> None:
        self.first_words = first_words or (READY,)
        self.hosts: list[FakeHost] = []
        self.launched: list[str] = []
        self.num_prepared = 0
        self.is_closed = False
        self.num_halvings: list[int] = []
        self.reply: Callable[[Command], list[Message]] = lambda command: []

    def devices(self) -> tuple[Device, ...]:
        return (CPU,)

    def prepare(self) -> None:
        self.num_prepared += 1

    def close(self) -> None:
        self.is_closed = True

    def launch(
        self,
        model_name: str,
        model_folder: Path,
        quantization: str | None = None,
        *,
        num_halvings: int = 0,
    ) -> FakeHost:
        host = FakeHost()
        self.num_halvings.append(num_halvings)
        host.reply = self.reply
        host.say(*self.first_words)
        self.hosts.append(host)
        self.launched.append(model_name)
        return host
