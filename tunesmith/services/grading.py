"""Grading a sample."""

import time
from collections.abc import Mapping
from typing import Any

from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.formulas import FormulaError, parse
from tunesmith.domain.graders import (
    Comparison,
    Grade,
    Grader,
    GradingError,
    Multi,
    Sample,
    SingleGrader,
    StringCheck,
    TextSimilarity,
)
from tunesmith.domain.templates import UnknownVariable, fill
from tunesmith.services import similarity

Namespaces = Mapping[str, Any]


class _Ungradable(Exception):
    def __init__(self, *errors: GradingError) -> None:
        super().__init__()
        self.errors = frozenset(errors)


def grade(grader: Grader, sample: Sample, item: Mapping[str, Any]) -> Grade:
    """Variables that are not there and formulas without a value are told in it, with reward 0.

    Raises `InvalidRequest` for texts that are too long, and for graders that cannot be run yet.
    """
    started = time.monotonic()
    namespaces = {"item": item, "sample": sample.variables()}
    scores: dict[str, float] = {}
    errors: frozenset[GradingError] = frozenset()
    reward = 0.0
    try:
        if isinstance(grader, Multi):
            for key, part in grader.graders.items():
                scores[key], found = _score_or_zero(part, namespaces)
                errors |= found
            reward = 0.0 if errors else parse(grader.formula).value(scores)
        else:
            reward, errors = _score_or_zero(grader, namespaces)
    except FormulaError:
        errors = frozenset({GradingError.FORMULA})
    return Grade(reward=reward, scores=scores, errors=errors, seconds=time.monotonic() - started)


def _score_or_zero(
    grader: SingleGrader, namespaces: Namespaces
) -> tuple[float, frozenset[GradingError]]:
    try:
        return _score(grader, namespaces), frozenset()
    except _Ungradable as error:
        return 0.0, error.errors


def _score(grader: SingleGrader, namespaces: Namespaces) -> float:
    match grader:
        case StringCheck():
            text, reference = _filled(grader, namespaces)
            return float(_holds(grader.comparison, text, reference))
        case TextSimilarity():
            text, reference = _filled(grader, namespaces)
            _check_length(text, f"the input of {grader.name!r}")
            _check_length(reference, f"the reference of {grader.name!r}")
            return similarity.similarity(grader.metric, text, reference)
    raise InvalidRequest(f"{type(grader).__name__} graders are not available yet.", param="grader")


def _filled(grader: StringCheck | TextSimilarity, namespaces: Namespaces) -> tuple[str, str]:
    try:
        return fill(grader.input, namespaces), fill(grader.reference, namespaces)
    except UnknownVariable as error:
        wants_json = error.path.startswith("sample.output_json")
        if wants_json and "output_json" not in namespaces["sample"]:
            raise _Ungradable(GradingError.VARIABLE, GradingError.SAMPLE) from error
        raise _Ungradable(GradingError.VARIABLE) from error


def _check_length(text: str, whose: str) -> None:
    if len(text) > similarity.MAX_LENGTH:
        raise InvalidRequest(
            f"Texts are compared up to {similarity.MAX_LENGTH:,} characters; "
            f"{whose} has {len(text):,}.",
            param="grader",
        )


def _holds(comparison: Comparison, text: str, reference: str) -> bool:
    match comparison:
        case Comparison.EQUAL:
            return text == reference
        case Comparison.NOT_EQUAL:
            return text != reference
        case Comparison.CONTAINS:
            return reference in text
        case Comparison.CONTAINS_IGNORING_CASE:
            return reference.casefold() in text.casefold()
