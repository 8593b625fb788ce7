"""Grammars that answers are held to: made from JSON schemas, followed token by token.

docs/decisions/0006-constrained-decoding.md says why with llguidance.
"""

import json
import re
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import torch
from llguidance import LLMatcher, LLParserLimits, LLTokenizer
from llguidance.hf import from_tokenizer
from torch import Tensor

from tunesmith.engine.errors import BadSchema, EngineError, UnsupportedModel
from tunesmith.engine.model import BaseModel

_MAX_SCHEMA_CHARACTERS = 256 * 1024
_MAX_REASON_CHARACTERS = 400
_PLACE = re.compile(
    r"^at \d+\(\d+\): (failed to compile JSON schema: )?| \d+ \| \w+:.*|<non-verbose/>"
)
# Between two parts of the JSON a model may put one space, or a line break and an indentation, as
# people do; with more freedom some models write blanks until their tokens are used up.
FREELY_SPACED = {"whitespace_pattern": r"( |\n[ ]{0,24})"}
# As chat templates write it, whose `tojson` is Python's.
ON_ONE_LINE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
# Keywords of JSON Schema, by what they hold.
_SCHEMA_WITHIN = frozenset({"items", "additionalProperties", "contains"})
_LIST_WITHIN = frozenset({"anyOf", "oneOf", "prefixItems"})
_MAPPING_WITHIN = frozenset({"properties", "patternProperties", "$defs", "definitions"})
_ALTERNATIVES = frozenset({"anyOf", "oneOf", "$ref"})
_COMPOSING = frozenset({"allOf", "if", "dependentSchemas", "unevaluatedProperties", "$dynamicRef"})
# A step that needs more is an error of its request. The figures bound a step to some 20 ms.
_LIMITS = LLParserLimits(
    initial_lexer_fuel=2_000_000,
    step_lexer_fuel=200_000,
    step_max_items=50_000,
    max_lexer_states=50_000,
    max_grammar_size=500_000,
    verbose_errors=False,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Grammar:
    """`lark` is in llguidance's dialect of Lark; `schemas` are those in it, by their names."""

    lark: str
    schemas: dict[str, Any] = field(default_factory=dict)


def json_grammar(schema: dict[str, Any]) -> Grammar:
    """Text that is JSON and satisfies the schema."""
    return Grammar(lark=f"start: {json_rule(schema)}\n", schemas={"The JSON schema": schema})


def json_rule(schema: dict[str, Any], spacing: dict[str, Any] = FREELY_SPACED) -> str:
    """A schema as an expression in a grammar. Raises `BadSchema` where it is too large."""
    try:
        text = json.dumps({**_closed(schema), "x-guidance": spacing})
    except (RecursionError, TypeError, ValueError) as error:
        raise BadSchema(f"The JSON schema cannot be read: {error}.") from error
    if len(text) > _MAX_SCHEMA_CHARACTERS:
        raise BadSchema(f"The JSON schema has more than {_MAX_SCHEMA_CHARACTERS} characters.")
    return f"%json {text}"


@dataclass(frozen=True, slots=True)
class Permission:
    """What may come next; `is_complete` where nothing can come any more."""

    allowed: Tensor  # (vocabulary,), bool
    is_complete: bool


class Grammars:
    """The grammars of one model's answers.

    Threads read grammars and find out which tokens may come next, while the model computes its
    next step; llguidance lets go of Python's lock meanwhile. Other rows wait for a step at most.
    """

    def __init__(self, model: BaseModel) -> None:
        self._model = model
        self._tokenizer: LLTokenizer | None = None
        self._lock = threading.Lock()
        self._readers = ThreadPoolExecutor(max_workers=1, thread_name_prefix="grammar")
        self._followers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="mask")

    def constrain(self, grammar: Grammar) -> "Constraint":
        return Constraint(grammar, self, self._readers, self._followers)

    def matcher(self, grammar: Grammar) -> LLMatcher:
        """Raises `BadSchema` where the grammar cannot be followed."""
        tokenizer = self._for_tokens()
        made = LLMatcher.grammar_from_lark(grammar.lark)
        matcher = LLMatcher(tokenizer, made, log_level=0, limits=_LIMITS)
        if matcher.is_error():
            raise BadSchema(_reason(grammar, matcher.get_error()))
        return matcher

    def permission(self, matcher: LLMatcher) -> Permission:
        bias = matcher.compute_logit_bias()  # a byte for each token, 0 where it is excluded
        if matcher.is_error():
            reason = _short(matcher.get_error())
            raise BadSchema(f"The answer cannot be held to the JSON schema any longer: {reason}.")
        vocab_size = self._model.config.vocab_size
        allowed = torch.frombuffer(bytearray(bias), dtype=torch.uint8)[:vocab_size] != 0
        return Permission(allowed, matcher.is_stopped() or not bool(allowed.any()))

    def _for_tokens(self) -> LLTokenizer:
        """Made once; of a large vocabulary that takes a second or so."""
        with self._lock:
            if self._tokenizer is None:
                tokenizer = self._model.tokenizer
                size = max(self._model.config.vocab_size, len(tokenizer))
                ends = sorted(self._model.end_of_text_ids)
                try:
                    self._tokenizer = from_tokenizer(
                        tokenizer, n_vocab=size, eos_token=ends or None
                    )
                except (ValueError, RuntimeError) as error:
                    message = f"Answers of this model cannot be held to a grammar: {error}."
                    raise UnsupportedModel(message) from error
            return self._tokenizer


class Constraint:
    """One answer's place in its grammar."""

    def __init__(
        self,
        grammar: Grammar,
        grammars: Grammars,
        readers: ThreadPoolExecutor,
        followers: ThreadPoolExecutor,
    ) -> None:
        self._grammars = grammars
        self._followers = followers
        self._matcher: LLMatcher | None = None
        self._permission: Future[Permission] = readers.submit(self._begin, grammar)

    @property
    def begun(self) -> Future[Permission]:
        """Done once the grammar is read."""
        return self._permission

    def permission(self) -> Permission:
        """Waits for the grammar. Raises `BadSchema` where it cannot be followed."""
        error = self._permission.exception()
        if error is None or isinstance(error, EngineError):
            return self._permission.result()
        # A defect of the library's, which a schema brought to light: it costs this answer alone.
        raise BadSchema(f"The answer cannot be held to its schema: {error}.") from error

    def advance(self, token_id: int) -> None:
        """The token was written; what may follow is found out meanwhile."""
        self._permission = self._followers.submit(self._follow, token_id)

    def _begin(self, grammar: Grammar) -> Permission:
        self._matcher = self._grammars.matcher(grammar)
        return self._grammars.permission(self._matcher)

    def _follow(self, token_id: int) -> Permission:
        assert self._matcher is not None
        self._matcher.consume_token(token_id)
        return self._grammars.permission(self._matcher)


class _PutsTogether(Exception):
    """A schema whose objects are put together from several parts."""


def _closed(schema: dict[str, Any]) -> dict[str, Any]:
    """Without properties that nobody named: where any are free to come, models make some up.

    Whatever satisfies the closed schema satisfies the schema. One that puts objects together from
    several parts stays as it is, as each part would shut out the others'.
    """
    try:
        return dict(_closed_part(schema))
    except _PutsTogether:
        return schema


def _closed_part(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    if not _COMPOSING.isdisjoint(schema):
        raise _PutsTogether
    closed = dict(schema)
    for key, value in schema.items():
        if key in _SCHEMA_WITHIN:
            closed[key] = _closed_part(value)
        elif key in _LIST_WITHIN and isinstance(value, list):
            closed[key] = [_closed_part(part) for part in value]
        elif key in _MAPPING_WITHIN and isinstance(value, dict):
            closed[key] = {name: _closed_part(part) for name, part in value.items()}
    if "properties" in schema:
        if not _ALTERNATIVES.isdisjoint(schema):
            raise _PutsTogether
        if "patternProperties" not in schema:
            closed.setdefault("additionalProperties", False)
    return closed


def _reason(grammar: Grammar, error: str) -> str:
    """Which of the grammar's schemas is at fault, and why."""
    for name, schema in grammar.schemas.items():
        alone = LLMatcher.grammar_from_lark(f"start: {json_rule(schema)}\n")
        reason = LLMatcher.validate_grammar(alone, limits=_LIMITS)
        if reason:
            return f"{name} is not supported: {_short(reason)}."
    return f"The answer cannot be held to what was asked: {_short(error)}."


def _short(reason: str) -> str:
    """The library's words without where they are in the grammar, which users do not see."""
    text = _PLACE.sub("", " ".join(reason.split()))
    return text[:_MAX_REASON_CHARACTERS].rstrip(". ")
