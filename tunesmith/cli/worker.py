"""`worker`: an agent on a machine with devices."""

import os
import socket
import threading
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer

from tunesmith.cli import heap, leaving, tls
from tunesmith.cli.options import fail, load_settings, traced
from tunesmith.compute.local import LocalLauncher
from tunesmith.domain.errors import StaleAttempt, TunesmithError, Unauthenticated
from tunesmith.worker.client import Client
from tunesmith.worker.loop import WorkerSettings, work


def worker(
    server: Annotated[str | None, typer.Option("--server", help="The server's URL.")] = None,
    name: Annotated[
        str | None, typer.Option("--name", help="Stable and unique; by default the machine's.")
    ] = None,
    work_dir: Annotated[
        Path | None, typer.Option("--work-dir", help="Scratch folder for data and weights.")
    ] = None,
    device: Annotated[str | None, typer.Option("--device", help="auto, cpu, cuda or mps.")] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="Certificates (PEM) to know the server by.")
    ] = None,
    threads: Annotated[int | None, typer.Option("--threads", help="CPU threads of a host.")] = None,
    exit_with_parent: Annotated[bool, typer.Option("--exit-with-parent", hidden=True)] = False,
) -> None:
    """Train and answer for a server: needs a worker's key in TUNESMITH_API_KEY.

    Make one with `tunesmith keys create --scopes worker`.
    """
    settings = load_settings(
        url=server,
        worker_name=name,
        work_dir=work_dir,
        device=device,
        ca_file=ca_file,
        threads=threads,
    )
    if settings.api_key is None:
        fail(
            "Set TUNESMITH_API_KEY to a worker's key; the server makes one with "
            "`tunesmith keys create --scopes worker`."
        )
    heap.share_one_heap()
    is_leaving = leaving.on_signals(
        None  # whoever started it has said so
        if exit_with_parent
        else "Stopping: jobs store a checkpoint to go on from, answers come to their end; "
        f"{settings.worker_drain_seconds:g} s at most."
    )
    if exit_with_parent:
        threading.Thread(target=_die_with_parent, daemon=True).start()
    worker_name = settings.worker_name or socket.gethostname()
    default_dir = Path.home() / ".cache" / "tunesmith" / worker_name
    try:
        with traced(settings, "tunesmith-worker"):
            work(
                Client(
                    settings.url,
                    settings.api_key.get_secret_value(),
                    tls.context(settings.url, settings.ca_file),
                ),
                LocalLauncher(
                    device=settings.device,
                    precision=settings.precision,
                    threads=settings.threads,
                    answering_share=settings.answering_share,
                    max_pass_tokens=settings.max_pass_tokens,
                    keeps_spare=settings.spare_host,
                ),
                WorkerSettings(
                    name=worker_name,
                    version=version("tunesmith"),
                    work_dir=settings.work_dir or default_dir,
                    max_hosts=settings.max_hosts,
                    max_runs=settings.max_runs,
                    min_free_bytes=settings.min_free_bytes,
                    checkpoint_seconds=settings.checkpoint_seconds,
                    max_offline_seconds=settings.max_offline_seconds,
                    drain_seconds=settings.worker_drain_seconds,
                ),
                is_leaving,
            )
    except (Unauthenticated, StaleAttempt) as error:
        fail(error.message)
    except TunesmithError as error:
        fail(f"{settings.url}: {error.message}")


def _die_with_parent() -> None:
    """Standard input ends when the process that started us does, even by a kill.

    Nobody is there then to take a checkpoint: hosts see their own input end and go too.
    """
    # Not through sys.stdin: its lock, held in a daemon thread, would break the interpreter's end.
    while os.read(0, 1):
        pass
    os._exit(1)
