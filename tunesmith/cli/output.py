"""What users and models wrote is shown as words: nothing of it steers the terminal."""

import re
from typing import Any

import rich.console
import rich.table
from rich.table import Column
from rich.text import Text

_STEERING = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all controls but tab and line feed


def harmless(text: str) -> str:
    """The text with a sign in the place of each control character."""
    return _STEERING.sub("\N{REPLACEMENT CHARACTER}", text.replace("\r", ""))


class Console(rich.console.Console):
    """A console to which a string is its letters, without markup; styles come as `Text`."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(harmless(text), **options)


class Table(rich.table.Table):
    """Of which nothing is left out on a narrow terminal: ids and names are there to be copied."""

    def __init__(self, *headers: str, **options: Any) -> None:
        columns = (Column(header, overflow="fold") for header in headers)
        super().__init__(*columns, **{"box": None, **options})
