"""What the dataset doctor says, on the wire."""

from typing import Literal

from pydantic import BaseModel, Field

from tunesmith.dialects.platform.schemas import MAX_NAME_LENGTH, Dataset, Request

Severity = Literal["error", "warning", "notice"]


class Finding(BaseModel):
    """`line` is null for the file as a whole; `seenLine` is the line that this one is like."""

    rule: str
    severity: Severity
    line: int | None
    path: str
    message: str
    seenLine: int | None
    fixable: bool


class RuleCount(BaseModel):
    rule: str
    severity: Severity
    count: int


class Findings(BaseModel):
    """`findings` are up to 100 of each rule, by line; `counts` are of all, and there is more where
    `hasMore`. A job takes the file where it is `trainable`."""

    dataset: str
    against: str | None
    examples: int
    trainable: bool
    fixable: int
    counts: list[RuleCount]
    findings: list[Finding]
    hasMore: bool


class Fix(Request):
    against: str | None = Field(None, description="A dataset to validate with: drop what it has.")
    name: str | None = Field(None, max_length=MAX_NAME_LENGTH)


class Fixed(BaseModel):
    """`dataset` is the new one; `diff` is unified and without context, its first 256 KiB."""

    dataset: Dataset
    linesChanged: int
    linesDropped: int
    diff: str
    diffIsWhole: bool


class TokenColumn(BaseModel):
    """How many examples have at most so many tokens, and more than the column before."""

    upTo: int
    examples: int


class RefusedRow(BaseModel):
    line: int
    message: str


class LosingRow(BaseModel):
    """`lost` tokens that should be learned are beyond those that are `kept`."""

    line: int
    tokens: int
    kept: int
    lost: int


class Tokens(BaseModel):
    """What a base model makes of a dataset, before a job does: the tokens of one epoch.

    `refused` are up to 100 rows from which it could learn nothing; they are not counted. `losing`
    are up to 100 whose end is cut off, and with it tokens that should be learned. `mask` is the
    mask certificate that a job will show; null where rows are refused.
    """

    dataset: str
    baseModel: str
    examples: int
    tokens: int
    trainedTokens: int
    truncatedExamples: int
    losingExamples: int
    lostTokens: int
    refusedExamples: int
    histogram: list[TokenColumn]
    refused: list[RefusedRow]
    losing: list[LosingRow]
    mask: str | None


class Piece(BaseModel):
    """A token as text; several where only together they are a character."""

    text: str
    tokens: int
    learned: bool


class TextSeen(BaseModel):
    """`pieces` are the first 4,000; `cutTokens` are beyond the model's context, so never seen."""

    tokens: int
    trainedTokens: int
    cutTokens: int
    pieces: list[Piece]


class RowSeen(BaseModel):
    """Two texts are a preference, the preferred first; none where the row is refused."""

    line: int
    texts: list[TextSeen]
    refused: str | None


class RowsSeen(BaseModel):
    """Rows as a base model sees them, with what it learns to produce: what carries loss."""

    dataset: str
    baseModel: str
    rows: list[RowSeen]
    hasMore: bool
