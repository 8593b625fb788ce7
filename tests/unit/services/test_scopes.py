"""Who may do what: every function of the services that takes a caller stands in these tables."""

import inspect
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from types import ModuleType
from typing import Any
from uuid import uuid4

import pytest

from tests.factories import base_model, context, job
from tunesmith.domain.accounts import Organization, Role, Scope
from tunesmith.domain.adapters import NewAdapter
from tunesmith.domain.errors import NotFound, PermissionDenied
from tunesmith.domain.files import Blob, File, FilePurpose
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import Action, JobFilter, JobSearch, NewJob
from tunesmith.domain.models import TunedModel
from tunesmith.domain.paging import PageRequest
from tunesmith.domain.uploads import Completion, NewUpload, Upload
from tunesmith.services import (
    adapters,
    audit,
    datasets,
    deployments,
    files,
    inference,
    jobs,
    keys,
    models,
    organizations,
    pausing,
    permissions,
    uploads,
    users,
)
from tunesmith.services.context import Context, House
from tunesmith.services.inference import Sampling
from tunesmith.services.uploads import Assembly
from tunesmith.store.database import Store

JOBS = frozenset({Scope.JOBS_READ, Scope.JOBS_WRITE})
Call = Callable[[Context], Any]
PAGE = PageRequest(limit=5)
SOME_ID = uuid4()
EMPTY = Blob(
    sha256="e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", size_bytes=0
)

NEW_ADAPTER = NewAdapter(name="a", base_model="base")
NEW_UPLOAD = NewUpload(filename="a", purpose=FilePurpose.BATCH, size_bytes=0)
NO_PARTS = Completion(part_ids=())


def upload(ctx: Context) -> Upload:
    return Upload(
        id=uuid4(),
        organization_id=ctx.owner,
        filename="a",
        purpose=FilePurpose.BATCH,
        size_bytes=0,
        lifetime=None,
        created_at=ctx.now(),
    )


def assembly(upload: Upload) -> Assembly:
    return Assembly(upload=upload, completion=NO_PARTS, parts=())


def tuned_model(ctx: Context) -> TunedModel:
    return TunedModel(
        id=uuid4(),
        short_id="abcd1234",
        organization_id=ctx.owner,
        organization_slug="acme",
        job_id=uuid4(),
        base_model="base",
        suffix=None,
        step=None,
        artifacts=(),
        created_at=ctx.now(),
    )


# One of the scopes is enough.
NEEDED: dict[Callable[..., Any], tuple[Scope | frozenset[Scope], Call]] = {
    audit.list_: (Scope.ADMIN, lambda ctx: audit.list_(ctx, after=0, limit=1)),
    audit.list_newest: (Scope.ADMIN, lambda ctx: audit.list_newest(ctx, 1)),
    audit.check: (Scope.ADMIN, audit.check),
    keys.create: (Scope.ADMIN, lambda ctx: keys.create(ctx, name="a", scopes=frozenset())),
    keys.list_: (Scope.ADMIN, keys.list_),
    keys.get: (Scope.ADMIN, lambda ctx: keys.get(ctx, SOME_ID)),
    keys.update: (Scope.ADMIN, lambda ctx: keys.update(ctx, SOME_ID, {})),
    keys.rotate: (Scope.ADMIN, lambda ctx: keys.rotate(ctx, SOME_ID, timedelta())),
    keys.revoke: (Scope.ADMIN, lambda ctx: keys.revoke(ctx, SOME_ID)),
    organizations.create: (
        Scope.OPERATOR,
        lambda ctx: organizations.create(ctx, name="a", slug="b"),
    ),
    organizations.list_: (Scope.OPERATOR, organizations.list_),
    organizations.get: (Scope.ADMIN, lambda ctx: organizations.get(ctx, "nobody")),
    organizations.update: (
        Scope.OPERATOR,
        lambda ctx: organizations.update(ctx, "nobody", {}),
    ),
    users.create: (
        Scope.ADMIN,
        lambda ctx: users.create(ctx, email="a@b.c", name="a", role=Role.READER),
    ),
    users.list_: (Scope.ADMIN, users.list_),
    users.get: (Scope.ADMIN, lambda ctx: users.get(ctx, SOME_ID)),
    users.find: (Scope.ADMIN, lambda ctx: users.find(ctx, "nobody")),
    users.update: (Scope.ADMIN, lambda ctx: users.update(ctx, SOME_ID, {})),
    users.delete: (Scope.ADMIN, lambda ctx: users.delete(ctx, SOME_ID)),
    adapters.create: (Scope.JOBS_WRITE, lambda ctx: adapters.create(ctx, NEW_ADAPTER)),
    adapters.list_: (JOBS, adapters.list_),
    adapters.list_public: (
        JOBS,
        lambda ctx: adapters.list_public(ctx, limit=None, offset=0, order_by="name"),
    ),
    adapters.get: (JOBS, lambda ctx: adapters.get(ctx, "a")),
    adapters.delete: (Scope.JOBS_WRITE, lambda ctx: adapters.delete(ctx, "a")),
    adapters.file_of: (JOBS, lambda ctx: adapters.file_of(ctx, "a", "b")),
    adapters.add_file: (
        Scope.JOBS_WRITE,
        lambda ctx: adapters.add_file(ctx, "a", "adapter_config.json", EMPTY),
    ),
    adapters.train: (
        Scope.JOBS_WRITE,
        lambda ctx: adapters.train(
            ctx, "a", filename="a.jsonl", blob=EMPTY, hyperparameters=Hyperparameters()
        ),
    ),
    files.add: (
        Scope.FILES_WRITE,
        lambda ctx: files.add(ctx, filename="a", purpose=FilePurpose.BATCH, blob=EMPTY),
    ),
    files.get: (Scope.FILES_READ, lambda ctx: files.get(ctx, SOME_ID)),
    files.list_: (Scope.FILES_READ, lambda ctx: files.list_(ctx, PAGE, None)),
    files.delete: (Scope.FILES_WRITE, lambda ctx: files.delete(ctx, SOME_ID)),
    files.content: (Scope.FILES_READ, lambda ctx: files.content(ctx, SOME_ID)),
    inference.chat_requests: (
        Scope.INFERENCE,
        lambda ctx: inference.chat_requests(ctx, base_model(), [], Sampling(), 1),
    ),
    inference.text_requests: (
        Scope.INFERENCE,
        lambda ctx: inference.text_requests(ctx, base_model(), ["a"], Sampling(), 1),
    ),
    inference.embed_requests: (
        Scope.INFERENCE,
        lambda ctx: inference.embed_requests(ctx, base_model(), ["a"]),
    ),
    jobs.create: (
        Scope.JOBS_WRITE,
        lambda ctx: jobs.create(ctx, NewJob(base_model="base", training_file_id=SOME_ID)),
    ),
    jobs.create_once: (
        Scope.JOBS_WRITE,
        lambda ctx: jobs.create_once(ctx, NewJob(base_model="base", training_file_id=SOME_ID)),
    ),
    jobs.get: (Scope.JOBS_READ, lambda ctx: jobs.get(ctx, SOME_ID)),
    jobs.list_: (Scope.JOBS_READ, lambda ctx: jobs.list_(ctx, PAGE, JobFilter())),
    jobs.stop: (Scope.JOBS_WRITE, lambda ctx: jobs.stop(ctx, SOME_ID)),
    jobs.list_events: (Scope.JOBS_READ, lambda ctx: jobs.list_events(ctx, SOME_ID, PAGE)),
    jobs.list_checkpoints: (
        Scope.JOBS_READ,
        lambda ctx: jobs.list_checkpoints(ctx, SOME_ID, PAGE),
    ),
    jobs.search: (Scope.JOBS_READ, lambda ctx: jobs.search(ctx, JobSearch())),
    jobs.count_by_status: (Scope.JOBS_READ, jobs.count_by_status),
    jobs.get_to: (Scope.JOBS_WRITE, lambda ctx: jobs.get_to(ctx, Action.DELETE, SOME_ID)),
    jobs.restart: (Scope.JOBS_WRITE, lambda ctx: jobs.restart(ctx, SOME_ID)),
    jobs.reproduce: (Scope.JOBS_WRITE, lambda ctx: jobs.reproduce(ctx, SOME_ID)),
    jobs.delete: (Scope.JOBS_WRITE, lambda ctx: jobs.delete(ctx, SOME_ID)),
    jobs.list_log: (Scope.JOBS_READ, lambda ctx: jobs.list_log(ctx, SOME_ID, [], None, 1)),
    jobs.list_metrics: (Scope.JOBS_READ, lambda ctx: jobs.list_metrics(ctx, SOME_ID, 10)),
    deployments.deploy: (Scope.JOBS_WRITE, lambda ctx: deployments.deploy(ctx, SOME_ID)),
    datasets.add: (
        Scope.JOBS_WRITE,
        lambda ctx: datasets.add(ctx, filename="a", blob=EMPTY, num_examples=1),
    ),
    datasets.imported: (
        Scope.JOBS_WRITE,
        lambda ctx: datasets.imported(ctx, "a", EMPTY, 1),
    ),
    deployments.list_: (Scope.JOBS_READ, lambda ctx: deployments.list_(ctx, offset=0, limit=1)),
    datasets.list_: (Scope.JOBS_READ, lambda ctx: datasets.list_(ctx, offset=0, limit=1)),
    datasets.delete: (Scope.JOBS_WRITE, lambda ctx: datasets.delete(ctx, SOME_ID)),
    pausing.pause: (Scope.JOBS_WRITE, lambda ctx: pausing.pause(ctx, SOME_ID)),
    pausing.resume: (Scope.JOBS_WRITE, lambda ctx: pausing.resume(ctx, SOME_ID)),
    models.add_base: (Scope.OPERATOR, lambda ctx: models.add_base(ctx, base_model("new"))),
    models.delete_base: (Scope.OPERATOR, lambda ctx: models.delete_base(ctx, "nothing")),
    models.delete_tuned: (
        Scope.JOBS_WRITE,
        lambda ctx: models.delete_tuned(ctx, tuned_model(ctx)),
    ),
    uploads.create: (Scope.FILES_WRITE, lambda ctx: uploads.create(ctx, NEW_UPLOAD)),
    uploads.get_pending: (Scope.FILES_WRITE, lambda ctx: uploads.get_pending(ctx, SOME_ID)),
    uploads.add_part: (Scope.FILES_WRITE, lambda ctx: uploads.add_part(ctx, SOME_ID, EMPTY)),
    uploads.begin_completion: (
        Scope.FILES_WRITE,
        lambda ctx: uploads.begin_completion(ctx, SOME_ID, NO_PARTS),
    ),
    uploads.complete: (
        Scope.FILES_WRITE,
        lambda ctx: uploads.complete(ctx, assembly(upload(ctx)), EMPTY),
    ),
    uploads.cancel: (Scope.FILES_WRITE, lambda ctx: uploads.cancel(ctx, SOME_ID)),
    models.file_of: (Scope.JOBS_READ, lambda ctx: models.file_of(ctx, tuned_model(ctx), "a")),
    permissions.grant: (Scope.ADMIN, lambda ctx: permissions.grant(ctx, tuned_model(ctx), [])),
    permissions.list_: (
        Scope.ADMIN,
        lambda ctx: permissions.list_(ctx, tuned_model(ctx), None, PAGE),
    ),
    permissions.revoke: (
        Scope.ADMIN,
        lambda ctx: permissions.revoke(ctx, tuned_model(ctx), SOME_ID),
    ),
}
# The names of models: every caller of a dialect needs them, to ask or to tune.
OPEN_TO_EVERY_KEY = {
    adapters.find_answering,
    adapters.usable_model,
    models.find_base,
    models.list_bases,
    models.find_tuned,
    models.find_usable,
    models.find_named,
    models.list_tuned,
}


# Those that come after another function of the table, which has asked for the scope.
CALLED_WITH_WHAT_WAS_FOUND = {
    datasets.find_named,
    datasets.get,  # for whoever reads or writes jobs
    deployments.find,
    jobs.warn,
    audit.record,
    organizations.acting_for,
}


WIDER = {Scope.OPERATOR, Scope.ADMIN, Scope.ALL_JOBS, Scope.EVERYTHING}


def functions_with_a_caller(module: ModuleType) -> set[Callable[..., Any]]:
    return {
        function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__
        and not name.startswith("_")
        and "ctx" in inspect.signature(function).parameters
    }


def test_every_function_that_takes_a_caller_stands_in_a_table() -> None:
    services = (
        adapters,
        audit,
        datasets,
        deployments,
        files,
        inference,
        jobs,
        keys,
        models,
        organizations,
        pausing,
        permissions,
        uploads,
        users,
    )
    known = set().union(*map(functions_with_a_caller, services))
    assert known == set(NEEDED) | OPEN_TO_EVERY_KEY | CALLED_WITH_WHAT_WAS_FOUND


@pytest.mark.parametrize("function", NEEDED, ids=lambda f: f"{f.__module__}.{f.__name__}")
def test_a_key_without_the_scope_is_refused_and_one_with_it_is_not(
    store: Store, house: House, owner: Organization, function: Callable[..., Any]
) -> None:
    house.blobs.put(b"")
    needed, call = NEEDED[function]
    scopes = frozenset({needed}) if isinstance(needed, Scope) else needed
    all_but_it = frozenset(Scope) - scopes - WIDER
    with pytest.raises(PermissionDenied, match=min(scopes).value):
        call(context(store, house, owner, all_but_it))
    for scope in scopes:
        with suppress(NotFound):  # it is let in, and looks
            call(context(store, house, owner, frozenset({scope})))


def as_admin(ctx: Context) -> Context:
    """Of an organization, and not of the installation."""
    return replace(ctx, key=replace(ctx.key, scopes=frozenset({Scope.ADMIN})))


@pytest.fixture
def strangers(store: Store, house: House, owner: Organization) -> dict[str, Any]:
    """Things that belong to another organization than the caller's."""
    other = Organization(id=uuid4(), name="Other", slug="other", created_at=house.now())
    store.accounts.add_organization(other)
    theirs = context(store, house, other)
    its = job(other)
    adapter = adapters.create(theirs, NewAdapter(name="theirs", base_model="base"))
    store.jobs.add(its)
    file = File(
        id=uuid4(),
        organization_id=other.id,
        filename="a",
        purpose=FilePurpose.TRAINING,
        blob=EMPTY,
        created_at=house.now(),
    )
    store.files.add(file)
    made = keys.create(theirs, name="a", scopes=frozenset({Scope.ADMIN}))
    user = users.create(theirs, email="a@b.c", name="a", role=Role.READER)
    theirs_too = uploads.create(theirs, NEW_UPLOAD)
    return {
        "job": its.id,
        "file": file.id,
        "key": made.key.id,
        "user": user.id,
        "organization": other.slug,
        "upload": theirs_too.id,
        "adapter": str(adapter.id),
    }


@pytest.mark.parametrize(
    ("kind", "call"),
    [
        ("job", jobs.get),
        ("job", jobs.stop),
        ("job", jobs.restart),
        ("job", jobs.reproduce),
        ("job", jobs.delete),
        ("job", deployments.deploy),
        ("job", lambda ctx, id: jobs.list_log(ctx, id, [], None, 1)),
        ("job", lambda ctx, id: jobs.list_metrics(ctx, id, 10)),
        ("job", lambda ctx, id: jobs.get_to(ctx, Action.DELETE, id)),
        ("file", datasets.get),
        ("file", datasets.delete),
        ("job", pausing.pause),
        ("job", pausing.resume),
        ("job", lambda ctx, id: jobs.list_events(ctx, id, PAGE)),
        ("job", lambda ctx, id: jobs.list_checkpoints(ctx, id, PAGE)),
        ("file", files.get),
        ("file", files.delete),
        ("file", files.content),
        (
            "file",
            lambda ctx, id: jobs.create(ctx, NewJob(base_model="base", training_file_id=id)),
        ),
        ("key", keys.get),
        ("key", keys.revoke),
        ("key", lambda ctx, id: keys.update(ctx, id, {})),
        ("key", lambda ctx, id: keys.rotate(ctx, id, timedelta())),
        ("user", users.get),
        ("user", users.delete),
        ("user", lambda ctx, id: users.update(ctx, id, {})),
        ("user", lambda ctx, id: users.find(ctx, str(id))),
        ("organization", lambda ctx, id: organizations.get(as_admin(ctx), id)),
        ("organization", lambda ctx, id: organizations.acting_for(as_admin(ctx), id)),
        ("adapter", adapters.get),
        ("adapter", adapters.delete),
        ("adapter", adapters.usable_model),
        ("adapter", lambda ctx, id: adapters.file_of(ctx, id, "adapter_config.json")),
        ("adapter", lambda ctx, id: adapters.add_file(ctx, id, "adapter_config.json", EMPTY)),
        (
            "adapter",
            lambda ctx, id: adapters.train(
                ctx, id, filename="a", blob=EMPTY, hyperparameters=Hyperparameters()
            ),
        ),
        ("upload", uploads.get_pending),
        ("upload", uploads.cancel),
        ("upload", lambda ctx, id: uploads.add_part(ctx, id, EMPTY)),
        ("upload", lambda ctx, id: uploads.begin_completion(ctx, id, NO_PARTS)),
        (
            "upload",
            lambda ctx, id: uploads.complete(ctx, assembly(replace(upload(ctx), id=id)), EMPTY),
        ),
        ("job", lambda ctx, id: jobs.list_(ctx, PageRequest(limit=1, after=id), JobFilter())),
        ("file", lambda ctx, id: files.list_(ctx, PageRequest(limit=1, after=id), None)),
    ],
)
def test_what_belongs_to_another_organization_is_not_found(
    store: Store,
    house: House,
    owner: Organization,
    strangers: dict[str, Any],
    kind: str,
    call: Callable[..., Any],
) -> None:
    with pytest.raises(NotFound):
        call(context(store, house, owner), strangers[kind])


def test_lists_show_what_is_the_callers_own(
    store: Store, house: House, owner: Organization, strangers: dict[str, Any]
) -> None:
    ctx = context(store, house, owner)
    assert jobs.list_(ctx, PAGE, JobFilter()).items == ()
    assert files.list_(ctx, PAGE, None).items == ()
    assert keys.list_(ctx) == ()
    assert models.list_tuned(ctx) == ()
    assert adapters.list_(ctx) == ()
