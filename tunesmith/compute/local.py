"""Hosts as processes on this machine."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tunesmith.compute.devices import find_devices
from tunesmith.domain.devices import Device
from tunesmith.engine.messages import HoldModel, encode

# Large blocks stay with the process instead of going back to the kernel after every step; glibc
# reads these when a process starts. Steps on a CPU are 1.6 times faster with them (docs/log.md).
ALLOCATOR = {
    "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
    "MALLOC_MMAP_THRESHOLD_": str(1 << 30),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
    "MALLOC_TOP_PAD_": str(256 << 20),
}
# Shapes for which oneDNN keeps its code, with half a megabyte of notes each: by default 1,024.
CODE_CACHE = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "512"}


_LACKED_MEMORY = (
    "signal SIGKILL, as the machine's memory did not suffice: shorter examples, a smaller model or "
    "more memory would help"
)


class LocalHost:
    """A host process; `read` ends when the process does."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self.lacked_memory = False
        self._is_killed = False
        self._oom_kills_before = _oom_kills()
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
            start_new_session=True,  # Ctrl-C is for the worker, which ends its hosts in good order
        )

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        return self._process.poll() is None

    def send(self, line: str) -> None:
        """Raises `OSError` where the process is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except ValueError as error:  # closed by `wait`
            raise BrokenPipeError("The host has ended.") from error

    def read(self) -> Iterator[str]:
        assert self._process.stdout is not None
        yield from self._process.stdout

    def wait(self) -> str:
        """How the process ended, in words, once it has; for whoever has read to the end."""
        code = self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            with suppress(OSError):  # what was not sent is lost anyway
                pipe.close()
        if code == -signal.SIGKILL and not self._is_killed:
            self.lacked_memory = _oom_kills() > self._oom_kills_before
        if self.lacked_memory:
            return _LACKED_MEMORY
        return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"

    def kill(self) -> None:
        self._is_killed = True
        self._process.kill()
        self._process.wait()


def _oom_kills() -> int:
    """Processes of this control group that the kernel has killed for lack of memory; of the whole
    machine where groups do not tell.
    """
    for counts in (*_counts_of_group(), Path("/proc/vmstat")):
        with suppress(OSError):
            for line in counts.read_text().splitlines():
                if line.startswith("oom_kill "):
                    return int(line.split()[1])
    return 0


def _counts_of_group() -> Iterator[Path]:
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # cgroups of version 2
                yield Path(f"/sys/fs/cgroup{path}/memory.events")
            elif "memory" in controllers.split(","):
                yield Path(f"/sys/fs/cgroup/memory{path}/memory.oom_control")


class LocalLauncher:
    """Where it `keeps_spare`, `prepare` has a process import what the next host needs, which is
    most of its start; it then waits to be told of a base model.
    """

    def __init__(
        self,
        *,
        device: str,
        precision: str = "auto",
        threads: int | None,
        answering_share: float = 0.5,
        max_pass_tokens: int = 2048,
        keeps_spare: bool = False,
    ) -> None:
        self._device = device
        self._precision = precision
        self._answering_share = answering_share
        self._max_pass_tokens = max_pass_tokens
        # One core stays free: threads that share a core with others wait for each other at every
        # barrier, and a step then takes many times as long as with one thread fewer.
        self.threads = threads or max(1, (os.cpu_count() or 1) - 1)
        self._keeps_spare = keeps_spare
        self._spare: LocalHost | None = None

    def devices(self) -> tuple[Device, ...]:
        return find_devices(self._device)

    def prepare(self) -> None:
        if self._keeps_spare and self._spare is None:
            self._spare = self._begin()

    def launch(
        self,
        model_name: str,
        model_folder: Path,
        quantization: str | None = None,
        *,
        num_halvings: int = 0,
    ) -> LocalHost:
        spare, self._spare = self._spare, None
        host = spare if spare is not None and spare.is_alive else self._begin()
        model = HoldModel(
            name=model_name,
            folder=model_folder,
            device=self._device,
            precision=self._precision,
            quantization=quantization,
            threads=self.threads,
            answering_share=self._answering_share,
            max_pass_tokens=self._max_pass_tokens >> num_halvings,
        )
        with suppress(OSError):  # whoever reads from it hears that it is gone
            host.send(encode(model))
        return host

    def close(self) -> None:
        if self._spare is not None:
            self._spare.kill()

    def _begin(self) -> LocalHost:
        environment = {
            **ALLOCATOR,
            **CODE_CACHE,
            **os.environ,
            "OMP_NUM_THREADS": str(self.threads),
        }
        environment.update({"TOKENIZERS_PARALLELISM": "false", "HF_HUB_OFFLINE": "1"})
        for name in list(environment):
            if name.startswith("TUNESMITH_"):  # keys are no business of user data's process
                del environment[name]
        return LocalHost([sys.executable, "-m", "tunesmith.compute.host"], environment)
