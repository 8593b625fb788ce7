"""The process around the engine: one resident base model that trains and answers.

Commands come in by standard input, events go out by standard output (`engine.messages`). All of
the model's work is done by one thread, turn by turn: a training step, then answers for about as
long as the step took. When standard input ends, the worker is gone, and so is the host.
"""

import argparse
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TextIO

import structlog
import torch

from tunesmith.engine.embed import Embedder
from tunesmith.engine.errors import BadExample, EngineError, UnsupportedModel
from tunesmith.engine.messages import (
    AbandonRun,
    AdapterFailed,
    CancelSample,
    Command,
    Embed,
    HostFailed,
    HostReady,
    LoadAdapter,
    OpenRun,
    RunEvent,
    RunFailed,
    Sample,
    StopRun,
    Told,
    UnloadAdapter,
    decode,
    encode,
)
from tunesmith.engine.model import BaseModel
from tunesmith.engine.precision import PRECISIONS
from tunesmith.engine.sample import Sampler
from tunesmith.engine.spec import TrainSpec
from tunesmith.engine.train import train

log = structlog.get_logger()

ANSWERING_SHARE = 0.5  # of the time, while a run is open and somebody waits for an answer


class Host:
    def __init__(self, model: BaseModel, commands: "queue.Queue[Command]", out: TextIO) -> None:
        self._model = model
        self._commands = commands
        self._out = out
        self._sampler = Sampler(model)
        self._embedder = Embedder(model)
        self._run: _OpenRun | None = None

    def work(self) -> None:
        """Never returns; the process ends when its standard input does."""
        while True:
            self._obey()
            seconds = self._train_on()
            self._answer(seconds * ANSWERING_SHARE / (1 - ANSWERING_SHARE))

    def _obey(self) -> None:
        """Take all commands that are there; with nothing else to do, wait for one."""
        is_idle = self._run is None and not self._is_asked
        try:
            self._do(self._commands.get(block=is_idle))
            while True:
                self._do(self._commands.get_nowait())
        except queue.Empty:
            return

    def _do(self, command: Command) -> None:
        match command:
            case OpenRun(spec=spec):
                self._open(spec)
            case StopRun(run_id=run_id):
                if self._run is not None and self._run.run_id == run_id:
                    self._run.is_to_stop = True
            case AbandonRun(run_id=run_id):
                if self._run is not None and self._run.run_id == run_id:
                    self._close_run()
            case LoadAdapter(adapter_id=adapter_id, path=path):
                self._load_adapter(adapter_id, path)
            case UnloadAdapter(adapter_id=adapter_id):
                self._model.adapters.remove(adapter_id)
            case Sample(spec=spec):
                self._sampler.submit(spec)
            case Embed(spec=spec):
                self._embedder.submit(spec)
            case CancelSample(request_id=request_id):
                self._sampler.cancel(request_id)
                self._embedder.cancel(request_id)

    @property
    def _is_asked(self) -> bool:
        return not (self._sampler.is_idle and self._embedder.is_idle)

    def _open(self, spec: TrainSpec) -> None:
        if self._run is not None:
            self._tell(RunFailed(run_id=spec.run_id, code="busy", message="A run is open."))
            return
        self._run = _OpenRun(self._model, spec)

    def _load_adapter(self, adapter_id: str, path: Path) -> None:
        try:
            self._model.adapters.load(adapter_id, path)
        except EngineError as error:
            told = AdapterFailed(adapter_id=adapter_id, code=error.code, message=error.message)
            self._tell(told)

    def _train_on(self) -> float:
        """The open run's next event; returns the seconds that it took."""
        run = self._run
        if run is None:
            return 0.0
        started = time.monotonic()
        try:
            event = next(run.events, None)
        except BadExample as error:
            self._end_run(run, error, line=error.line, file=error.file)
        except EngineError as error:
            self._end_run(run, error)
        except (
            Exception
        ) as error:  # a defect of ours or of a library: the job fails, the host lives
            log.exception("run failed", run=run.run_id)
            reason = f"{type(error).__name__}: {error}"
            self._end_run(run, EngineError(f"The engine failed ({reason})."))
        else:
            if event is None:
                self._close_run()
            else:
                self._tell(RunEvent(run_id=run.run_id, event=event))
        return time.monotonic() - started

    def _end_run(
        self,
        run: "_OpenRun",
        error: EngineError,
        *,
        line: int | None = None,
        file: str | None = None,
    ) -> None:
        self._close_run()
        self._tell(
            RunFailed(
                run_id=run.run_id, code=error.code, message=error.message, line=line, file=file
            )
        )

    def _close_run(self) -> None:
        if self._run is not None:
            self._run.events.close()
            self._run = None

    def _answer(self, seconds: float) -> None:
        """Tokens and embeddings for who waits: a step of each at least, more while there is time.

        With both to do they take turns, so that a long list of texts stalls nobody's answer.
        """
        deadline = time.monotonic() + seconds
        while self._is_asked:
            for event in (*self._sampler.step(), *self._embedder.step()):
                self._tell(event)
            if time.monotonic() >= deadline or not self._commands.empty():
                return

    def _tell(self, message: Told) -> None:
        self._out.write(encode(message) + "\n")
        self._out.flush()


class _OpenRun:
    def __init__(self, model: BaseModel, spec: TrainSpec) -> None:
        self.run_id = spec.run_id
        self.is_to_stop = False
        self.events = train(model, spec, lambda: self.is_to_stop)


def main() -> None:
    parser = argparse.ArgumentParser(description="Hold a base model; started by a worker.")
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--name", required=True, help="what adapters call their base model")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--precision", choices=PRECISIONS, default="auto")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()
    out = _claim_standard_output()
    commands: queue.Queue[Command] = queue.Queue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    started = time.monotonic()
    try:
        torch.set_num_threads(arguments.threads)
        device = None if arguments.device == "auto" else arguments.device
        model = BaseModel.load(
            arguments.model, name=arguments.name, device=device, precision=arguments.precision
        )
    except UnsupportedModel as error:
        out.write(encode(HostFailed(code=error.code, message=error.message)) + "\n")
        out.flush()
        return
    ready = HostReady(
        device=str(model.device),
        dtype=str(model.network.dtype),
        load_seconds=time.monotonic() - started,
    )
    out.write(encode(ready) + "\n")
    out.flush()
    Host(model, commands, out).work()


def _claim_standard_output() -> TextIO:
    """Events alone go where the worker listens; whatever a library prints goes to the log."""
    ours = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    return ours


def _read_commands(commands: "queue.Queue[Command]") -> None:
    for line in sys.stdin:
        commands.put(decode(line))
    os._exit(0)  # the worker is gone; a running step is not worth waiting for


if __name__ == "__main__":
    main()
