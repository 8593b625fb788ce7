"""The process around the engine: one resident base model that trains and answers.

Commands come in by standard input, events go out by standard output (`engine.messages`). All of
the model's work is done by one thread, turn by turn: one pass for the open runs, then answers for
about as long as it took, or for another share of the time. Who asks waits for one pass at most.
When standard input ends, the worker is gone, and so is the host.
"""

import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TextIO, cast

import structlog
import torch

from tunesmith.engine.embed import Embedder
from tunesmith.engine.errors import EngineError, UnsupportedModel
from tunesmith.engine.memory import out_of_memory_named
from tunesmith.engine.messages import (
    AbandonRun,
    AdapterFailed,
    CancelSample,
    Command,
    Embed,
    HoldModel,
    HostFailed,
    HostReady,
    LoadAdapter,
    OpenRun,
    Sample,
    StopRun,
    Told,
    UnloadAdapter,
    decode,
    encode,
)
from tunesmith.engine.model import BaseModel
from tunesmith.engine.precision import Precision
from tunesmith.engine.quantized import Quantization
from tunesmith.engine.sample import Sampler
from tunesmith.engine.trainer import MAX_PASS_TOKENS, Trainer


class Host:
    def __init__(
        self,
        model: BaseModel,
        commands: "queue.Queue[Command]",
        out: TextIO,
        *,
        answering_share: float = 0.5,
        max_pass_tokens: int = MAX_PASS_TOKENS,
    ) -> None:
        """`answering_share` is that of the time, 0…1, while runs are open and somebody waits."""
        self._model = model
        self._commands = commands
        self._out = out
        self._answering_share = answering_share
        self._trainer = Trainer(model, max_pass_tokens=max_pass_tokens)
        self._sampler = Sampler(model)
        self._embedder = Embedder(model)

    def work(self) -> None:
        """Never returns; the process ends when its standard input does."""
        while True:
            self._obey()
            seconds = self._train_on()
            self._answer(seconds * self._answering_share / (1 - self._answering_share))

    def _obey(self) -> None:
        """Take all commands that are there; with nothing else to do, wait for one."""
        is_idle = self._trainer.is_idle and not self._is_asked
        try:
            self._do(self._commands.get(block=is_idle))
            while True:
                self._do(self._commands.get_nowait())
        except queue.Empty:
            return

    def _do(self, command: Command) -> None:
        match command:
            case OpenRun(spec=spec):
                refused = self._trainer.open(spec)
                if refused is not None:
                    self._tell(refused)
            case StopRun(run_id=run_id):
                self._trainer.stop(run_id)
            case AbandonRun(run_id=run_id):
                self._trainer.abandon(run_id)
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

    def _load_adapter(self, adapter_id: str, path: Path) -> None:
        try:
            with out_of_memory_named():
                self._model.adapters.load(adapter_id, path)
        except EngineError as error:
            told = AdapterFailed(adapter_id=adapter_id, code=error.code, message=error.message)
            self._tell(told)

    def _train_on(self) -> float:
        """A turn of training; returns the seconds that it took."""
        began_at = time.monotonic()
        for told in self._trainer.turn():
            self._tell(told)
        return time.monotonic() - began_at

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


def main() -> None:
    """What a host needs is imported by now; its base model is named by the first line that comes.

    None comes to a host that was kept ready and is not needed.
    """
    out = _claim_standard_output()
    first = sys.stdin.readline()
    if not first:
        return
    asked = decode(first)
    assert isinstance(asked, HoldModel)
    commands: queue.Queue[Command] = queue.Queue()
    threading.Thread(target=_read_commands, args=(commands,), daemon=True).start()
    model = _load(asked, out)
    if model is None:
        return
    Host(
        model,
        commands,
        out,
        answering_share=asked.answering_share,
        max_pass_tokens=asked.max_pass_tokens,
    ).work()


def _load(asked: HoldModel, out: TextIO) -> BaseModel | None:
    """Tell how it went; None where the base model cannot be had."""
    started = time.monotonic()
    told: HostReady | HostFailed
    model = None
    torch.set_num_threads(asked.threads)
    try:
        model = BaseModel.load(
            asked.folder,
            name=asked.name,
            device=None if asked.device == "auto" else asked.device,
            precision=cast(Precision, asked.precision),
            quantization=cast(Quantization | None, asked.quantization),
        )
        told = HostReady(
            device=str(model.device),
            dtype=str(model.network.dtype),
            load_seconds=time.monotonic() - started,
        )
    except UnsupportedModel as error:
        told = HostFailed(code=error.code, message=error.message)
    out.write(encode(told) + "\n")
    out.flush()
    return model


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
