"""Who asks, and what is at hand to answer."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from tunesmith.domain.accounts import Key, Organization, Scope
from tunesmith.domain.adapters import AdapterLimits
from tunesmith.domain.audit import Origin
from tunesmith.domain.errors import PermissionDenied
from tunesmith.services.consumption import Consumption
from tunesmith.services.ports import Sampler
from tunesmith.store.blobs import Blobs
from tunesmith.store.database import Store

Clock = Callable[[], datetime]


@dataclass(frozen=True, slots=True, kw_only=True)
class House:
    """What every request finds: made once at start-up.

    `device_prices` are per device and hour, by a device's name or id.
    """

    blobs: Blobs
    sampler: Sampler
    now: Clock
    device_prices: Mapping[str, float] = field(default_factory=dict)
    adapter_limits: AdapterLimits = field(default_factory=AdapterLimits)
    consumption: Consumption = field(default_factory=Consumption)


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """One caller inside one transaction.

    `organization` is whose things are meant: the key's own, unless an operator names another one.
    """

    store: Store
    house: House
    organization: Organization
    key: Key
    origin: Origin = field(default_factory=Origin)

    @property
    def owner(self) -> UUID:
        return self.organization.id

    def now(self) -> datetime:
        return self.house.now()

    def require(self, *scopes: Scope) -> None:
        """One of these."""
        if not any(self.key.allows(scope) for scope in scopes):
            wanted = " or ".join(repr(scope.value) for scope in scopes)
            raise PermissionDenied(f"This key lacks the scope {wanted}; use a key that has it.")
