"""The base-model catalogue and the tuned models."""

from uuid import UUID

import sqlalchemy as sa
from pydantic import TypeAdapter

from tunesmith.domain.catalog import BaseModel
from tunesmith.domain.files import Artifact
from tunesmith.domain.models import DeployedModel, Deployment, TunedModel
from tunesmith.domain.paging import Slice
from tunesmith.store.rows import Row, plain
from tunesmith.store.tables import (
    base_model_names,
    base_models,
    checkpoint_permissions,
    deployments,
    organizations,
    registered_adapters,
    tuned_models,
)

_ENTRY = TypeAdapter(BaseModel)
_ARTIFACTS = TypeAdapter(tuple[Artifact, ...])
_WITH_SLUG = sa.select(tuned_models, organizations.c.slug.label("organization_slug")).join_from(
    tuned_models, organizations, tuned_models.c.organization_id == organizations.c.id
)


class Models:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def put_base(self, model: BaseModel) -> None:
        """Add a catalogue entry, or replace the one of that name."""
        entry = plain(_ENTRY, model)
        again = sa.update(base_models).where(base_models.c.name == model.name).values(entry=entry)
        if self._connection.execute(again).rowcount == 0:
            added = sa.insert(base_models).values(name=model.name, entry=entry)
            self._connection.execute(added)
        old_names = sa.delete(base_model_names).where(base_model_names.c.base_model == model.name)
        self._connection.execute(old_names)
        names = [{"name": n, "base_model": model.name} for n in {model.name, *model.aliases}]
        self._connection.execute(sa.insert(base_model_names), names)

    def find_base(self, name: str) -> BaseModel | None:
        """By its name or an alias, else by its Hugging Face id; the first that was added."""
        if "\0" in name:  # which PostgreSQL cannot even be asked for
            return None
        named = (
            sa.select(base_models.c.entry)
            .join(base_model_names, base_model_names.c.base_model == base_models.c.name)
            .where(base_model_names.c.name == name)
        )
        of_hub = (
            sa.select(base_models.c.entry)
            .where(base_models.c.entry["hub_id"].as_string() == name)
            .order_by(base_models.c.seq)
            .limit(1)
        )
        entry = self._connection.scalar(named) or self._connection.scalar(of_hub)
        return None if entry is None else _ENTRY.validate_python(entry)

    def list_bases(self) -> tuple[BaseModel, ...]:
        query = sa.select(base_models.c.entry).order_by(base_models.c.seq)
        return tuple(_ENTRY.validate_python(entry) for entry in self._connection.scalars(query))

    def delete_base(self, name: str) -> bool:
        names = sa.delete(base_model_names).where(base_model_names.c.base_model == name)
        self._connection.execute(names)
        entry = sa.delete(base_models).where(base_models.c.name == name)
        return self._connection.execute(entry).rowcount == 1

    def add_tuned(self, model: TunedModel) -> None:
        self._connection.execute(
            sa.insert(tuned_models).values(
                id=model.id,
                short_id=model.short_id,
                organization_id=model.organization_id,
                job_id=model.job_id,
                base_model=model.base_model,
                suffix=model.suffix,
                step=model.step,
                artifacts=plain(_ARTIFACTS, model.artifacts),
                created_at=model.created_at,
            )
        )

    def find_tuned(self, short_id: str, owner: UUID) -> TunedModel | None:
        query = _WITH_SLUG.where(
            tuned_models.c.short_id == short_id, tuned_models.c.organization_id == owner
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _tuned(row)

    def find_tuned_by_id(self, model_id: UUID) -> TunedModel | None:
        """Whoever owns it."""
        query = _WITH_SLUG.where(tuned_models.c.id == model_id)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _tuned(row)

    def find_permitted(self, short_id: str, organization_id: UUID) -> TunedModel | None:
        """A tuned model of others that this organization may ask."""
        permitted = sa.exists().where(
            checkpoint_permissions.c.model_id == tuned_models.c.id,
            checkpoint_permissions.c.organization_id == organization_id,
        )
        query = _WITH_SLUG.where(tuned_models.c.short_id == short_id, permitted)
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _tuned(row)

    def list_tuned(self, owner: UUID) -> tuple[TunedModel, ...]:
        """But for those that have still to be deployed."""
        waits = sa.exists().where(
            deployments.c.model_id == tuned_models.c.id, deployments.c.deployed_at.is_(None)
        )
        query = _WITH_SLUG.where(tuned_models.c.organization_id == owner, ~waits).order_by(
            tuned_models.c.seq
        )
        return tuple(_tuned(row) for row in self._connection.execute(query).mappings())

    def list_deployments(self, owner: UUID, *, offset: int, limit: int) -> Slice[DeployedModel]:
        """Newest first, whether they answer or not."""
        own = deployments.c.organization_id == owner
        joined = _WITH_SLUG.add_columns(deployments.c.name, deployments.c.deployed_at).join(
            deployments, deployments.c.model_id == tuned_models.c.id
        )
        query = joined.where(own).order_by(deployments.c.seq.desc()).offset(offset).limit(limit)
        count = sa.select(sa.func.count()).select_from(deployments).where(own)
        rows = self._connection.execute(query).mappings()
        return Slice(
            items=tuple(_deployed(row) for row in rows),
            count=self._connection.execute(count).scalar_one(),
        )

    def find_named(self, name: str, owner: UUID) -> TunedModel | None:
        """The one that has been deployed under that name."""
        query = _WITH_SLUG.join(deployments, deployments.c.model_id == tuned_models.c.id).where(
            deployments.c.organization_id == owner,
            deployments.c.name == name,
            deployments.c.deployed_at.is_not(None),
        )
        row = self._connection.execute(query).mappings().one_or_none()
        return None if row is None else _tuned(row)

    def is_waiting(self, model_id: UUID) -> bool:
        """Whether it has still to be deployed."""
        query = sa.select(deployments.c.seq).where(
            deployments.c.model_id == model_id, deployments.c.deployed_at.is_(None)
        )
        return self._connection.scalar(query) is not None

    def delete_checkpoints(self, job_id: UUID) -> None:
        """What a job has left on its way; its own model stays."""
        where = (tuned_models.c.job_id == job_id, tuned_models.c.step.is_not(None))
        self._connection.execute(sa.delete(tuned_models).where(*where))

    def forget_job(self, job_id: UUID) -> None:
        """The job is to be deleted, its model not."""
        for table in (tuned_models, registered_adapters):
            of_job = sa.update(table).where(table.c.job_id == job_id)
            self._connection.execute(of_job.values(job_id=None))

    def delete_tuned(self, model_id: UUID) -> None:
        """With its registration, if it has one."""
        where = registered_adapters.c.model_id == model_id
        self._connection.execute(sa.delete(registered_adapters).where(where))
        self._connection.execute(sa.delete(tuned_models).where(tuned_models.c.id == model_id))


def _deployed(row: Row) -> DeployedModel:
    model = _tuned(row)
    return DeployedModel(
        model=model,
        deployment=Deployment(
            model_id=model.id,
            organization_id=model.organization_id,
            name=row["name"],
            deployed_at=row["deployed_at"],
        ),
    )


def _tuned(row: Row) -> TunedModel:
    return TunedModel(
        id=row["id"],
        short_id=row["short_id"],
        organization_id=row["organization_id"],
        organization_slug=row["organization_slug"],
        job_id=row["job_id"],
        base_model=row["base_model"],
        suffix=row["suffix"],
        step=row["step"],
        artifacts=_ARTIFACTS.validate_python(row["artifacts"]),
        created_at=row["created_at"],
    )
