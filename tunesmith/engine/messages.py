"""What passes between a host process and its worker: one JSON object a line, both ways."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from tunesmith.engine import events
from tunesmith.engine.spec import EmbedSpec, SampleSpec, TrainSpec

TOO_MANY_RUNS = "too_many_runs"  # the code of a run for which a host has no room as yet


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldModel:
    """The first of all: which base model a host is to hold, and how. It may be long in coming."""

    name: str  # what adapters call their base model
    folder: Path
    device: str
    precision: str
    quantization: str | None
    threads: int
    answering_share: float  # of the time, 0…1, while runs are open and somebody waits
    max_pass_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRun:
    spec: TrainSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class StopRun:
    """The run ends after its step, with a checkpoint; answered by `Stopped`."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AbandonRun:
    """The run ends at once; nobody wants its results."""

    run_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadAdapter:
    adapter_id: str
    path: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class UnloadAdapter:
    adapter_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    spec: SampleSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Embed:
    spec: EmbedSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelSample:
    """Whoever asked, for an answer or an embedding, listens no more."""

    request_id: str


Command = (
    HoldModel
    | OpenRun
    | StopRun
    | AbandonRun
    | LoadAdapter
    | UnloadAdapter
    | Sample
    | Embed
    | CancelSample
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostReady:
    """The base model is resident."""

    device: str
    dtype: str
    load_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFailed:
    """The base model cannot be had; the host exits."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RunEvent:
    run_id: str
    event: events.TrainEvent


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFailed:
    """`line` and `file` are set where a row of the data is at fault."""

    run_id: str
    code: str
    message: str
    line: int | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFailed:
    adapter_id: str
    code: str
    message: str


Told = HostReady | HostFailed | RunEvent | RunFailed | AdapterFailed | events.SampleEvent
Message = Command | Told

_KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        HoldModel,
        OpenRun,
        StopRun,
        AbandonRun,
        LoadAdapter,
        UnloadAdapter,
        Sample,
        Embed,
        CancelSample,
        HostReady,
        HostFailed,
        RunFailed,
        AdapterFailed,
        events.TextDelta,
        events.ToolCalled,
        events.Embedded,
        events.SampleDone,
        events.SampleFailed,
        events.Reading,
        events.Started,
        events.DataRead,
        events.StepDone,
        events.Evaluating,
        events.CheckpointSaved,
        events.Healed,
        events.EndedEarly,
        events.Stopped,
        events.Finished,
    )
}
_ADAPTERS = {name: TypeAdapter(kind) for name, kind in _KINDS.items()}


def encode(message: Message) -> str:
    """One line, without its end."""
    run_id = None
    body: Any = message
    if isinstance(message, RunEvent):
        run_id, body = message.run_id, message.event
    line = {"is": type(body).__name__, "of": run_id, "with": asdict(body)}
    return json.dumps(line, default=str, separators=(",", ":"))


def decode(line: str) -> Any:
    """The `Message` of a line; raises `ValueError` for anything else."""
    parts = json.loads(line)
    body = _ADAPTERS[parts["is"]].validate_python(parts["with"])
    return body if parts["of"] is None else RunEvent(run_id=parts["of"], event=body)
