"""Grading, as a job would do it: no HTTP, no vendor."""

import pytest
from pydantic import TypeAdapter

from tunesmith.domain.errors import InvalidRequest
from tunesmith.domain.graders import (
    Comparison,
    Grader,
    GradingError,
    LabelModel,
    Multi,
    PythonCode,
    Sample,
    ScoreModel,
    Similarity,
    SingleGrader,
    StringCheck,
    TextSimilarity,
)
from tunesmith.services.grading import grade

EXACT = StringCheck(
    name="exact",
    input="{{ sample.output_text }}",
    reference="{{ item.answer }}",
    comparison=Comparison.EQUAL,
)
CLOSE = TextSimilarity(
    name="close",
    input="{{ sample.output_text }}",
    reference="{{ item.answer }}",
    metric=Similarity.ROUGE_1,
)
MESSAGES = ({"role": "user", "content": "x"},)
SCORED = ScoreModel(name="scored", model="m", messages=MESSAGES, sampling={"seed": 1})
LABELED = LabelModel(
    name="labeled", model="m", messages=MESSAGES, labels=("a", "b"), passing_labels=("a",)
)
CODE = PythonCode(name="code", source="def grade(sample, item): return 1.0")


def both(formula: str) -> Multi:
    return Multi(name="both", graders={"exact": EXACT, "close": CLOSE}, formula=formula)


def test_a_reward_is_the_formulas_value_and_scores_are_its_graders() -> None:
    graded = grade(both("exact + close / 2"), Sample(text="a b"), {"answer": "a c"})
    assert graded.reward == pytest.approx(0.25)
    assert graded.scores == {"exact": 0.0, "close": pytest.approx(0.5)}
    assert graded.errors == frozenset()
    assert graded.seconds >= 0


def test_one_grader_that_cannot_tell_makes_the_whole_worth_nothing() -> None:
    graded = grade(both("1 + close"), Sample(text="a"), {})
    assert (graded.reward, graded.errors) == (0.0, frozenset({GradingError.VARIABLE}))


def test_tool_calls_are_at_hand_in_templates() -> None:
    call = {"type": "function", "function": {"name": "look_up", "arguments": "{}"}}
    check = StringCheck(
        name="tool",
        input="{{ sample.output_tools[0].function.name }}",
        reference="{{ sample.choices[0].message.tool_calls[0].function.name }}",
        comparison=Comparison.EQUAL,
    )
    assert grade(check, Sample(text="", tool_calls=(call,)), {}).reward == 1.0
    assert grade(check, Sample(text=""), {}).errors == {GradingError.VARIABLE}


@pytest.mark.parametrize("grader", [SCORED, LABELED, CODE], ids=lambda grader: grader.name)
def test_graders_that_cannot_be_run_yet_are_refused(grader: SingleGrader) -> None:
    for asked in (grader, Multi(name="all", graders={"x": grader}, formula="x")):
        with pytest.raises(InvalidRequest, match="not available yet"):
            grade(asked, Sample(text="x"), {})


@pytest.mark.parametrize(
    "grader",
    [
        EXACT,
        CLOSE,
        SCORED,
        LABELED,
        CODE,
        Multi(name="all", graders={"x": SCORED, "y": EXACT, "z": CODE}, formula="x"),
    ],
    ids=lambda grader: grader.name,
)
def test_graders_are_plain_values_that_can_be_stored(grader: Grader) -> None:
    adapter: TypeAdapter[Grader] = TypeAdapter(Grader)
    assert adapter.validate_json(adapter.dump_json(grader)) == grader
