"""A live server for contract tests: all of the house but the machines that train and answer."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import uvicorn
from fastapi import FastAPI

from tunesmith.dialects import admin, cloudflare, openai, platform
from tunesmith.domain.accounts import (
    USER_SCOPES,
    Key,
    Organization,
    Scope,
    digest_of,
    new_secret,
    visible_prefix_of,
)
from tunesmith.domain.assignments import (
    EmbedRequest,
    Likely,
    SampleOutput,
    SamplePart,
    SampleRequest,
    TokenLogprob,
    ToolCall,
)
from tunesmith.domain.catalog import BaseModel
from tunesmith.http import Foundation, JsonLimit, mount
from tunesmith.services.context import House
from tunesmith.services.limits import Limiter
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Database
from tunesmith.wire.request_log import RequestIds

BASE = "acme/tiny-1b"
ALIAS = "tiny"
DEVICE_PRICES = {"cpu": 0.6, "NVIDIA H200": 3.5}
MAX_UPLOAD_BYTES = 4 * 1024 * 1024
MAX_MULTIPART_UPLOAD_BYTES = 80 * 1024 * 1024

Step = SampleOutput | Exception | float  # a part, a failure, or a pause in seconds
EMBEDDING = (3.0, 0.0, 4.0)


def delta(request: SampleRequest, text: str, *logprobs: TokenLogprob) -> SampleOutput:
    return SampleOutput(
        request_id=request.request_id,
        part=SamplePart.DELTA,
        text=text,
        logprobs=logprobs,
        completion_tokens=1,
    )


def echo(request: SampleRequest, *logprobs: TokenLogprob) -> SampleOutput:
    return SampleOutput(
        request_id=request.request_id,
        part=SamplePart.DELTA,
        text=request.prompt or "On",
        logprobs=logprobs,
    )


def token(text: str | bytes, logprob: float | None, **top: float) -> TokenLogprob:
    content = text.encode() if isinstance(text, str) else text
    return TokenLogprob(
        token=content.decode(errors="replace"),
        token_bytes=tuple(content),
        logprob=logprob,
        top=tuple(
            Likely(token=other, token_bytes=tuple(other.encode()), logprob=value)
            for other, value in top.items()
        ),
    )


def called(request: SampleRequest, name: str, arguments: str, index: int = 0) -> SampleOutput:
    return SampleOutput(
        request_id=request.request_id,
        part=SamplePart.TOOL_CALL,
        tool_call=ToolCall(index=index, name=name, arguments=arguments),
    )


def done(request: SampleRequest, reason: str = "stop") -> SampleOutput:
    return SampleOutput(
        request_id=request.request_id,
        part=SamplePart.DONE,
        finish_reason=reason,
        prompt_tokens=7,
        completion_tokens=3,
    )


def failed(request: SampleRequest | EmbedRequest, code: str, message: str) -> SampleOutput:
    return SampleOutput(
        request_id=request.request_id, part=SamplePart.FAILED, code=code, message=message
    )


def say_hello(request: SampleRequest) -> list[Step]:
    return [delta(request, "Hel"), delta(request, "lo"), done(request)]


def embedded(request: EmbedRequest, *embedding: float) -> SampleOutput:
    return SampleOutput(
        request_id=request.request_id,
        part=SamplePart.EMBEDDING,
        embedding=embedding or EMBEDDING,
        prompt_tokens=2,
    )


@dataclass
class ScriptedSampler:
    """A `Sampler` that says what a test wrote down, and remembers what it was asked."""

    script: Callable[[SampleRequest], Iterable[Step]] = say_hello
    embedding_script: Callable[[EmbedRequest], Step] = embedded
    requests: list[SampleRequest] = field(default_factory=list)
    embed_requests: list[EmbedRequest] = field(default_factory=list)
    num_cancelled: int = 0
    is_busy: bool = False

    def reset(self) -> None:
        self.script, self.requests, self.num_cancelled = say_hello, [], 0
        self.embedding_script, self.embed_requests = embedded, []
        self.is_busy = False

    async def embed(self, request: EmbedRequest) -> SampleOutput:
        self.embed_requests.append(request)
        step = self.embedding_script(request)
        if isinstance(step, float):
            try:
                await asyncio.sleep(step)
            except asyncio.CancelledError:
                self.num_cancelled += 1
                raise
            return embedded(request)
        if isinstance(step, Exception):
            raise step
        return step

    async def sample(self, request: SampleRequest) -> AsyncIterator[SampleOutput]:
        self.requests.append(request)
        is_over = False
        try:
            for step in self.script(request):
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                    continue
                is_over = step.part in (SamplePart.DONE, SamplePart.FAILED)
                yield step
        finally:
            self.num_cancelled += not is_over


@dataclass(frozen=True, kw_only=True)
class Caller:
    organization: Organization
    secret: str


class Server:
    """Runs until `close`. Tests share it, each with an organization of its own."""

    def __init__(
        self, folder: Path, limiter: Limiter | None = None, url: str | None = None
    ) -> None:
        """`url` is of the database: by default SQLite, in the folder."""
        self.sampler = ScriptedSampler()
        self.database = Database(url or f"sqlite:///{folder / 'tunesmith.db'}")
        self.database.upgrade()
        self.blobs = Blobs(folder / "blobs")
        self.incoming = folder / "blobs" / "incoming"
        self.ahead = timedelta()  # of the true time
        self.house = House(
            blobs=self.blobs,
            sampler=self.sampler,
            now=self.now,
            device_prices=DEVICE_PRICES,
        )
        foundation = Foundation(database=self.database, house=self.house)
        self.openai_app = openai.build(
            foundation,
            max_upload_bytes=MAX_UPLOAD_BYTES,
            max_multipart_upload_bytes=MAX_MULTIPART_UPLOAD_BYTES,
            results_as_base64=True,
            limiter=limiter,
        )
        self.cloudflare_app = cloudflare.build(
            foundation, openai_app=self.openai_app, limiter=limiter
        )
        app = FastAPI(openapi_url=None)
        self.import_dir = folder / "import"
        self.import_dir.mkdir()
        self.platform_app = platform.build(
            foundation,
            max_upload_bytes=MAX_UPLOAD_BYTES,
            import_dir=self.import_dir,
            chat_app=self.openai_app,
            file_id_of=openai.translate.find_file_id,
            short_id_of=openai.translate.short_id_in,
        )
        mount(app, openai.PREFIX, self.openai_app)
        mount(app, admin.PREFIX, admin.build(foundation, webhooks_allow_private=False))
        mount(app, cloudflare.PREFIX, self.cloudflare_app)
        mount(app, platform.PREFIX, self.platform_app)
        app.add_middleware(JsonLimit)
        app.add_middleware(RequestIds)
        self._offer_base()
        self._serve(app)

    def now(self) -> datetime:
        return now() + self.ahead

    def new_caller(
        self,
        scopes: frozenset[Scope] = USER_SCOPES,
        slug: str | None = None,
        email: str | None = None,
    ) -> Caller:
        slug = slug or f"acme-{uuid4().hex[:16]}"
        organization = Organization(id=uuid4(), name="Acme", slug=slug, created_at=now())
        secret = new_secret()
        key = _key(organization, secret, scopes, email)
        with self.database.write() as store:
            store.accounts.add_organization(organization)
            store.accounts.add_key(key)
        return Caller(organization=organization, secret=secret)

    def new_key(self, caller: Caller, scopes: frozenset[Scope] = USER_SCOPES) -> Caller:
        """Another key of the same organization."""
        secret = new_secret()
        with self.database.write() as store:
            store.accounts.add_key(_key(caller.organization, secret, scopes))
        return Caller(organization=caller.organization, secret=secret)

    def close(self) -> None:
        self._server.should_exit = True
        self._thread.join()
        self.database.close()

    def _offer_base(self) -> None:
        model = BaseModel(
            name=BASE,
            aliases=(ALIAS,),
            folder="/nowhere",
            source="test",
            num_parameters=1_000,
            context_tokens=512,
            created_at=now(),
        )
        with self.database.write() as store:
            store.models.put_base(model)

    def _serve(self, app: FastAPI) -> None:
        config = uvicorn.Config(app, port=0, log_level="critical", ws="none", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.005)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.host, self.port = "127.0.0.1", port
        self.url = f"http://{self.host}:{port}"


def _key(
    organization: Organization, secret: str, scopes: frozenset[Scope], email: str | None = None
) -> Key:
    return Key(
        id=uuid4(),
        organization_id=organization.id,
        name="test",
        visible_prefix=visible_prefix_of(secret),
        digest=digest_of(secret),
        scopes=scopes,
        created_at=now(),
        expires_at=None,
        email=email,
    )


def now() -> datetime:
    return datetime.now(UTC)
