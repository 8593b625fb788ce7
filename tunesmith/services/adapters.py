"""Registered adapters: named first, then brought as two files or made by a job."""

from dataclasses import replace
from pathlib import Path
from uuid import UUID, uuid4

from tunesmith.domain.accounts import Scope
from tunesmith.domain.adapters import (
    CONFIG_FILE,
    WEIGHTS_FILE,
    AdapterFile,
    AdapterState,
    NewAdapter,
    RegisteredAdapter,
    is_id,
    of_job,
    short_id_in,
)
from tunesmith.domain.errors import InvalidAdapter, InvalidRequest, NotFound, PermissionDenied
from tunesmith.domain.files import Artifact, Blob, FilePurpose
from tunesmith.domain.hyperparameters import Hyperparameters
from tunesmith.domain.jobs import JobStatus, NewJob
from tunesmith.domain.models import TunedModel, new_short_id
from tunesmith.services import adapter_files, audit, files, jobs
from tunesmith.services.context import Context

MAX_PUBLIC_LISTED = 1000


def create(ctx: Context, new: NewAdapter) -> RegisteredAdapter:
    """Register a name. Who asks for the same again, before it answers, begins anew under its id."""
    ctx.require(Scope.JOBS_WRITE)
    limits = ctx.house.adapter_limits
    if new.is_public and not limits.allows_public:
        raise PermissionDenied("Public adapters are switched off on this server.", code="no_public")
    base = ctx.store.models.find_base(new.base_model)
    if base is None:
        raise NotFound("base model", new.base_model, param="model")
    existing = _find(ctx, new.name)
    if existing is not None:
        return _begin_again(ctx, existing, new, base.name)
    if ctx.store.adapters.count(ctx.owner) >= limits.max_per_organization:
        raise InvalidRequest(
            f"There are {limits.max_per_organization} adapters already, which is the limit; "
            "delete one.",
            code="too_many_adapters",
        )
    now = ctx.now()
    adapter = RegisteredAdapter(
        id=uuid4(),
        organization_id=ctx.owner,
        name=new.name,
        description=new.description,
        base_model=base.name,
        base_model_as_given=new.base_model_as_given,
        is_public=new.is_public,
        created_at=now,
        modified_at=now,
    )
    ctx.store.adapters.add(adapter)
    audit.record(ctx, "adapter.create", adapter.id, after=adapter)
    return adapter


def list_(ctx: Context) -> tuple[AdapterState, ...]:
    """All that are registered, and what other jobs have left; newest first."""
    ctx.require(Scope.JOBS_READ, Scope.JOBS_WRITE)
    registered = ctx.store.adapters.list_(ctx.owner)
    their_models = {adapter.model_id for adapter in registered}
    states = [_state(ctx, adapter) for adapter in registered]
    for model in ctx.store.models.list_tuned(ctx.owner):
        if model.step is None and model.id not in their_models:
            states.append(AdapterState(adapter=of_job(model), model=model))
    return tuple(sorted(states, key=lambda state: state.adapter.created_at, reverse=True))


def list_public(
    ctx: Context, *, limit: int | None, offset: int, order_by: str
) -> tuple[RegisteredAdapter, ...]:
    """Those of every organization that answer; at most `MAX_PUBLIC_LISTED`."""
    ctx.require(Scope.JOBS_READ, Scope.JOBS_WRITE)
    if not ctx.house.adapter_limits.allows_public:
        return ()
    wanted = MAX_PUBLIC_LISTED if limit is None else min(limit, MAX_PUBLIC_LISTED)
    return ctx.store.adapters.list_public(limit=wanted, offset=offset, order_by=order_by)


def get(ctx: Context, reference: str) -> AdapterState:
    """By id or by name; the caller's own."""
    ctx.require(Scope.JOBS_READ, Scope.JOBS_WRITE)
    return _get(ctx, reference)


def delete(ctx: Context, reference: str) -> UUID:
    """With the tuned model; a job that is making it is stopped. Returns the adapter's id."""
    ctx.require(Scope.JOBS_WRITE)
    state = _get(ctx, reference)
    ctx.store.adapters.delete(state.adapter.id)
    if state.model is not None:
        ctx.store.models.delete_tuned(state.model.id)
    if state.job is not None and not state.job.status.is_final:
        jobs.stop(ctx, state.job.id)
    audit.record(ctx, "adapter.delete", state.adapter.id, before=state.adapter)
    return state.adapter.id


def usable_model(ctx: Context, reference: str) -> TunedModel:
    """What answers for an adapter, the caller's own or a public one; by id or by name."""
    state = _find(ctx, reference) or _find_public(ctx, reference)
    if state is None:
        raise NotFound("adapter", reference)
    if state.model is None:
        raise InvalidRequest(
            f"The adapter {reference!r} cannot answer yet: "
            + ("it is still to be trained." if state.job else "it lacks files."),
            code="adapter_incomplete",
        )
    if ctx.store.models.is_waiting(state.model.id):
        raise InvalidRequest(
            f"The adapter {reference!r} cannot answer yet: deploy the job that made it.",
            code="adapter_incomplete",
        )
    return state.model


def find_answering(ctx: Context, reference: str) -> TunedModel | None:
    """What answers for an adapter, if anything does: the caller's own or a public one."""
    state = _find(ctx, reference) or _find_public(ctx, reference)
    if state is None or state.model is None or ctx.store.models.is_waiting(state.model.id):
        return None
    return state.model


def file_of(ctx: Context, reference: str, name: str) -> tuple[AdapterFile, Path]:
    """One of an adapter's files, and where its bytes lie."""
    file = get(ctx, reference).file(name)
    if file is None:
        raise NotFound("file", name)
    return file, ctx.house.blobs.path(file.blob.sha256)


def add_file(ctx: Context, reference: str, name: str, blob: Blob) -> tuple[UUID, AdapterFile]:
    """Record a file that was judged by itself; with the second the adapter answers.

    The same bytes again are answered as the first time. Returns the adapter's id, too.
    """
    state = _own(ctx, reference)
    adapter, there = state.adapter, state.file(name)
    if there is not None and there.blob == blob:
        return adapter.id, there
    if there is not None:
        raise InvalidAdapter(
            f"{name} of {adapter.name!r} is there already, with other bytes, and cannot be "
            "replaced; create the adapter under another name."
        )
    if adapter.job_id is not None:
        raise InvalidAdapter(f"{adapter.name!r} is made from training data, and takes no files.")
    file = AdapterFile(name=name, blob=blob, created_at=ctx.now())
    changed = adapter.with_file(file)
    if changed.has_pair:
        model = _model(ctx, changed)
        ctx.store.models.add_tuned(model)
        changed = changed.answered_by(model)
    ctx.store.adapters.replace(adapter, changed)
    audit.record(ctx, "adapter.add_file", adapter.id, before=adapter, after=changed)
    return adapter.id, file


def train(
    ctx: Context,
    reference: str,
    *,
    filename: str,
    blob: Blob,
    hyperparameters: Hyperparameters,
) -> RegisteredAdapter:
    """Have the adapter made from training data that is stored and checked.

    The same data again are answered as the first time.
    """
    adapter = _own(ctx, reference).adapter
    if adapter.files:
        raise InvalidAdapter(
            f"{adapter.name!r} has adapter files already, and takes no training data."
        )
    if adapter.job_id is not None:
        job = ctx.store.jobs.get(adapter.job_id, ctx.owner)
        if job.training_file.blob == blob:
            return adapter
        raise InvalidAdapter(f"{adapter.name!r} has training data already.")
    file = files.add(ctx, filename=filename, purpose=FilePurpose.TRAINING, blob=blob)
    new = NewJob(
        base_model=adapter.base_model,
        training_file_id=file.id,
        hyperparameters=hyperparameters,
        suffix=adapter.name[: jobs.MAX_SUFFIX_LENGTH],
    )
    made = adapter.made_by(jobs.create(ctx, new))
    ctx.store.adapters.replace(adapter, made)
    audit.record(ctx, "adapter.train", adapter.id, before=adapter, after=made)
    return made


def _begin_again(
    ctx: Context, existing: AdapterState, new: NewAdapter, base_model: str
) -> RegisteredAdapter:
    adapter = existing.adapter
    is_trained = existing.job is not None and (
        not existing.job.status.is_final or existing.job.status is JobStatus.SUCCEEDED
    )
    if existing.model is not None or is_trained or adapter.base_model != base_model:
        raise InvalidRequest(
            f"The name {new.name!r} is in use, for the base model {adapter.base_model!r}; "
            "choose another one.",
            param="name",
            code="name_in_use",
        )
    again = adapter.begun_again(new, ctx.now())
    if again == replace(adapter, modified_at=again.modified_at):
        return adapter
    ctx.store.adapters.replace(adapter, again)
    audit.record(ctx, "adapter.create", adapter.id, before=adapter, after=again)
    return again


def _model(ctx: Context, adapter: RegisteredAdapter) -> TunedModel:
    """What answers for a pair of files; raises `InvalidAdapter` where they do not fit."""
    base = ctx.store.models.find_base(adapter.base_model)
    if base is None:
        raise NotFound("base model", adapter.base_model)
    paths = {file.name: ctx.house.blobs.path(file.blob.sha256) for file in adapter.files}
    others = {
        name
        for model in ctx.store.models.list_bases()
        if model.name != base.name
        for name in (model.name, *model.aliases)
    }
    limits = ctx.house.adapter_limits
    adapter_files.check_pair(paths[CONFIG_FILE], paths[WEIGHTS_FILE], base, others, limits)
    return TunedModel(
        id=adapter.id,
        short_id=new_short_id(),
        organization_id=ctx.owner,
        organization_slug=ctx.organization.slug,
        job_id=None,
        base_model=base.name,
        suffix=adapter.name,
        step=None,
        artifacts=tuple(Artifact(name=file.name, blob=file.blob) for file in adapter.files),
        created_at=adapter.modified_at,
    )


def _own(ctx: Context, reference: str) -> AdapterState:
    """One that can be changed by its owner."""
    ctx.require(Scope.JOBS_WRITE)
    return _get(ctx, reference)


def _get(ctx: Context, reference: str) -> AdapterState:
    state = _find(ctx, reference)
    if state is None:
        raise NotFound("adapter", reference)
    return state


def _find(ctx: Context, reference: str) -> AdapterState | None:
    """The caller's own: registered, or left by a job."""
    if not reference.isprintable():  # as no name is
        return None
    if is_id(reference):
        adapter = ctx.store.adapters.find(UUID(reference), ctx.owner)
        model = ctx.store.models.find_tuned_by_id(UUID(reference))
    else:
        adapter = ctx.store.adapters.find_by_name(reference, ctx.owner)
        model = ctx.store.models.find_tuned(short_id_in(reference), ctx.owner)
    if adapter is None and model is not None:
        adapter = ctx.store.adapters.find_of_model(model.id, ctx.owner)
    if adapter is not None:
        return _state(ctx, adapter)
    if model is None or model.organization_id != ctx.owner or model.step is not None:
        return None
    left = of_job(model)
    is_meant = is_id(reference) or left.name == reference
    return AdapterState(adapter=left, model=model) if is_meant else None


def _find_public(ctx: Context, reference: str) -> AdapterState | None:
    if not ctx.house.adapter_limits.allows_public or not reference.isprintable():
        return None
    if is_id(reference):
        adapter = ctx.store.adapters.find_public(UUID(reference))
    else:
        adapter = ctx.store.adapters.find_public_by_name(reference)
    return (
        None if adapter is None else AdapterState(adapter=adapter, model=_answering(ctx, adapter))
    )


def _state(ctx: Context, adapter: RegisteredAdapter) -> AdapterState:
    model = _answering(ctx, adapter)
    if adapter.job_id is None:
        return AdapterState(adapter=adapter, model=model)
    return AdapterState(
        adapter=adapter,
        model=model,
        job=ctx.store.jobs.get(adapter.job_id, ctx.owner),
        metrics=ctx.store.events.newest_metrics(adapter.job_id),
    )


def _answering(ctx: Context, adapter: RegisteredAdapter) -> TunedModel | None:
    if adapter.model_id is None:
        return None
    return ctx.store.models.find_tuned_by_id(adapter.model_id)
