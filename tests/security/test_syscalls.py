"""What the kernel sees: asked for any path, a server opens its own files, and calls nobody."""

import http.client
import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tests.e2e.service import ADMIN_KEY, Service, wait_until
from tests.security.test_addresses import SCHEMES
from tests.security.test_import_folder import SECRET, forms
from tunesmith.app import TINY
from tunesmith.dashboard import files as dashboard

CALLS = "open,openat,openat2,creat,connect"
OPENED = re.compile(r"\) += \d+<(?P<path>/[^>]*)>")  # links resolved
NAMES = (
    *("../../outside.jsonl", "../../../etc/passwd", "/etc/passwd", "//etc/passwd", "....//a"),
    *("..\\..\\outside.jsonl", "file:///etc/passwd", "~/outside.jsonl", "a/../../outside.jsonl"),
)
PLACES = (
    *("/v1/files/{}", "/v1/files/{}/content", "/v1/models/{}", "/v1/models/{}/files/config.json"),
    *("/v1/models/tunesmith-tiny/files/{}", "/fleet/v1/blobs/{}"),
    *("/fleet/v1/base-models/{}?name=tunesmith-tiny", "/fleet/v1/base-models/config.json?name={}"),
    *("/api/v1/datasets/{}", "/dashboard/{}", "/{}", "/docs/{}"),
)


class Asker:
    """Sends paths as they are, without a client's tidying."""

    def __init__(self, url: str) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.close = self._connection.close

    def ask(self, method: str, path: str, body: object = None, content_type: str = "") -> bytes:
        headers = {"Authorization": f"Bearer {ADMIN_KEY}", "Content-Type": content_type}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._connection.request(method, path, body=content, headers=headers)
        return self._connection.getresponse().read()

    def import_dataset(self, path: str) -> bytes:
        body = {"name": "a", "baseModel": "tunesmith-tiny", "trainingDataset": path}
        return self.ask("POST", "/api/v1/fine-tuning/jobs", body, "application/json")


@contextmanager
def watched(pid: int, log: Path) -> Iterator[None]:
    """The system calls of a process and of those that it begins."""
    command = ["strace", "-f", "-y", "-e", f"trace={CALLS}", "-o", str(log), "-p", str(pid)]
    tracer = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert tracer.stderr is not None
    if "attached" not in tracer.stderr.readline():
        tracer.wait()
        pytest.skip("this system lets nobody trace another process")
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait()
        tracer.stderr.close()


def ask_everywhere(asker: Asker, folder: Path) -> None:
    for path in forms(folder)[::4]:
        asker.import_dataset(path)
    for name in NAMES:
        for place in PLACES:
            for written in (name, quote(name, safe=""), quote(quote(name, safe=""), safe="")):
                asker.ask("GET", place.format(written))
        form = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n\r\n'
        form += '{}\r\n--b\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nfine-tune'
        content = f"{form}\r\n--b--\r\n".encode()
        asker.ask("POST", "/v1/files", content, "multipart/form-data; boundary=b")
    for url in (*SCHEMES, "http://127.0.0.1:9/", "http://169.254.169.254/latest/meta-data"):
        asker.ask("POST", "/admin/v1/webhooks", {"url": url}, "application/json")


@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
def test_no_file_outside_is_opened_and_nobody_is_called(tmp_path: Path) -> None:
    folder, data_dir, log = tmp_path / "import", tmp_path / "data", tmp_path / "calls"
    folder.mkdir()
    (tmp_path / "outside.jsonl").write_bytes(SECRET)
    (folder / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (folder / "links").symlink_to(tmp_path)
    (folder / "good.jsonl").write_bytes(b'{"messages": []}\n')
    service = Service(data_dir, "server", import_dir=str(folder))
    service.start()
    try:
        assert service.process is not None
        with closing(Asker(service.url)) as asker, watched(service.process.pid, log):
            ask_everywhere(asker, folder)
            asker.import_dataset("good.jsonl")
            wait_until(lambda: str(folder / "good.jsonl") in log.read_text(), "it to be seen")
    finally:
        service.stop()
    lines = log.read_text().splitlines()
    opened = {Path(found["path"]) for line in lines if (found := OPENED.search(line))}
    own = (data_dir, folder, TINY, dashboard.FOLDER)
    outside = {path for path in opened if not any(path.is_relative_to(place) for place in own)}
    assert {path for path in outside if not _is_code(path)} == set()
    assert [line for line in lines if "connect(" in line] == []


def _is_code(path: Path) -> bool:
    """Imported late, on the way to an answer."""
    places = {Path(place).resolve() for place in (sys.prefix, sys.base_prefix, *sys.path) if place}
    is_code = path.suffix in (".py", ".pyc", ".so") or path.name == "__pycache__" or path.is_dir()
    return is_code and any(path.is_relative_to(place) for place in places)
