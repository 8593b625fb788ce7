"""The wire: the envelope and the account.

https://developers.cloudflare.com/api, as of August 2026.
"""

from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel

Result = TypeVar("Result")


class Envelope(BaseModel, Generic[Result]):
    """Around every answer; `success` says what the status says."""

    result: Result
    success: Literal[True] = True
    errors: list[Any] = []
    messages: list[Any] = []


class ResultInfo(BaseModel):
    page: int
    per_page: int
    count: int
    total_count: int


class ResultPage(Envelope[list[Result]], Generic[Result]):
    result_info: ResultInfo


class Token(BaseModel):
    id: str
    status: Literal["active"] = "active"
    expires_on: datetime | None = None


class User(BaseModel):
    id: str
    email: str


class Account(BaseModel):
    id: str
    name: str
    type: Literal["standard"] = "standard"
    created_on: datetime


class Membership(BaseModel):
    id: str
    account: Account
    status: Literal["accepted"] = "accepted"
