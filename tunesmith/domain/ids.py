"""Ids as text in small letters and digits."""

import string
from uuid import UUID

DIGITS = string.digits + string.ascii_lowercase
LENGTH = 25  # of 128 bits to the base of 36


def to_base36(inner: UUID) -> str:
    """25 digits, zeros first."""
    number, digits = inner.int, ""
    for _ in range(LENGTH):
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits


def from_base36(text: str) -> UUID | None:
    """None for what `to_base36` does not write."""
    if len(text) != LENGTH or not set(text) <= set(DIGITS):
        return None
    number = int(text, len(DIGITS))
    return UUID(int=number) if number < 2**128 else None
