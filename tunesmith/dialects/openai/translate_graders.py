"""Wire <-> domain: graders and grades."""

from typing import Any

from tunesmith.dialects.openai import schemas_graders as schemas
from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.graders import (
    Comparison,
    Grade,
    Grader,
    GradingError,
    LabelModel,
    Multi,
    PythonCode,
    ScoreModel,
    Similarity,
    SingleGrader,
    StringCheck,
    TextSimilarity,
)

_COMPARISONS = {
    "eq": Comparison.EQUAL,
    "ne": Comparison.NOT_EQUAL,
    "like": Comparison.CONTAINS,
    "ilike": Comparison.CONTAINS_IGNORING_CASE,
}


def grader(wire: schemas.Grader) -> Grader:
    if not isinstance(wire, schemas.MultiGrader):
        return _single(wire)
    parts = {name: _single(part) for name, part in wire.graders_by_name.items()}
    return Multi(name=wire.name, graders=parts, formula=wire.calculate_output)


def runnable(wire: schemas.Grader) -> Grader:
    """Raises `InvalidRequest` for kinds that can be described, and not run yet."""
    parts = wire.graders_by_name if isinstance(wire, schemas.MultiGrader) else {"": wire}
    for name, part in parts.items():
        if not isinstance(part, schemas.StringCheckGrader | schemas.TextSimilarityGrader):
            place = f"grader.graders.{name}.type" if name else "grader.type"
            raise InvalidRequest(f"Running {part.type} graders is not available yet.", param=place)
    return grader(wire)


def grader_run(wire: schemas.Grader, grade: Grade) -> schemas.GraderRun:
    """A `multi` has the rewards of its graders as scores; any other, its own."""
    scores = dict(grade.scores)
    return schemas.GraderRun(
        reward=grade.reward,
        sub_rewards=scores,
        metadata=schemas.GraderMetadata(
            name=wire.name,
            type=wire.type,
            execution_time=grade.seconds,
            scores=scores or {wire.name: grade.reward},
            errors=schemas.GraderErrors(
                formula_parse_error=GradingError.FORMULA in grade.errors,
                invalid_variable_error=GradingError.VARIABLE in grade.errors,
                sample_parse_error=GradingError.SAMPLE in grade.errors,
            ),
        ),
    )


def _single(wire: schemas.SingleGrader) -> SingleGrader:
    match wire:
        case schemas.StringCheckGrader():
            return StringCheck(
                name=wire.name,
                input=wire.input,
                reference=wire.reference,
                comparison=_COMPARISONS[wire.operation],
            )
        case schemas.TextSimilarityGrader():
            metric = wire.evaluation_metric
            return TextSimilarity(
                name=wire.name,
                input=wire.input,
                reference=wire.reference,
                metric=Similarity.FUZZY if metric == "fuzzy_match" else Similarity(metric),
            )
        case schemas.ScoreModelGrader():
            low, high = wire.range
            sampling = wire.sampling_params
            return ScoreModel(
                name=wire.name,
                model=wire.model,
                messages=_messages(wire.input),
                low=low,
                high=high,
                sampling={} if sampling is None else sampling.model_dump(exclude_none=True),
            )
        case schemas.LabelModelGrader():
            return LabelModel(
                name=wire.name,
                model=wire.model,
                messages=_messages(wire.input),
                labels=tuple(wire.labels),
                passing_labels=tuple(wire.passing_labels),
            )
        case schemas.PythonGrader():
            return PythonCode(name=wire.name, source=wire.source)


def _messages(wire: list[schemas.Message]) -> tuple[dict[str, Any], ...]:
    return tuple(message.model_dump() for message in wire)
