"""The error tree: what the house can answer when it cannot do what was asked.

TunesmithError            code: a stable slug · message: a sentence · param: the field at fault
├── InvalidRequest        400
│   ├── InvalidTrainingData   (line, rule, path)
│   ├── InvalidAdapter
│   └── KeyReused         422   an idempotency key, for another request
├── Unauthenticated       401
├── PermissionDenied      403   missing scope
├── NotFound              404   (kind, reference)
├── Conflict              409
│   ├── WrongState        (action, status)
│   └── StaleAttempt      a worker whose attempt is over
├── TooLarge              413
├── QuotaExceeded         429
├── RateLimited           429   (unit, limit, retry_after_seconds)
├── TooManyAtOnce         429   uploads that are under way
└── Unavailable           503   no worker, model still loading
    └── DiskFull

The status codes are given in `tunesmith.http`; nothing here knows of HTTP.
"""

from uuid import UUID

from tunesmith.domain.rules import Rule


class TunesmithError(Exception):
    code = "error"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.code = code or type(self).code


class InvalidRequest(TunesmithError):
    code = "invalid_request"


class InvalidTrainingData(InvalidRequest):
    """`line` counts from 1; None where the whole file is at fault. `path` is in the row, `$`."""

    code = "invalid_training_data"

    def __init__(
        self,
        message: str,
        *,
        line: int | None = None,
        code: str | None = None,
        rule: Rule = Rule.UNKNOWN_FORMAT,
        path: str = "$",
    ) -> None:
        super().__init__(message, code=code)
        self.line = line
        self.rule = rule
        self.path = path


class InvalidAdapter(InvalidRequest):
    """A file that is no part of an adapter which the base model could take."""

    code = "invalid_adapter"


class KeyReused(InvalidRequest):
    """An idempotency key that another request was made with."""

    code = "idempotency_key_reused"


class Unauthenticated(TunesmithError):
    """`key_id` is that of a key which was good once, and is never told to whoever sent it."""

    code = "unauthenticated"

    def __init__(
        self,
        message: str,
        *,
        key_id: UUID | None = None,
        organization_id: UUID | None = None,
    ) -> None:
        super().__init__(message)
        self.key_id = key_id
        self.organization_id = organization_id


class PermissionDenied(TunesmithError):
    code = "permission_denied"


class NotFound(TunesmithError):
    """`kind` is the concept ("file", "job", "model", …) and `reference` what was asked for."""

    code = "not_found"

    def __init__(self, kind: str, reference: str, *, param: str | None = None) -> None:
        super().__init__(f"There is no {kind} {reference!r}.", param=param)
        self.kind = kind
        self.reference = reference


class Conflict(TunesmithError):
    code = "conflict"


class WrongState(Conflict):
    code = "wrong_state"

    def __init__(self, action: str, status: str) -> None:
        super().__init__(f"A job that is {status} cannot be {action}.")
        self.action = action
        self.status = status


class StaleAttempt(Conflict):
    code = "stale_attempt"


class TooLarge(TunesmithError):
    code = "too_large"


class QuotaExceeded(TunesmithError):
    code = "quota_exceeded"


class RateLimited(TunesmithError):
    """More than `limit` of the `unit` ("requests", "tokens") in a minute."""

    code = "rate_limit_exceeded"

    def __init__(self, unit: str, limit: int, *, retry_after_seconds: float) -> None:
        super().__init__(
            f"Rate limit reached: {limit:,} {unit} per minute. "
            f"Try again in {retry_after_seconds:.3f} seconds."
        )
        self.unit = unit
        self.limit = limit
        self.retry_after_seconds = retry_after_seconds


class TooManyAtOnce(TunesmithError):
    code = "too_many_at_once"


class Unavailable(TunesmithError):
    code = "unavailable"


class DiskFull(Unavailable):
    """Of the server, or of the worker that says it."""

    code = "disk_full"
