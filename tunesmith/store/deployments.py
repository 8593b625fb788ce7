"""The plain names of jobs' models, and which of those models answer."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.models import Deployment
from tunesmith.store.tables import deployments, jobs


class Deployments:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add(self, deployment: Deployment) -> None:
        self._connection.execute(
            sa.insert(deployments).values(
                model_id=deployment.model_id,
                organization_id=deployment.organization_id,
                name=deployment.name,
                deployed_at=deployment.deployed_at,
            )
        )

    def is_taken(self, name: str, owner: UUID) -> bool:
        """By a model, or by a job whose model has been deleted."""
        model = sa.select(deployments.c.seq).where(
            deployments.c.organization_id == owner, deployments.c.name == name
        )
        job = sa.select(jobs.c.seq).where(
            jobs.c.organization_id == owner, jobs.c.model_name == name
        )
        return any(self._connection.scalar(q.limit(1)) is not None for q in (model, job))

    def find(self, name: str, owner: UUID) -> Deployment | None:
        query = sa.select(deployments).where(
            deployments.c.organization_id == owner, deployments.c.name == name
        )
        row = self._connection.execute(query).mappings().one_or_none()
        if row is None:
            return None
        return Deployment(
            model_id=row["model_id"],
            organization_id=row["organization_id"],
            name=row["name"],
            deployed_at=row["deployed_at"],
        )

    def deploy(self, model_id: UUID, now: datetime) -> bool:
        """Whether that changed anything: who is deployed stays so, since then."""
        where = (deployments.c.model_id == model_id, deployments.c.deployed_at.is_(None))
        changed = sa.update(deployments).where(*where).values(deployed_at=now)
        return self._connection.execute(changed).rowcount == 1
