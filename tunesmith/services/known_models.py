"""Well-known models: shipped facts about what this installation may not have."""

from functools import cache
from pathlib import Path

from pydantic import TypeAdapter

import tunesmith
from tunesmith.domain.catalog import KnownModel

_FILE = Path(tunesmith.__file__).parent / "assets" / "catalogue.json"
_ENTRIES = TypeAdapter(tuple[KnownModel, ...])


@cache
def list_known() -> tuple[KnownModel, ...]:
    return _ENTRIES.validate_json(_FILE.read_bytes())


def find_known(name: str) -> KnownModel | None:
    """By its short name alone: what it is called elsewhere may be the name of something else."""
    return next((known for known in list_known() if known.name == name), None)


def names_of(known: KnownModel) -> tuple[str, ...]:
    """What a model that is this one may be called."""
    return (known.name, *known.aliases)
