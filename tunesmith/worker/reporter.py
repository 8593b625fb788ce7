"""Reports on their way to the server: in order, in batches, spooled while it is away."""

import hashlib
import os
import shutil
import threading
import time
from collections import deque
from pathlib import Path

import structlog

from tunesmith.domain.assignments import (
    ASK_SECONDS,
    ENDINGS,
    RENEW_SECONDS,
    Assignment,
    AttemptHalted,
    AttemptReleased,
    CheckpointPublished,
    Report,
    ReportBatch,
    StepReported,
    TrainingFinished,
    TrainingHealed,
    Wish,
)
from tunesmith.domain.errors import StaleAttempt, TunesmithError, Unavailable
from tunesmith.domain.files import Artifact, Blob
from tunesmith.tracing import spans
from tunesmith.worker.client import Client, ServerFull

log = structlog.get_logger()

FLUSH_SECONDS = 0.5  # between batches once steps are told; what comes after a lull goes at once
LEAVING_SECONDS = 10.0
_MAX_BATCH = 500
_RETRY_SECONDS = 2.0


class Reporter:
    """One attempt's reports. A checkpoint's files are uploaded before it is reported.

    `is_stale` turns true when the server refuses the attempt: somebody else has the job now, or it
    was stopped. `is_pause_wanted` is what the server last said. While `is_server_full`, it has no
    room for a checkpoint; should that last until the attempt has ended, the attempt is halted.
    What is said after an ending is passed over.
    """

    def __init__(self, client: Client, assignment: Assignment) -> None:
        self._client = client
        self.job_id, self._attempt = assignment.job_id, assignment.attempt
        self._traceparent = assignment.traceparent
        self._spool: deque[tuple[Report, Path | None]] = deque()
        self._batch: list[tuple[Report, Path | None]] = []  # being sent, and sent again unchanged
        self._sequence = 0
        self._adding = threading.Lock()
        self._has_ended = self._has_told_steps = False
        self._checkpoint_step: int | None = None
        self._wake = threading.Event()  # there is something to send
        self._is_urgent = threading.Event()  # and no use in waiting for more
        self._closing = threading.Event()  # nothing is added any more
        self._over = threading.Event()  # and nothing is to be sent any more
        self._is_asked = threading.Event()  # whether to ask at once what is wanted
        self._reached_at = self._heard_at = time.monotonic()
        self.is_stale = self.is_pause_wanted = self.is_server_full = False
        self.host_pid: int | None = None  # whose memory is told, once there is a host
        self._renewer = threading.Thread(target=self._renew, daemon=True, name="renew")
        self._sender = threading.Thread(target=self._send, daemon=True, name="report")
        self._renewer.start()
        self._sender.start()

    @property
    def offline_seconds(self) -> float:
        """Since the server last answered."""
        return time.monotonic() - self._reached_at

    def add(self, report: Report, folder: Path | None = None) -> None:
        """`folder` holds the report's artifacts, and is removed once they are stored."""
        if isinstance(report, CheckpointPublished):
            self._checkpoint_step = report.step
        if isinstance(report, TrainingHealed) and report.went_back:
            self._checkpoint_step = None  # the server forgets those behind the step
        with self._adding:
            if self._has_ended:
                return
            self._has_ended = isinstance(report, ENDINGS)
            self._spool.append((report, folder))
        if isinstance(report, ENDINGS):
            self._is_urgent.set()
        self._wake.set()

    def ask(self) -> None:
        """The server has something new to say about the attempt, perhaps."""
        self._is_asked.set()

    def give_back(self) -> None:
        """The attempt as it is, while somebody still works at it."""
        self.add(AttemptReleased())
        self._closing.set()

    @property
    def is_told(self) -> bool:
        """Whether the server knows all that it is to know."""
        return self._over.is_set() and (self.is_stale or not self._spool)

    def has_checkpoint(self, step: int) -> bool:
        """Whether the newest checkpoint told is of this step."""
        return self._checkpoint_step == step

    def close(self, is_leaving: threading.Event) -> None:
        """Wait until all is told or the attempt is over, for as long as the server is away.

        A worker that is leaving gives an absent server a few seconds; the job then goes on from
        the last checkpoint that the server has.
        """
        self._closing.set()
        self._is_urgent.set()
        self._wake.set()
        while self._sender.is_alive():
            if is_leaving.is_set() and self.offline_seconds > LEAVING_SECONDS:
                log.warning("left without telling", job=str(self.job_id), count=len(self._spool))
                return
            self._sender.join(timeout=0.2)

    def _send(self) -> None:
        try:
            while not self.is_stale and not (self._closing.is_set() and not self._spool):
                self._wake.wait(FLUSH_SECONDS)
                self._wake.clear()
                if self._spool:
                    self._flush()
                    if self._has_told_steps:
                        self._is_urgent.wait(FLUSH_SECONDS)
        finally:
            self._end()  # whatever happened: a lease is not to be held for nobody

    def _flush(self) -> None:
        # A batch whose answer was lost may be stored: another one under its number would be lost.
        batch = self._batch = self._batch or list(self._spool)[:_MAX_BATCH]
        try:
            for report, folder in batch:
                if folder is not None:
                    self._publish(report, folder)
            reports = tuple(report for report, _ in batch)
            self._say(self._sequence + 1, reports)
        except ServerFull as error:
            self._without_room(error)
            return
        except Unavailable as error:
            log.warning("reports wait for the server", count=len(batch), reason=error.message)
            time.sleep(_RETRY_SECONDS)
            return
        except (TunesmithError, OSError) as error:
            self._give_up(error)
            return
        self._batch = []
        self.is_server_full = False
        self._sequence += 1
        for report, folder in batch:
            self._has_told_steps |= isinstance(report, StepReported)
            self._spool.popleft()
            if folder is not None:
                shutil.rmtree(folder, ignore_errors=True)

    def _without_room(self, error: ServerFull) -> None:
        """Nothing of the batch is stored. Ask again, until the attempt has nothing more to say."""
        log.warning("the server is full", job=str(self.job_id), reason=error.message)
        if not (self.is_server_full and self._closing.is_set()):
            self.is_server_full = True
            time.sleep(_RETRY_SECONDS)
            return
        self._batch = []
        kept = [(r, f) for r, f in self._spool if f is None and not isinstance(r, ENDINGS)]
        self._spool = deque([*kept, (AttemptHalted(reason=error.message), None)])

    def _publish(self, report: Report, folder: Path) -> None:
        assert isinstance(report, CheckpointPublished | TrainingFinished)
        with spans.span("checkpoint", self._traceparent) as span:
            span.add(job=str(self.job_id), attempt=self._attempt, step=report.step)
            for artifact in report.artifacts:
                self._client.publish(folder / artifact.name, artifact.blob, span.traceparent)
                self._reached_at = time.monotonic()

    def _say(self, sequence: int, reports: tuple[Report, ...] = ()) -> None:
        memory = None if self.host_pid is None else resident_bytes(self.host_pid)
        batch = ReportBatch(sequence=sequence, reports=reports, host_memory_bytes=memory)
        receipt = self._client.report(self.job_id, self._attempt, batch)
        self.is_pause_wanted = receipt.wanted is Wish.PAUSE
        self._reached_at = self._heard_at = time.monotonic()

    def _renew(self) -> None:
        pause_seconds = ASK_SECONDS
        while True:
            is_asked = self._is_asked.wait(pause_seconds)
            if self._over.is_set():
                return
            self._is_asked.clear()
            if not is_asked and time.monotonic() - self._heard_at < ASK_SECONDS:
                continue
            try:
                # Batch 0 was always stored already: this renews, hears what is wanted, and no more.
                self._say(0)
                pause_seconds = ASK_SECONDS
            except Unavailable:
                log.warning("lease not renewed", job=str(self.job_id))
                pause_seconds = RENEW_SECONDS
            except TunesmithError as error:
                self._give_up(error)

    def _give_up(self, error: TunesmithError | OSError) -> None:
        if not isinstance(error, StaleAttempt):
            log.error("report refused", job=str(self.job_id), reason=str(error))
        self.is_stale = True
        self._end()

    def _end(self) -> None:
        self._over.set()
        self._is_asked.set()  # the renewer need not wait until it would ask


def resident_bytes(pid: int) -> int | None:
    """Of a process; None where the system does not tell."""
    try:
        pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    except OSError:
        return None
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def artifacts_of(folder: Path) -> tuple[Artifact, ...]:
    """Every file of a folder, with its size and SHA-256."""
    return tuple(
        Artifact(name=path.name, blob=_blob_of(path))
        for path in sorted(folder.iterdir())
        if path.is_file()
    )


def _blob_of(path: Path) -> Blob:
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return Blob(sha256=sha256, size_bytes=path.stat().st_size)
