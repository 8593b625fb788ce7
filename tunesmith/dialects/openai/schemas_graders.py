"""The wire: graders, and what comes of running one.

The original passes over what it does not know inside a grader, and so do we.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    field_validator,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from tunesmith.domain.formulas import MAX_LENGTH as MAX_FORMULA_LENGTH
from tunesmith.domain.graders import MAX_GRADERS, check_formula
from tunesmith.domain.templates import MAX_LENGTH
from tunesmith.wire.json_body import Request

MAX_NAME_LENGTH = 200
MAX_SOURCE_LENGTH = 256 * 1024
MAX_MESSAGES = 100
MAX_LABELS = 100

Name = Annotated[str, Field(max_length=MAX_NAME_LENGTH)]
Template = Annotated[str, Field(max_length=MAX_LENGTH)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)


class StringCheckGrader(_Part):
    """`neq` is what a guide of the original says where the others say `ne`."""

    type: Literal["string_check"]
    name: Name
    input: Template
    reference: Template
    operation: Literal["eq", "ne", "like", "ilike"]

    @field_validator("operation", mode="before")
    @classmethod
    def _is_one_of_ours(cls, value: Any) -> Any:
        return "ne" if value == "neq" else value


class TextSimilarityGrader(_Part):
    type: Literal["text_similarity"]
    name: Name
    input: Template
    reference: Template
    evaluation_metric: Literal[
        "fuzzy_match",
        "bleu",
        "gleu",
        "meteor",
        "rouge_1",
        "rouge_2",
        "rouge_3",
        "rouge_4",
        "rouge_5",
        "rouge_l",
    ]

    @field_validator("evaluation_metric", mode="before")
    @classmethod
    def _is_for_graders(cls, value: Any) -> Any:
        if value == "cosine":
            raise ValueError("'cosine' is a metric for evals alone; use another one")
        return value


class TextContent(_Part):
    type: Literal["input_text", "output_text"]
    text: Template


class ImageContent(_Part):
    type: Literal["input_image"]
    image_url: str
    detail: str | None = None


class Audio(_Part):
    data: str
    format: Literal["mp3", "wav"]


class AudioContent(_Part):
    type: Literal["input_audio"]
    input_audio: Audio


def _read_one(value: Any, kinds: Mapping[str, type[_Part]]) -> _Part:
    """The kind that `type` names, so that errors speak of its fields and not of all kinds'."""
    if isinstance(value, _Part):
        return value
    if not isinstance(value, dict):
        raise ValueError("must be an object")
    kind = value.get("type")
    if not isinstance(kind, str) or kind not in kinds:
        raise _wrong("type", f"must be one of {', '.join(kinds)} here", kind)
    return kinds[kind].model_validate(value)


def _wrong(field: str, message: str, value: Any) -> ValidationError:
    error = PydanticCustomError("value_error", "{message}", {"message": message})
    return ValidationError.from_exception_data(
        "grader", [InitErrorDetails(type=error, loc=(field,), input=value)]
    )


Content: TypeAlias = TextContent | ImageContent | AudioContent
_CONTENTS: dict[str, type[_Part]] = {
    "input_text": TextContent,
    "output_text": TextContent,
    "input_image": ImageContent,
    "input_audio": AudioContent,
}


def _read_content(value: Any) -> Any:
    """One text or part, or a list of them."""
    if isinstance(value, list):
        return [_read_content_part(part) for part in value]
    return _read_content_part(value)


def _read_content_part(value: Any) -> Any:
    if isinstance(value, str):
        return TypeAdapter(Template).validate_python(value, strict=True)
    return _read_one(value, _CONTENTS)


class Message(_Part):
    role: Literal["user", "assistant", "system", "developer"]
    content: Annotated[
        str | Content | list[str | Content],
        BeforeValidator(_read_content),
    ]
    type: Literal["message"] = "message"


Messages = Annotated[list[Message], Field(min_length=1, max_length=MAX_MESSAGES)]


class SamplingParams(_Part):
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, ge=0, le=1)
    seed: int | None = None
    max_completions_tokens: int | None = Field(None, ge=1)
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = (
        None
    )


class ScoreModelGrader(_Part):
    """Is checked, and not run yet."""

    type: Literal["score_model"]
    name: Name
    model: str
    input: Messages
    range: list[float] = [0.0, 1.0]
    sampling_params: SamplingParams | None = None

    @field_validator("range", mode="before")
    @classmethod
    def _has_a_default(cls, value: Any) -> Any:
        return [0.0, 1.0] if value is None else value

    @field_validator("range")
    @classmethod
    def _goes_up(cls, value: list[float]) -> list[float]:
        if len(value) != 2 or value[0] >= value[1]:
            raise ValueError("must be two numbers, the lower one first")
        return value


class LabelModelGrader(_Part):
    """Is checked, and not run yet; only for `multi`."""

    type: Literal["label_model"]
    name: Name
    model: str
    input: Messages
    labels: list[Name] = Field(min_length=1, max_length=MAX_LABELS)
    passing_labels: list[Name] = Field(min_length=1, max_length=MAX_LABELS)

    @model_validator(mode="after")
    def _passes_with_its_own_labels(self) -> "LabelModelGrader":
        strange = [label for label in self.passing_labels if label not in self.labels]
        if strange:
            raise _wrong("passing_labels", f"{strange[0]!r} is none of `labels`", strange[0])
        return self


class PythonGrader(_Part):
    """Is checked, and not run yet. The guides of the original leave the name out."""

    type: Literal["python"]
    name: Name = "python"
    source: str = Field(max_length=MAX_SOURCE_LENGTH)
    image_tag: str | None = None


SingleGrader: TypeAlias = (
    StringCheckGrader | TextSimilarityGrader | ScoreModelGrader | LabelModelGrader | PythonGrader
)
_ALONE: dict[str, type[_Part]] = {
    "string_check": StringCheckGrader,
    "text_similarity": TextSimilarityGrader,
    "score_model": ScoreModelGrader,
    "python": PythonGrader,
}
_INSIDE: dict[str, type[_Part]] = {**_ALONE, "label_model": LabelModelGrader}
_InsideGrader = Annotated[
    SingleGrader,
    BeforeValidator(lambda value: _read_one(value, _INSIDE)),
]
_InsideGraders = TypeAdapter(
    Annotated[dict[Name, _InsideGrader], Field(min_length=1, max_length=MAX_GRADERS)]
)


def _read_graders(value: Any) -> Any:
    """A map from names; or one grader, as which the original's clients type it."""
    if isinstance(value, _Part) or (isinstance(value, dict) and isinstance(value.get("type"), str)):
        return _read_one(value, _INSIDE)
    return _InsideGraders.validate_python(value)


class MultiGrader(_Part):
    type: Literal["multi"]
    name: Name
    graders: Annotated[
        SingleGrader | dict[str, SingleGrader],
        BeforeValidator(_read_graders),
    ]
    calculate_output: str = Field(max_length=MAX_FORMULA_LENGTH)

    @property
    def graders_by_name(self) -> dict[str, SingleGrader]:
        if isinstance(self.graders, dict):
            return self.graders
        return {self.graders.name: self.graders}

    @model_validator(mode="after")
    def _can_be_calculated(self) -> "MultiGrader":
        try:
            check_formula(self.calculate_output, self.graders_by_name)
        except ValueError as error:
            raise _wrong("calculate_output", str(error), self.calculate_output) from error
        return self


Grader: TypeAlias = (
    StringCheckGrader | TextSimilarityGrader | ScoreModelGrader | PythonGrader | MultiGrader
)
_KINDS: dict[str, type[_Part]] = {**_ALONE, "multi": MultiGrader}
AnyGrader = Annotated[Grader, BeforeValidator(lambda value: _read_one(value, _KINDS))]


class ValidateGrader(Request):
    grader: AnyGrader


class RunGrader(Request):
    grader: AnyGrader
    model_sample: str = Field(max_length=MAX_LENGTH)
    item: dict[str, Any] | None = Field(None, description="what `{{ item.… }}` means")


class ValidatedGrader(BaseModel):
    grader: AnyGrader


class GraderErrors(BaseModel):
    formula_parse_error: bool = False
    invalid_variable_error: bool = False
    model_grader_parse_error: bool = False
    model_grader_refusal_error: bool = False
    model_grader_server_error: bool = False
    model_grader_server_error_details: str | None = None
    other_error: bool = False
    python_grader_runtime_error: bool = False
    python_grader_runtime_error_details: str | None = None
    python_grader_server_error: bool = False
    python_grader_server_error_type: str | None = None
    sample_parse_error: bool = False
    truncated_observation_error: bool = False
    unresponsive_reward_error: bool = False


class GraderMetadata(BaseModel):
    name: str
    type: str
    execution_time: float
    scores: dict[str, float]
    sampled_model_name: str | None = None
    token_usage: int | None = None
    errors: GraderErrors


class GraderRun(BaseModel):
    reward: float
    sub_rewards: dict[str, float]
    model_grader_token_usage_per_model: dict[str, Any] = {}
    metadata: GraderMetadata
