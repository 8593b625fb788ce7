"""What a worker tells the server, said directly: brings jobs into the states to ask about."""

from uuid import UUID, uuid4

from tests.contract.server import Server
from tunesmith.domain.assignments import (
    Assignment,
    AttemptReleased,
    CheckpointPublished,
    DataRead,
    Receipt,
    Registration,
    Report,
    ReportBatch,
    StepReported,
    TrainingFailed,
    TrainingFinished,
    TrainingStarted,
    Validated,
)
from tunesmith.domain.events import Metrics
from tunesmith.domain.files import Artifact, Blob
from tunesmith.domain.jobs import Failure, MaskCertificate
from tunesmith.services import leases, scheduling

TOTAL_STEPS = 4
STEPS_PER_EPOCH = 2
MASK = MaskCertificate(sha256="5" * 64, tokens_per_epoch=500, trained_tokens_per_epoch=200)
WEIGHTS = b"weights of step %d"


class Worker:
    def __init__(self, server: Server) -> None:
        self._server = server
        self._me = Registration(name=uuid4().hex, incarnation=uuid4(), version="0")
        self._sequence = 0
        with server.database.write() as store:
            scheduling.register(store, self._me, self._server.now())

    def lease(self, job_id: UUID) -> Assignment:
        """Tests share the queue: what others left in it is leased as well, and forgotten."""
        while True:
            with self._server.database.write() as store:
                assignment = scheduling.lease(store, self._me, self._server.now())
            assert assignment is not None, "the job is not in the queue"
            if assignment.job_id == job_id:
                self._sequence = 0
                return assignment

    def report(self, assignment: Assignment, *reports: Report) -> Receipt:
        self._sequence += 1
        batch = ReportBatch(sequence=self._sequence, reports=reports)
        job_id, attempt = assignment.job_id, assignment.attempt
        with self._server.database.write() as store:
            return leases.record(
                store, self._server.blobs, job_id, attempt, batch, self._server.now()
            )

    def validate(self, job_id: UUID, num_examples: int = 10) -> None:
        self.report(self.lease(job_id), Validated(num_examples=num_examples))

    def start(self, job_id: UUID) -> Assignment:
        self.validate(job_id)
        assignment = self.lease(job_id)
        started = TrainingStarted(step=0, total_steps=TOTAL_STEPS, num_examples=10)
        cut = DataRead(num_examples=10, num_truncated_examples=1, mask=MASK)
        self.report(assignment, started, cut)
        return assignment

    def train(self, job_id: UUID) -> None:
        """All of a job: four steps in two epochs, evaluated at the end of each."""
        assignment = self.start(job_id)
        for step in range(1, TOTAL_STEPS + 1):
            ends_epoch = step % STEPS_PER_EPOCH == 0
            self.report(
                assignment,
                StepReported(metrics=metrics(step, is_evaluated=ends_epoch), remaining_seconds=60),
            )
            if ends_epoch:
                self.end_epoch(assignment, step // STEPS_PER_EPOCH)
        self.report(
            assignment,
            TrainingFinished(
                step=TOTAL_STEPS, trained_tokens=1234, artifacts=self._artifacts(TOTAL_STEPS)
            ),
        )

    def end_epoch(self, assignment: Assignment, epoch: int) -> None:
        step = epoch * STEPS_PER_EPOCH
        artifacts = self._artifacts(step)
        self.report(assignment, CheckpointPublished(step=step, epoch=epoch, artifacts=artifacts))

    def finish(self, assignment: Assignment) -> None:
        """Without a step or a checkpoint on the way."""
        artifacts = self._artifacts(TOTAL_STEPS)
        self.report(
            assignment, TrainingFinished(step=TOTAL_STEPS, trained_tokens=1, artifacts=artifacts)
        )

    def let_go(self, assignment: Assignment, step: int) -> None:
        """At a checkpoint, in good order."""
        published = CheckpointPublished(step=step, epoch=None, artifacts=self._artifacts(step))
        self.report(assignment, published, AttemptReleased())

    def bytes_of(self, blob: Blob) -> bytes:
        return self._server.blobs.path(blob.sha256).read_bytes()

    def fail(self, job_id: UUID, failure: Failure) -> None:
        self.report(self.lease(job_id), TrainingFailed(failure=failure))

    def _artifacts(self, step: int) -> tuple[Artifact, ...]:
        blob = self._server.blobs.put(WEIGHTS % step)
        state = self._server.blobs.put(b"state")
        return (
            Artifact(name="adapter_model.safetensors", blob=blob),
            Artifact(name="optimizer.safetensors", blob=state),
        )


def metrics(step: int, *, is_evaluated: bool) -> Metrics:
    figures = Metrics(
        step=step,
        total_steps=TOTAL_STEPS,
        train_loss=1.0 / step,
        train_token_accuracy=0.5,
        learning_rate=1e-4,
        grad_norm=0.1,
        tokens=100,
        seconds=0.5,
    )
    if not is_evaluated:
        return figures
    return Metrics(
        **{name: getattr(figures, name) for name in figures.__slots__}
        | {
            "validation_loss": 2.0,
            "validation_token_accuracy": 0.25,
            "full_validation_loss": 3.0,
            "full_validation_token_accuracy": 0.125,
        }
    )
