"""`serve` (server, worker and host on this machine) and `server` (alone)."""

import os
import socket
import subprocess
import sys
import threading
import time
import webbrowser
from pathlib import Path
from typing import Annotated

import structlog
import typer
import uvicorn
from rich.text import Text

from tunesmith import app as application
from tunesmith.cli import heap, leaving
from tunesmith.cli.options import DataDir, fail, load_settings, traced
from tunesmith.cli.output import Console
from tunesmith.cli.ownership import DataFolderInUse, announce, owned
from tunesmith.settings import Settings
from tunesmith.wire.connections import GuardedProtocol

log = structlog.get_logger()

Host = Annotated[str | None, typer.Option("--host", help="Address to listen on.")]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate chain (PEM).")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="Its private key (PEM).")]
Port = Annotated[int | None, typer.Option("--port", help="Port to listen on; 0 takes a free one.")]

_CLOSING_SECONDS = 2  # for connections, once there is nothing more to say on them
_WORKER_CLOSING_SECONDS = 15.0  # beyond the time that it has, to tell the server
_RESTART_SECONDS = 1.0


def serve(
    host: Host = None,
    port: Port = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    data_dir: DataDir = None,
) -> None:
    """Run everything on this machine: server, worker and, once needed, a host. Ctrl-C ends it."""
    switches = {"host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    _run(load_settings(**switches, data_dir=data_dir), has_worker=True)


def up(
    host: Host = None,
    port: Port = None,
    browser: Annotated[bool, typer.Option(help="Open the dashboard in a browser.")] = True,
    data_dir: DataDir = None,
) -> None:
    """Run everything on this machine, as `serve` does, and open the dashboard in a browser."""
    settings = load_settings(host=host, port=port, data_dir=data_dir)
    _run(settings, has_worker=True, opens_browser=browser)


def server(
    host: Host = None,
    port: Port = None,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
    data_dir: DataDir = None,
) -> None:
    """Run the server alone; start workers with `tunesmith worker --server URL`."""
    switches = {"host": host, "port": port, "tls_cert": tls_cert, "tls_key": tls_key}
    _run(load_settings(**switches, data_dir=data_dir), has_worker=False)


def _run(settings: Settings, *, has_worker: bool, opens_browser: bool = False) -> None:
    if (settings.tls_cert is None) != (settings.tls_key is None):
        fail("TLS needs both: --tls-cert and --tls-key.")
    heap.share_one_heap()
    is_leaving = leaving.on_signals(
        "Stopping: what is under way comes to its end"
        + (", jobs store a checkpoint." if has_worker else "; workers train on.")
    )
    try:
        with owned(settings.data_dir), traced(settings, "tunesmith-server"):
            _serve_until(is_leaving, settings, has_worker=has_worker, opens_browser=opens_browser)
    except DataFolderInUse as error:
        where = f" at {error.url}" if error.url else ""
        fail(f"{error}{where}. Stop it first, or choose another --data-dir.")


def _serve_until(
    is_leaving: threading.Event, settings: Settings, *, has_worker: bool, opens_browser: bool
) -> None:
    listener = _listen(settings)
    built = application.build(settings)
    config = uvicorn.Config(
        built.asgi,
        log_config=None,
        access_log=False,
        server_header=False,
        http=GuardedProtocol,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
        ws_max_size=64 * 1024 * 1024,
    )
    http = uvicorn.Server(config)
    thread = threading.Thread(target=http.run, kwargs={"sockets": [listener]}, name="http")
    thread.start()
    while not http.started and thread.is_alive():
        time.sleep(0.02)
    if not http.started:
        fail("The server did not start; its log says why.")
    scheme = "http" if settings.tls_cert is None else "https"
    url = f"{scheme}://{_reachable_host(settings.host)}:{listener.getsockname()[1]}"
    announce(settings.data_dir, url, settings.tls_cert)
    _greet(url, settings, built.first_key)
    if opens_browser and not webbrowser.open(url):
        typer.echo(f"No browser was found here; open {url} yourself.", err=True)
    worker = LocalWorker(url, settings) if has_worker else None
    while not is_leaving.wait(0.2) and thread.is_alive():
        if worker is not None:
            worker.keep_running()
    built.draining.begin()
    while thread.is_alive() and not built.draining.is_done.wait(0.2):
        pass
    if worker is not None:
        worker.stop()  # while the server still answers, so that it can hand back its job
    http.should_exit = True
    thread.join()


def _listen(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
    except OSError as error:
        fail(
            f"Cannot listen on {settings.host}:{settings.port} ({error.strerror}). "
            "Is another server running? Choose another --port."
        )
    return listener


def _reachable_host(host: str) -> str:
    if host in ("0.0.0.0", "::"):
        return "127.0.0.1"
    return f"[{host}]" if ":" in host else host


def _greet(url: str, settings: Settings, first_key: str | None) -> None:
    console = Console()
    console.print(Text("Tunesmith", "bold"), f"at {url}  (data in {settings.data_dir})")
    if first_key is not None:
        console.print("Admin key, shown this once:")
        console.print(first_key, soft_wrap=True)
    else:
        place = settings.data_dir / application.ADMIN_KEY_FILE
        console.print(f"The admin key is in {place}.", soft_wrap=True)
    console.print(f"Programs that speak OpenAI's API: OPENAI_BASE_URL={url}/v1")
    console.print("Ctrl-C stops it; jobs go on when it is started again.")
    sys.stdout.flush()


class LocalWorker:
    """The worker beside the server, started again whenever it ends."""

    def __init__(self, url: str, settings: Settings) -> None:
        key = (settings.data_dir / application.WORKER_KEY_FILE).read_text().strip()
        self._command = [sys.executable, "-m", "tunesmith", "worker", "--exit-with-parent"]
        self._environment = {
            **os.environ,
            "TUNESMITH_URL": url,
            "TUNESMITH_API_KEY": key,
            "TUNESMITH_WORKER_NAME": "local",
            "TUNESMITH_WORK_DIR": str((settings.data_dir / "worker").resolve()),
        }
        if settings.tls_cert is not None:  # it trusts what this very machine serves
            self._environment["TUNESMITH_CA_FILE"] = str(settings.tls_cert.resolve())
        for secret in ("TUNESMITH_ADMIN_KEY", "TUNESMITH_WANDB_API_KEY"):
            self._environment.pop(secret, None)
        self._grace_seconds = settings.worker_drain_seconds + _WORKER_CLOSING_SECONDS
        self._process: subprocess.Popen[bytes] | None = None
        self._may_start_at = 0.0

    def keep_running(self) -> None:
        if self._process is not None and self._process.poll() is not None:
            log.warning("worker ended", code=self._process.returncode)
            self._process = None
            self._may_start_at = time.monotonic() + _RESTART_SECONDS
        if self._process is None and time.monotonic() >= self._may_start_at:
            # Its standard input is the sign of life of this process, which may be killed.
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.PIPE,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Let it finish its step and store a checkpoint."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(self._grace_seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
