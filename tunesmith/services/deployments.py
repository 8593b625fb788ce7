"""The plain names of jobs' models, and letting those models answer."""

from datetime import datetime
from uuid import UUID

from tunesmith.domain.accounts import Scope
from tunesmith.domain.errors import Conflict, NotFound, Unavailable
from tunesmith.domain.events import EventKind
from tunesmith.domain.ids import to_base36
from tunesmith.domain.jobs import Action, Job
from tunesmith.domain.models import DeployedModel, Deployment, TunedModel
from tunesmith.domain.paging import Slice
from tunesmith.services import audit
from tunesmith.services.context import Context
from tunesmith.services.jobs import tell
from tunesmith.store.database import Store

NUM_ID_DIGITS = 8  # of a job's id, in the names of models


def name_model(store: Store, job: Job, model: TunedModel, now: datetime) -> str:
    """Decide a new model's name: its base model's and the job's suffix, or part of its id.

    It is nobody else's in the organization, and stays. The model answers at once, unless the job
    wants it deployed first.
    """
    digits = to_base36(job.id)[-NUM_ID_DIGITS:]
    name = f"{job.base_model}-{job.suffix or digits}"
    if _is_taken(store, job, name):
        name = f"{name}-{digits}"
    store.deployments.add(
        Deployment(
            model_id=model.id,
            organization_id=job.organization_id,
            name=name,
            deployed_at=None if job.needs_deployment else now,
        )
    )
    return name


def find(ctx: Context, job: Job) -> Deployment | None:
    """Of a job that the caller was given; None where it has left no model, or it was deleted."""
    if job.model_name is None:
        return None
    return ctx.store.deployments.find(job.model_name, job.organization_id)


def list_(ctx: Context, *, offset: int, limit: int) -> Slice[DeployedModel]:
    """What the organization's finished jobs have left, newest first, whether it answers or not."""
    ctx.require(Scope.JOBS_READ)
    return ctx.store.models.list_deployments(ctx.owner, offset=offset, limit=limit)


def deploy(ctx: Context, job_id: UUID) -> Job:
    """Let the job's model answer, which it goes on doing when it is deployed again.

    Raises `Conflict` where the model has been deleted, and `Unavailable` where its bytes are gone.
    """
    ctx.require(Scope.JOBS_WRITE)
    job = ctx.store.jobs.get_to_change(job_id, ctx.owner)
    job.require(Action.DEPLOY)
    deployment = find(ctx, job)
    model = None if deployment is None else ctx.store.models.find_tuned_by_id(deployment.model_id)
    if model is None:
        raise Conflict("The job's model has been deleted; there is nothing to deploy.")
    _require_loadable(ctx, model)
    if ctx.store.deployments.deploy(model.id, ctx.now()):
        tell(ctx.store, job, EventKind.DEPLOYED, now=ctx.now())
    audit.record(ctx, "job.deploy", job.id, after=model)
    return job


def _require_loadable(ctx: Context, model: TunedModel) -> None:
    """It is loaded when it is first asked; what that needs is looked for now."""
    if ctx.store.models.find_base(model.base_model) is None:
        raise Unavailable(f"The base model {model.base_model} is not available any more.")
    try:
        for artifact in model.artifacts:
            ctx.house.blobs.path(artifact.blob.sha256)
    except NotFound as error:
        raise Unavailable("The model's files are not there any more.") from error


def _is_taken(store: Store, job: Job, name: str) -> bool:
    is_base = store.models.find_base(name) is not None
    return is_base or store.deployments.is_taken(name, job.organization_id)
