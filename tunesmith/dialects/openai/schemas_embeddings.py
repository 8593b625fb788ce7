"""The wire: embeddings."""

from typing import ClassVar, Literal

from pydantic import BaseModel, Field, field_validator

from tunesmith.dialects.openai.schemas_answers import CreateAnswer, Texts

MAX_INPUTS = 2048


class CreateEmbedding(CreateAnswer):
    IGNORED: ClassVar[frozenset[str]] = frozenset({"user"})

    input: Texts = Field(description=f"up to {MAX_INPUTS:,} texts, none of them empty")
    dimensions: int | None = Field(
        None, ge=1, description="so many first numbers, scaled to length 1 again"
    )
    encoding_format: Literal["float", "base64"] | None = None

    @field_validator("input")
    @classmethod
    def _is_bounded(cls, texts: list[str | list[int]]) -> list[str | list[int]]:
        if len(texts) > MAX_INPUTS:
            raise ValueError(f"must have at most {MAX_INPUTS} items")
        if "" in texts:
            raise ValueError("must not be, or hold, an empty string")
        return texts


class Embedding(BaseModel):
    """Numbers, or the same as little-endian float32 in base64."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float] | str


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class EmbeddingList(BaseModel):
    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: EmbeddingUsage
