"""Rows that say again, or otherwise, what an earlier row says. Remembers digests alone."""

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from tunesmith.doctor.findings import Finding, Patch
from tunesmith.doctor.rows import Content, canonical, digest, normalised
from tunesmith.domain.rules import Rule


class Repeats:
    def __init__(self) -> None:
        self._rows: dict[int, int] = {}  # digest -> the first line that has it
        self._words: dict[int, int] = {}
        self._answers: dict[int, tuple[int, int]] = {}  # of a question: line, answer

    def check(self, row: dict[str, Any], content: Content, line: int) -> Iterator[Finding]:
        first = self._rows.setdefault(digest(canonical(row)), line)
        if first != line:
            yield Finding(
                Rule.DUPLICATE,
                f"The row is the same as line {first}. Keep one of them.",
                line,
                seen=first,
                patch=Patch("drop_line"),
            )
            return
        instructions = _normalised_instructions(content.instructions)
        question = f"{instructions}\n{normalised(content.question)}"
        told = f"{question} {normalised(content.reply)}"
        alike = self._words.setdefault(digest(told), line)
        answered = digest(content.answered)
        asked = digest(f"{content.beside}\n{question}")
        before, answer = self._answers.setdefault(asked, (line, answered))
        if alike != line:
            yield Finding(
                Rule.NEARLY_SAME,
                f"The row differs from line {alike} in case, punctuation or spaces alone. "
                "Keep one of them.",
                line,
                seen=alike,
            )
        elif content.asked and answer != answered:
            yield Finding(
                Rule.CONTRADICTION,
                f"Line {before} asks the same and has another answer. "
                "Keep the better one, unless both are meant.",
                line,
                seen=before,
            )


@lru_cache(maxsize=64)
def _normalised_instructions(text: str) -> str:
    return normalised(text)
