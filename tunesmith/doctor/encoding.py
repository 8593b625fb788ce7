"""Text that was damaged on its way: decoded wrongly, replaced, or full of control characters."""

import re
from collections.abc import Iterator
from typing import Any

from ftfy import fix_encoding
from ftfy.badness import is_bad

from tunesmith.doctor.findings import Finding, Patch, json_path
from tunesmith.doctor.rows import texts
from tunesmith.domain.rules import Rule

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufff9-\ufffb]")


def check(row: dict[str, Any], line: int) -> Iterator[Finding]:
    for keys, text in texts(row):
        if text.isascii() and _CONTROL.search(text) is None:
            continue
        decoded = _decoded(text)
        mended = _CONTROL.sub("", decoded)
        patch = Patch("replace", keys, mended) if mended != text else None
        path = json_path(keys)
        if decoded != text:
            yield Finding(
                Rule.MOJIBAKE,
                f"The text was decoded with the wrong character set: {_sample(text, decoded)}.",
                line,
                path,
                patch=patch,
            )
        if control := _CONTROL.search(decoded):
            yield Finding(
                Rule.CONTROL_CHARACTER,
                f"The text has the control character U+{ord(control[0]):04X}, which readers do "
                "not see and the model would learn. Remove it.",
                line,
                path,
                patch=patch,
            )
        if "\ufffd" in decoded:
            yield Finding(
                Rule.REPLACEMENT_CHARACTER,
                "The text has the replacement character U+FFFD: what stood there is lost. "
                "Read it again from its source, with the right character set.",
                line,
                path,
            )


def _decoded(text: str) -> str:
    if not is_bad(text):
        return text
    return "".join(fix_encoding(part) for part in text.splitlines(keepends=True))


def _sample(text: str, decoded: str) -> str:
    """The first words that differ."""
    for before, after in zip(text.split(), decoded.split(), strict=False):
        if before != after:
            return f"“{before[:40]}” should be “{after[:40]}”"
    return "its spaces are damaged"
