"""What the doctor says of one place in a file, and the change that would mend it."""

from dataclasses import dataclass
from typing import Any, Literal

from tunesmith.domain.conversations import key_path
from tunesmith.domain.rules import Rule, Severity, severity

Keys = tuple[str | int, ...]  # the way from a row to a value in it


@dataclass(frozen=True, slots=True)
class Patch:
    """A change after which the file teaches the same as was meant."""

    action: Literal["replace", "remove", "drop_line", "strip_mark"]
    keys: Keys = ()
    value: Any = None

    def apply(self, row: Any) -> None:
        """Change a value in the row; what concerns the whole line is not done here."""
        if self.action not in ("replace", "remove"):
            return
        *way, last = self.keys
        for key in way:
            row = row[key]
        if self.action == "replace":
            row[last] = self.value
        else:
            row.pop(last, None)


@dataclass(frozen=True, slots=True)
class Finding:
    """`line` counts from 1 and is None for the file as a whole; `path` is a JSON path in the row.

    `seen` is the line that this one is like, in the file that `message` names.
    """

    rule: Rule
    message: str
    line: int | None = None
    path: str = "$"
    seen: int | None = None
    patch: Patch | None = None

    @property
    def severity(self) -> Severity:
        return severity(self.rule)


def json_path(keys: Keys) -> str:
    return "$" + "".join(f"[{key}]" if isinstance(key, int) else key_path(key) for key in keys)


def keys_of(path: str, row: Any) -> Keys:
    """The way to the value in the row that a path names."""
    keys: Keys = ()
    while (here := json_path(keys)) != path:
        steps = row if isinstance(row, dict) else range(len(row))
        last = next(key for key in steps if _leads(path, json_path((*keys, key)), here))
        keys, row = (*keys, last), row[last]
    return keys


def _leads(path: str, step: str, here: str) -> bool:
    return step != here and path.startswith(step) and path[len(step) :][:1] in ("", ".", "[")
