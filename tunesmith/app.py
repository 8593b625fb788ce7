"""The only place that wires: settings -> store, fleet, dialects -> one ASGI app."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.middleware.cors import CORSMiddleware

import tunesmith
from tunesmith.dashboard import files as dashboard
from tunesmith.dialects import admin, cloudflare, openai, platform
from tunesmith.domain.accounts import USER_SCOPES, Scope, new_secret
from tunesmith.domain.adapters import AdapterLimits
from tunesmith.fleet import housekeeping, routes
from tunesmith.fleet.hub import Hub
from tunesmith.http import Foundation, JsonLimit, mount
from tunesmith.operations import exposition, health, retention_rounds
from tunesmith.operations.draining import CountRequests, Draining
from tunesmith.outbox import wandb_runs, webhooks
from tunesmith.outbox.sending import CheckedNetwork, Sender
from tunesmith.services import accounts, weights
from tunesmith.services.context import House
from tunesmith.services.failures import FailureLimit
from tunesmith.services.limits import Limiter, Unit
from tunesmith.services.retention import Policy
from tunesmith.settings import Settings
from tunesmith.store.blobs import Blobs
from tunesmith.store.clock import Clock
from tunesmith.store.database import Database, Store
from tunesmith.wire.guards import SecurityHeaders
from tunesmith.wire.request_log import RequestIds

TINY = "tunesmith-tiny"
TINY_FOLDER = Path(tunesmith.__file__).parent / "assets" / TINY
TINY_SOURCE = "shipped with Tunesmith"
TINY_LEARNING_RATE = 2e-3  # small models want larger steps; chosen on the demo's data

ADMIN_KEY_FILE = "local-admin.key"
WORKER_KEY_FILE = "local-worker.key"
ALL_SCOPES = USER_SCOPES | {Scope.ADMIN, Scope.WORKER, Scope.OPERATOR}


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """`first_key` is the admin key that was made on this start, to be shown this once."""

    asgi: FastAPI
    draining: Draining
    first_key: str | None


def build(settings: Settings) -> Application:
    """Open the data folder, bring it up to date, and wire everything that answers requests."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    database = Database(database_url(settings))
    database.upgrade()
    clock = Clock(database)
    hub = Hub(settings.max_worker_wait_seconds)
    house = House(
        blobs=Blobs(settings.data_dir / "blobs", settings.min_free_bytes),
        sampler=hub,
        now=clock,
        device_prices=settings.device_prices,
        adapter_limits=_adapter_limits(settings),
    )
    foundation = Foundation(
        database=database,
        house=house,
        failures=FailureLimit(settings.bad_keys_per_minute),
        max_uploads=settings.max_concurrent_uploads,
        announce=hub.announce,
    )
    with database.write() as store:
        first_key = _ensure_keys(store, settings)
        _offer_tiny(store)
    checked = health.Health(
        foundation, hub, data_dir=settings.data_dir, floor_bytes=settings.min_free_bytes
    )
    draining = Draining(foundation, hub, settings.drain_seconds)
    lifespan = _lifespan(foundation, settings, hub, checked, draining, clock)
    app = FastAPI(openapi_url=None, lifespan=lifespan)
    limiter = _limiter(settings)
    openai_app = openai.build(
        foundation,
        max_upload_bytes=settings.max_upload_bytes,
        max_multipart_upload_bytes=settings.max_multipart_upload_bytes,
        results_as_base64=settings.results_as_base64,
        limiter=limiter,
    )
    admin_app = admin.build(foundation, webhooks_allow_private=settings.webhooks_allow_private)
    mount(app, openai.PREFIX, openai_app)
    cloudflare_app = cloudflare.build(foundation, openai_app=openai_app, limiter=limiter)
    mount(app, cloudflare.PREFIX, cloudflare_app)
    platform_app = platform.build(
        foundation,
        max_upload_bytes=settings.max_upload_bytes,
        import_dir=settings.import_dir,
        chat_app=openai_app,
        file_id_of=openai.translate.find_file_id,
        short_id_of=openai.translate.short_id_in,
    )
    mount(app, platform.PREFIX, platform_app)
    mount(app, admin.PREFIX, admin_app)
    mount(app, routes.PREFIX, routes.build(foundation, hub))
    health.add_routes(app, checked)
    app.router.routes.extend(dashboard.routes())
    app.add_middleware(JsonLimit)
    if settings.cors_origins:
        app.add_middleware(CORSMiddleware, **_cors(settings.cors_origins))
    app.add_middleware(SecurityHeaders)
    app.add_middleware(RequestIds)
    app.add_middleware(CountRequests, draining=draining, is_spared=_is_ours)
    return Application(asgi=app, draining=draining, first_key=first_key)


def _is_ours(path: str) -> bool:
    """Asked by workers and by who looks after this server, not by those whom it serves."""
    return path.startswith(routes.PREFIX) or path in health.PATHS


def _adapter_limits(settings: Settings) -> AdapterLimits:
    return AdapterLimits(
        max_per_organization=settings.max_adapters,
        max_file_bytes=settings.max_adapter_bytes,
        max_rank=settings.max_adapter_rank,
        allows_public=settings.public_adapters,
    )


def _cors(origins: str) -> dict[str, Any]:
    """Keys go in headers and never in cookies, so browsers need send none."""
    return {
        "allow_origins": [origin.strip() for origin in origins.split(",")],
        "allow_methods": ["GET", "POST", "PUT", "PATCH", "DELETE"],
        "allow_headers": ["authorization", "content-type", "x-api-key"],
        "expose_headers": ["x-request-id", "retry-after"],
    }


def retention_policy(settings: Settings) -> Policy:
    return Policy(
        checkpoint_days=settings.retention_checkpoint_days,
        checkpoints_kept=settings.retention_checkpoints_kept,
        event_days=settings.retention_event_days,
    )


def _limiter(settings: Settings) -> Limiter:
    per_minute = {
        Unit.REQUESTS: settings.requests_per_minute,
        Unit.TOKENS: settings.tokens_per_minute,
    }
    per_key = {
        Unit.REQUESTS: settings.key_requests_per_minute,
        Unit.TOKENS: settings.key_tokens_per_minute,
    }
    return Limiter(_given(per_minute), per_key=_given(per_key))


def _given(limits: dict[Unit, int | None]) -> dict[Unit, int]:
    return {unit: limit for unit, limit in limits.items() if limit is not None}


def database_url(settings: Settings) -> str:
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{(settings.data_dir / 'tunesmith.db').resolve()}"


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _ensure_keys(store: Store, settings: Settings) -> str | None:
    """The operator's first key, and those with which this machine's own processes come in."""
    now = _utc_now()
    made = None
    if settings.admin_key is not None:
        secret = settings.admin_key.get_secret_value()
        accounts.ensure_key(store, name="admin", scopes=ALL_SCOPES, secret=secret, now=now)
    elif not accounts.has_keys(store):
        made = new_secret()
        accounts.ensure_key(store, name="admin", scopes=ALL_SCOPES, secret=made, now=now)
    for file, scope in ((ADMIN_KEY_FILE, Scope.OPERATOR), (WORKER_KEY_FILE, Scope.WORKER)):
        secret = _local_secret(settings.data_dir / file)
        accounts.ensure_key(store, name=file, scopes=frozenset({scope}), secret=secret, now=now)
    return made


def _local_secret(path: Path) -> str:
    """A secret that only the owner of the data folder can read."""
    if path.is_file():
        return path.read_text().strip()
    secret = new_secret()
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secret)
        file.flush()
        os.fsync(file.fileno())
    return secret


def _offer_tiny(store: Store) -> None:
    """Unless the operator has put something else, or more names, in its place."""
    there = store.models.find_base(TINY)
    if there is not None and there.source != TINY_SOURCE:
        return
    entry = weights.describe(
        TINY_FOLDER,
        name=TINY,
        source=TINY_SOURCE,
        learning_rate=TINY_LEARNING_RATE,
        now=_utc_now() if there is None else there.created_at,
    )
    facts = replace(
        entry,
        display_name="Tunesmith tiny",
        provider="Tunesmith",
        licence="apache-2.0",
        description="A small decoder for trying things out, on any machine and without a network.",
    )
    store.models.put_base(facts)


def _lifespan(
    foundation: Foundation,
    settings: Settings,
    hub: Hub,
    checked: health.Health,
    draining: Draining,
    clock: Clock,
) -> Callable[[FastAPI], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        words = wandb_runs.Words(
            label=openai.integrations.label, figures=openai.integrations.figures
        )
        sender = Sender(CheckedNetwork(allow_private=settings.webhooks_allow_private))
        rounds: dict[str, Coroutine[Any, Any, None]] = {
            "draining": draining.run(),
            "keeping time": housekeeping.keep_time(clock),
            "ending silent leases": housekeeping.end_silent_leases(foundation),
            "sweeping blobs": housekeeping.sweep_blobs(
                foundation, settings.retention_unused_hours * 3600
            ),
            "sightings": housekeeping.write_sightings(foundation),
            "usage": housekeeping.write_usage(foundation),
            "webhooks": webhooks.deliver(foundation, sender, openai.webhooks.render),
            "pruning webhooks": webhooks.prune(foundation),
            "integrations": wandb_runs.log_runs(foundation, _wandb(settings), words),
        }
        rounds["retention"] = retention_rounds.remove_daily(foundation, retention_policy(settings))
        if foundation.database.is_shared:
            rounds["watching the queue"] = housekeeping.watch_queue(foundation, hub)
        if settings.metrics_port is not None:
            told = exposition.build(foundation, hub, settings.data_dir)
            serving = exposition.serve(told, settings.metrics_host, settings.metrics_port)
            rounds["metrics"] = serving
        tasks = [asyncio.create_task(each, name=name) for name, each in rounds.items()]
        checked.tasks = tasks
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            foundation.database.close()

    return lifespan


def _wandb(settings: Settings) -> wandb_runs.Wandb:
    key = settings.wandb_api_key
    return wandb_runs.Wandb(
        api_key=None if key is None else key.get_secret_value(), base_url=settings.wandb_base_url
    )
