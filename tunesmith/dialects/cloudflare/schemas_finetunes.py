"""The wire: finetunes and their assets.

https://developers.cloudflare.com/api/resources/ai/subresources/finetunes, as of August 2026.
`status`, `metrics` and `error` are ours, and so is training data as an asset.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, FiniteFloat

from tunesmith.dialects.cloudflare.schemas import Envelope
from tunesmith.wire.json_body import Request

Status = Literal["incomplete", "validating", "queued", "running", "ready", "failed", "stopped"]


class CreateFinetune(Request):
    model: str
    name: str
    description: str | None = None
    public: bool | None = None


class Hyperparameters(Request):
    """Of training data alone: a part of the form that holds a JSON object."""

    num_epochs: int | Literal["auto"] = "auto"
    batch_size: int | Literal["auto"] = "auto"
    learning_rate_multiplier: FiniteFloat | Literal["auto"] = "auto"
    lora_rank: int = 16
    lora_alpha: Annotated[FiniteFloat, Field(gt=0, le=10_000)] = 32.0
    lora_dropout: Annotated[FiniteFloat, Field(ge=0, lt=1)] = 0.0


class Finetune(BaseModel):
    id: str
    name: str
    model: str
    description: str | None
    public: bool
    created_at: datetime
    modified_at: datetime


class TrainingError(BaseModel):
    code: str
    message: str


class FinetuneState(Finetune):
    """`metrics` are those of the newest step of training, if there is any."""

    status: Status
    metrics: dict[str, Any] | None
    error: TrainingError | None


class Asset(BaseModel):
    id: str
    bucket_name: str
    created_at: datetime
    file_name: str
    finetune_id: str
    modified_at: datetime


class AssetState(Asset):
    size: int
    sha256: str


class Deleted(BaseModel):
    id: str


Created = Envelope[Finetune]
Finetunes = Envelope[list[FinetuneState]]
PublicFinetunes = Envelope[list[Finetune]]
OneFinetune = Envelope[FinetuneState]
CreatedAsset = Envelope[Asset]
Assets = Envelope[list[AssetState]]
DeletedFinetune = Envelope[Deleted]
