"""As much of Weights & Biases' server as the official library talks to when it logs a run."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Run:
    """`lines` are the rows of the history, by where the library said that they belong."""

    upserts: list[dict[str, Any]] = field(default_factory=list)
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    exit_code: int | None = None

    @property
    def steps(self) -> list[int]:
        return [self.lines[number]["_step"] for number in sorted(self.lines)]


@dataclass
class WandbServer:
    """`status` other than 200 is the answer to everything; `hangs` leaves all without one."""

    url: str = ""
    runs: dict[str, Run] = field(default_factory=dict)
    authorizations: set[str] = field(default_factory=set)
    status: int = 200
    stream_status: int = 200
    hangs: bool = False
    is_closing: threading.Event = field(default_factory=threading.Event)

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        if self.hangs:
            self.is_closing.wait(60)
        if self.status != 200:
            return self.status, {"errors": [{"message": "as the test wants it"}]}
        if path == "/graphql":
            return 200, {"data": self._graphql(body["query"], body.get("variables") or {})}
        if path.endswith("/file_stream"):
            if self.stream_status != 200:
                return self.stream_status, {}
            self._stream(self.runs.setdefault(path.split("/")[-2], Run()), body)
        return 200, {}

    def _graphql(self, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "me"}}
        name = variables.get("name")
        if "mutation UpsertBucket" in query:
            assert name is not None
            is_new = name not in self.runs
            run = self.runs.setdefault(name, Run())
            run.upserts.append(variables)
            return {"upsertBucket": {"bucket": _bucket(name, run, project), "inserted": is_new}}
        if "query RunResumeStatus" in query:
            there = self.runs.get(name or "")
            bucket = None if there is None else _bucket(name or "", there, project)
            return {"model": {**project, "bucket": bucket}}
        if "mutation CreateRunFiles" in query:
            return {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": []}}
        return {}

    def _stream(self, run: Run, body: dict[str, Any]) -> None:
        history = body.get("files", {}).get("wandb-history.jsonl")
        if history is not None:
            for number, line in enumerate(history["content"], start=history["offset"]):
                assert number not in run.lines, "a line was sent twice"
                run.lines[number] = json.loads(line)
        if body.get("complete"):
            run.exit_code = body["exitcode"]


def _bucket(name: str, run: Run, project: dict[str, Any]) -> dict[str, Any]:
    tail = [json.dumps(run.lines[number]) for number in sorted(run.lines)[-1:]]
    return {
        "id": f"id-of-{name}",
        "name": name,
        "displayName": name,
        "description": None,
        "config": "{}",
        "sweepName": None,
        "summaryMetrics": tail[0] if tail else "{}",
        "logLineCount": 0,
        "historyLineCount": len(run.lines),
        "eventsLineCount": 0,
        "historyTail": json.dumps(tail),
        "eventsTail": "[]",
        "tags": run.upserts[0]["tags"] if run.upserts else [],
        "notes": None,
        "wandbConfig": '{"t": 1}',
        "project": project,
    }


@contextmanager
def wandb_serving() -> Iterator[WandbServer]:
    wandb = WandbServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            wandb.authorizations.add(self.headers.get("Authorization") or "")
            status, answer = wandb.answer(self.path, json.loads(body or b"{}"))
            content = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    wandb.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield wandb
    wandb.is_closing.set()
    server.shutdown()
    server.server_close()
    thread.join()
