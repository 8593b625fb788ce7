"""Graders: what turns a model's sample into a reward."""

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from tunesmith.domain import formulas
from tunesmith.domain.formulas import FormulaError

MAX_GRADERS = 20  # in a `Multi`


class Comparison(StrEnum):
    EQUAL = "equal"
    NOT_EQUAL = "not_equal"
    CONTAINS = "contains"
    CONTAINS_IGNORING_CASE = "contains_ignoring_case"


class Similarity(StrEnum):
    FUZZY = "fuzzy"
    BLEU = "bleu"
    GLEU = "gleu"
    METEOR = "meteor"
    ROUGE_1 = "rouge_1"
    ROUGE_2 = "rouge_2"
    ROUGE_3 = "rouge_3"
    ROUGE_4 = "rouge_4"
    ROUGE_5 = "rouge_5"
    ROUGE_L = "rouge_l"


@dataclass(frozen=True, slots=True, kw_only=True)
class StringCheck:
    """1 where the comparison holds, else 0. `input` and `reference` are templates."""

    name: str
    input: str
    reference: str
    comparison: Comparison


@dataclass(frozen=True, slots=True, kw_only=True)
class TextSimilarity:
    """From 0 to 1. `input` and `reference` are templates."""

    name: str
    input: str
    reference: str
    metric: Similarity


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreModel:
    """A model is asked for a number, which is brought into `low` to `high`.

    `messages` are as a chat has them, with templates for texts; `sampling` is passed on.
    """

    name: str
    model: str
    messages: tuple[dict[str, Any], ...]
    low: float = 0.0
    high: float = 1.0
    sampling: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LabelModel:
    """A model is asked for one of `labels`: 1 where it is a passing one, else 0."""

    name: str
    model: str
    messages: tuple[dict[str, Any], ...]
    labels: tuple[str, ...]
    passing_labels: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PythonCode:
    """`source` defines `grade(sample, item) -> float`."""

    name: str
    source: str


SingleGrader: TypeAlias = StringCheck | TextSimilarity | ScoreModel | LabelModel | PythonCode


@dataclass(frozen=True, slots=True, kw_only=True)
class Multi:
    """A formula (`formulas.parse`) over the rewards of other graders, by their keys."""

    name: str
    graders: Mapping[str, SingleGrader]
    formula: str


Grader: TypeAlias = SingleGrader | Multi


def check_formula(text: str, names: Iterable[str]) -> None:
    """Raises `FormulaError` where it cannot be read or speaks of graders that are not there."""
    unknown = sorted(formulas.parse(text).names.difference(names))
    if unknown:
        raise FormulaError(f"there is no grader {unknown[0]!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What a model answered."""

    text: str
    tool_calls: tuple[dict[str, Any], ...] = ()

    def variables(self) -> dict[str, Any]:
        """Its namespace in templates; `output_json` is there where the text is JSON."""
        tools = list(self.tool_calls)
        message = {"role": "assistant", "content": self.text, "tool_calls": tools or None}
        found = {
            "output_text": self.text,
            "output_tools": tools,
            "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
        }
        with suppress(ValueError, RecursionError):
            found["output_json"] = json.loads(self.text, parse_constant=_refuse)
        return found


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


class GradingError(StrEnum):
    """Why a reward is 0 although nothing was found wanting in the sample."""

    FORMULA = "formula"
    VARIABLE = "variable"
    SAMPLE = "sample"  # it was to be JSON


@dataclass(frozen=True, slots=True, kw_only=True)
class Grade:
    """`scores` are those of a `Multi`'s graders, by their keys."""

    reward: float
    scores: Mapping[str, float] = field(default_factory=dict)
    errors: frozenset[GradingError] = frozenset()
    seconds: float
