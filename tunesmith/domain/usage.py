"""What answers took."""

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """What is counted together: who asked which model on which day (of UTC, since 1970).

    `short_id` is that of a tuned model, and empty where the base model was asked.
    """

    organization_id: UUID
    day: int
    key_id: UUID
    base_model: str
    short_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    @property
    def tokens(self) -> int:
        return self.prompt_tokens + self.completion_tokens

    def __add__(self, other: "Spent") -> "Spent":
        return Spent(
            requests=self.requests + other.requests,
            prompt_tokens=self.prompt_tokens + other.prompt_tokens,
            completion_tokens=self.completion_tokens + other.completion_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageRow:
    """`model` is its plain name, or `base:short id` where it has none, or none any more."""

    day: int
    key_id: UUID
    model: str
    spent: Spent
