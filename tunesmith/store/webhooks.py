"""Webhook endpoints, and the deliveries that wait for them."""

from collections.abc import Collection
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tunesmith.domain.errors import NotFound
from tunesmith.domain.jobs import JobStatus
from tunesmith.domain.webhooks import Delivery, JobEnded, WebhookEndpoint
from tunesmith.store.outbox_tables import webhook_deliveries as deliveries
from tunesmith.store.outbox_tables import webhook_endpoints as endpoints
from tunesmith.store.rows import Row


class Webhooks:
    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def add_endpoint(self, endpoint: WebhookEndpoint) -> None:
        self._connection.execute(
            sa.insert(endpoints).values(
                id=endpoint.id,
                organization_id=endpoint.organization_id,
                url=endpoint.url,
                outcomes=sorted(endpoint.outcomes),
                secret=endpoint.secret,
                created_at=endpoint.created_at,
            )
        )

    def get_endpoint(self, endpoint_id: UUID, owner: UUID) -> WebhookEndpoint:
        where = (endpoints.c.id == endpoint_id, endpoints.c.organization_id == owner)
        row = self._connection.execute(sa.select(endpoints).where(*where)).mappings().one_or_none()
        if row is None:
            raise NotFound("webhook", str(endpoint_id))
        return _endpoint(row)

    def list_endpoints(self, owner: UUID) -> tuple[WebhookEndpoint, ...]:
        where = endpoints.c.organization_id == owner
        query = sa.select(endpoints).where(where).order_by(endpoints.c.seq)
        return tuple(_endpoint(row) for row in self._connection.execute(query).mappings())

    def delete_endpoint(self, endpoint_id: UUID, owner: UUID) -> bool:
        """Its deliveries go with it."""
        where = (endpoints.c.id == endpoint_id, endpoints.c.organization_id == owner)
        return self._connection.execute(sa.delete(endpoints).where(*where)).rowcount == 1

    def add_delivery(self, delivery: Delivery) -> None:
        self._connection.execute(
            sa.insert(deliveries).values(
                id=delivery.id,
                endpoint_id=delivery.endpoint_id,
                event_id=delivery.event.id,
                job_id=delivery.event.job_id,
                outcome=delivery.event.outcome,
                created_at=delivery.event.created_at,
                attempts=delivery.attempts,
                available_at=delivery.available_at,
            )
        )

    def list_deliveries(self, endpoint_id: UUID, limit: int) -> tuple[Delivery, ...]:
        """Newest first."""
        where = deliveries.c.endpoint_id == endpoint_id
        query = sa.select(deliveries).where(where).order_by(deliveries.c.seq.desc()).limit(limit)
        return tuple(_delivery(row) for row in self._connection.execute(query).mappings())

    def has_due(self, now: datetime) -> bool:
        """Whether `claim` is worth a transaction that writes."""
        query = sa.select(deliveries.c.seq).where(_is_due(now)).limit(1)
        return self._connection.scalar(query) is not None

    def claim(
        self, now: datetime, claimed_until: datetime, limit: int
    ) -> tuple[tuple[WebhookEndpoint, Delivery], ...]:
        """The oldest that is due of each endpoint, for one sender alone until then.

        An endpoint is sent one at a time: one that is slow does not take the others' turns.
        """
        busy = sa.select(deliveries.c.endpoint_id).where(deliveries.c.claimed_until > now)
        oldest = (
            sa.select(sa.func.min(deliveries.c.seq))
            .where(_is_due(now), deliveries.c.endpoint_id.not_in(busy))
            .group_by(deliveries.c.endpoint_id)
            .order_by(sa.func.min(deliveries.c.available_at))
            .limit(limit)
        )
        claimed = [
            seq
            for seq in self._connection.scalars(oldest).all()
            if self._connection.execute(
                sa.update(deliveries)
                .where(deliveries.c.seq == seq, _is_due(now))
                .values(claimed_until=claimed_until, attempts=deliveries.c.attempts + 1)
            ).rowcount
        ]
        return self._with_endpoints(claimed)

    def settle(self, delivery: Delivery) -> None:
        """Write what came of an attempt, unless another has been begun since."""
        self._connection.execute(
            sa.update(deliveries)
            .where(deliveries.c.id == delivery.id, deliveries.c.attempts == delivery.attempts)
            .values(
                claimed_until=None,
                available_at=delivery.available_at,
                delivered_at=delivery.delivered_at,
                last_attempt_at=delivery.last_attempt_at,
                last_result=delivery.last_result,
            )
        )

    def prune(self, before: datetime) -> int:
        """Forget deliveries that are over and were made before; returns how many."""
        where = (deliveries.c.available_at.is_(None), deliveries.c.created_at < before)
        return self._connection.execute(sa.delete(deliveries).where(*where)).rowcount

    def _with_endpoints(
        self, seqs: Collection[int]
    ) -> tuple[tuple[WebhookEndpoint, Delivery], ...]:
        """Endpoints by a query of their own: both tables have columns of the same names."""
        query = sa.select(deliveries).where(deliveries.c.seq.in_(seqs)).order_by(deliveries.c.seq)
        found = [_delivery(row) for row in self._connection.execute(query).mappings()]
        wanted = endpoints.c.id.in_({delivery.endpoint_id for delivery in found})
        rows = self._connection.execute(sa.select(endpoints).where(wanted)).mappings()
        by_id = {row["id"]: _endpoint(row) for row in rows}
        return tuple((by_id[delivery.endpoint_id], delivery) for delivery in found)


def _is_due(now: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(
        deliveries.c.available_at <= now,
        sa.or_(deliveries.c.claimed_until.is_(None), deliveries.c.claimed_until <= now),
    )


def _endpoint(row: Row) -> WebhookEndpoint:
    return WebhookEndpoint(
        id=row["id"],
        organization_id=row["organization_id"],
        url=row["url"],
        outcomes=frozenset(JobStatus(outcome) for outcome in row["outcomes"]),
        secret=row["secret"],
        created_at=row["created_at"],
    )


def _delivery(row: Row) -> Delivery:
    return Delivery(
        id=row["id"],
        endpoint_id=row["endpoint_id"],
        event=JobEnded(
            id=row["event_id"],
            job_id=row["job_id"],
            outcome=JobStatus(row["outcome"]),
            created_at=row["created_at"],
        ),
        attempts=row["attempts"],
        available_at=row["available_at"],
        delivered_at=row["delivered_at"],
        last_attempt_at=row["last_attempt_at"],
        last_result=row["last_result"],
    )
