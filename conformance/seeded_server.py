"""The service, with whatever OpenAI's suite takes for granted; run as a program.

The suite names objects that only the original has, such as `file-abc123`. Before each test the
harness makes fresh ones of its own, mostly through the public API, and an ASGI wrapper puts their
ids in the place of the suite's: in paths, in query strings and in the strings of JSON bodies. So
the service is the shipped one, wired by `tunesmith.app`, with a real worker that trains what the
tests create and answers what they ask; it does not know that it is tested.
"""

import json
import socket
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlencode
from uuid import UUID

import httpx
import uvicorn
from fastapi import FastAPI, Request, Response
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.contract.openai.support import EXAMPLES
from tests.contract.worker import Worker
from tunesmith import app as application
from tunesmith.cli import logs
from tunesmith.cli.serve import LocalWorker
from tunesmith.dialects import openai
from tunesmith.dialects.openai import schemas_jobs, translate, translate_jobs
from tunesmith.domain.jobs import JobFilter
from tunesmith.domain.paging import PageRequest
from tunesmith.http import Foundation
from tunesmith.services import accounts, jobs, pausing
from tunesmith.services.context import Context
from tunesmith.settings import Settings
from tunesmith.store.database import Store

KEY = "My API Key"  # may administer, for Python asks for permissions with it, too
ALIASES = ("gpt-4o-mini", "gpt-6-astra", "gpt-3.5-turbo-instruct", "text-embedding-3-small")
PART = "string"
JOB = "ft-AF1WoRqd3aJAHsqc9NY7iL8F"  # and, for permissions, a checkpoint
CONTENT = b"Example data"


class StandIns:
    """Pure ASGI: the ids of ours that stand for those of the suite."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.ids: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.ids:
            await self._app(scope, receive, send)
            return
        path = [self.ids.get(part, part) for part in map(unquote, scope["path"].split("/"))]
        query = parse_qsl(scope["query_string"].decode(), keep_blank_values=True)
        scope = {
            **scope,
            "path": "/".join(path),
            "raw_path": "/".join(quote(part, safe=":@") for part in path).encode(),
            "query_string": urlencode([(k, self.ids.get(v, v)) for k, v in query]).encode(),
        }
        headers = dict(scope["headers"])
        if headers.get(b"content-type", b"").startswith(b"application/json"):
            body = self._replaced(await _body_of(receive))
            headers[b"content-length"] = str(len(body)).encode()
            scope["headers"] = list(headers.items())
            receive = _giving(body, receive)
        await self._app(scope, receive, send)

    def _replaced(self, body: bytes) -> bytes:
        return json.dumps(self._in(json.loads(body))).encode() if body else body

    def _in(self, value: Any) -> Any:
        match value:
            case dict():
                return {key: self._in(item) for key, item in value.items()}
            case list():
                return [self._in(item) for item in value]
            case str():
                return self.ids.get(value, value)
            case _:
                return value


async def _body_of(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def _giving(body: bytes, receive: Receive) -> Receive:
    is_given = False

    async def give() -> Message:
        nonlocal is_given
        if is_given:
            return await receive()
        is_given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give


class Seeds:
    """Makes what a test takes for granted."""

    def __init__(self, url: str, foundation: Foundation) -> None:
        self._foundation = foundation
        self._http = httpx.Client(
            base_url=f"{url}/v1", headers={"Authorization": f"Bearer {KEY}"}, timeout=60
        )

    def make(self, test: str, names: list[str]) -> dict[str, str]:
        """Our ids by the suite's, for a test whose source has these names."""
        self._end_what_runs()
        ids: dict[str, str] = {}
        is_of_checkpoints = "test_permissions" in test  # where a job's id stands for one, too
        needs_model = is_of_checkpoints or any(name.startswith("ft:") for name in names)
        tuned_model = self._tuned_model() if needs_model else ""
        for name in names:
            match name.partition("-")[0]:
                case "ft" if "test_checkpoints" in test:
                    ids[name] = self._trained_job()
                case "ft" if not is_of_checkpoints:
                    ids[name] = self._job(is_paused="resume" in test)
                case "ft" | "ft:gpt":
                    ids[name] = tuned_model
                case "file" | "file_id":
                    ids[name] = self._file()
                case "upload_abc123":
                    ids[name] = self._upload()
                    if "complete" in test:
                        ids[PART] = self._part(ids[name])
                case "after":
                    ids[name] = self._last_seen(test, ids.get(JOB, ""))
                case _:
                    ids[name] = self._permission(tuned_model)
        return ids

    def _last_seen(self, test: str, job: str) -> str:
        """An item of the list that the test goes on with."""
        if "test_permissions" in test:
            return self._permission(job, project="project_id")
        if "test_checkpoints" in test:
            return self._first_of(f"/fine_tuning/jobs/{job}/checkpoints")
        if "list_events" in test:
            return self._first_of(f"/fine_tuning/jobs/{job}/events")
        if "test_jobs" in test:
            return self._job(metadata={"foo": "string"})
        return self._file()

    def _end_what_runs(self) -> None:
        """What an earlier test left in the queue would keep the worker from answering this one."""
        with self._foundation.database.write() as store:
            ctx = self._context(store)
            for job in jobs.list_(ctx, PageRequest(limit=100), JobFilter()).items:
                if not job.status.is_final:
                    jobs.stop(ctx, job.id)

    def _file(self) -> str:
        part = {"file": ("train.jsonl", EXAMPLES)}
        return self._made("/files", data={"purpose": "fine-tune"}, files=part)

    def _job(self, *, is_paused: bool = False, metadata: dict[str, str] | None = None) -> str:
        file = self._file()
        with self._foundation.database.write() as store:
            job_id = self._create(store, file, metadata)
            worker = self._worker(store)
            assignment = worker.start(job_id)
            if is_paused:
                pausing.pause(self._context(store), job_id)
                worker.let_go(assignment, step=1)
        return translate.outer_id("ftjob-", job_id)

    def _trained_job(self) -> str:
        file = self._file()
        with self._foundation.database.write() as store:
            job_id = self._create(store, file)
            self._worker(store).train(job_id)
        return translate.outer_id("ftjob-", job_id)

    def _tuned_model(self) -> str:
        answer = self._http.get(f"/fine_tuning/jobs/{self._trained_job()}")
        return str(answer.raise_for_status().json()["fine_tuned_model"])

    def _first_of(self, path: str) -> str:
        return str(self._http.get(path).raise_for_status().json()["data"][0]["id"])

    def _permission(self, checkpoint: str, project: str = "string") -> str:
        answer = self._http.post(
            f"/fine_tuning/checkpoints/{checkpoint}/permissions",
            json={"project_ids": [project]},
        )
        return str(answer.raise_for_status().json()["data"][0]["id"])

    def _upload(self) -> str:
        body = {"bytes": len(CONTENT), "filename": "example.txt", "mime_type": "text/plain"}
        return self._made("/uploads", json={**body, "purpose": "assistants"})

    def _part(self, upload: str) -> str:
        return self._made(f"/uploads/{upload}/parts", files={"data": ("part", CONTENT)})

    def _made(self, path: str, **content: Any) -> str:
        return str(self._http.post(path, **content).raise_for_status().json()["id"])

    def _create(self, store: Store, file: str, metadata: dict[str, str] | None = None) -> UUID:
        body = schemas_jobs.CreateJob(model=application.TINY, training_file=file, metadata=metadata)
        return jobs.create(self._context(store), translate_jobs.new_job(body, None)).id

    def _worker(self, store: Store) -> Worker:
        """One that does all in this transaction: the real worker must not come in between."""
        database = SimpleNamespace(write=lambda: nullcontext(store))
        house = self._foundation.house
        return Worker(SimpleNamespace(database=database, blobs=house.blobs, now=house.now))

    def _context(self, store: Store) -> Context:
        house = self._foundation.house
        organization, key = accounts.authenticate(store, KEY, house.now())
        return Context(store=store, house=house, organization=organization, key=key)


def main(folder: Path) -> None:
    """Serve until killed, and write the address to `url` in the folder."""
    logs.set_up("warning")
    settings = Settings(data_dir=folder, admin_key=SecretStr(KEY), port=0, threads=1)
    service = application.build(settings).asgi
    foundation = _foundation_of(service)
    with foundation.database.write() as store:
        base = store.models.find_base(application.TINY)
        assert base is not None
        store.models.put_base(replace(base, aliases=ALIASES))
    stand_ins = StandIns(service)
    harness = FastAPI(openapi_url=None, lifespan=lambda _: service.router.lifespan_context(service))

    @harness.post("/seed")
    async def seed(request: Request) -> Response:
        asked = await request.json()
        stand_ins.ids = {}
        stand_ins.ids = await run_in_threadpool(seeds.make, asked["test"], asked["names"])
        return Response(status_code=204)

    harness.mount("/", stand_ins)
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    seeds = Seeds(url, foundation)
    server = uvicorn.Server(uvicorn.Config(harness, log_level="warning", ws_max_size=2**26))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    worker = LocalWorker(url, settings)
    while thread.is_alive():
        worker.keep_running()
        if server.started and not (folder / "url").exists() and _num_workers(url):
            (folder / "url").write_text(url)
        time.sleep(0.2)
    worker.stop()


def _num_workers(url: str) -> int:
    return int(httpx.get(f"{url}/readyz").json().get("workers", 0))


def _foundation_of(service: FastAPI) -> Foundation:
    (mount,) = [route for route in service.routes if getattr(route, "path", "") == openai.PREFIX]
    foundation: Foundation = mount.app.state.foundation
    return foundation


if __name__ == "__main__":
    main(Path(sys.argv[1]))
