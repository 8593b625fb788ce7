"""How a model writes calls of tools: learnt from its chat template, or in the house format.

A template that shows a call of a marker function with marker arguments gives away what stands
before, between and behind them. Where a template passes over tools, or writes calls in something
else than JSON, definitions, calls and results are put into the messages' text, in the words of
Hermes and Qwen, the most common ones. Training rows and prompts both go through `prepared`.
"""

import json
import re
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import blake2s
from typing import Any

from tunesmith.engine import house_tools
from tunesmith.engine.house_tools import render
from tunesmith.engine.rendering import Message

CALL_ID = "\u2042"  # stands for a call's id where a template prints one
_MARK = "\u2042mark\u2042"
_FIRST, _SECOND = "zqfirst", "zqsecond"
_ARGUMENTS = {"zqkey": "zqvalue"}
_IDS = {_FIRST: "zq0000001", _SECOND: "zq0000002"}  # Mistral's templates want 9 characters
_CALL_ID_LENGTH = 9
_USER = {"role": "user", "content": "a"}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolFormat:
    """An answer's calls are `begin` name `middle` arguments (`between` name `middle` arguments)*
    `end`. `between` is None where a template takes one call only.

    Where `name_key` and `arguments_key` are set, the name and the arguments are members of one JSON
    object, and models may space it as they like.
    """

    begin: str
    middle: str
    end: str
    between: str | None
    name_key: str | None = None
    arguments_key: str | None = None
    is_house: bool = False

    @property
    def marker(self) -> str:
        """What stands before the JSON object or the name, blanks and list brackets left out."""
        if self.name_key is None:
            return self.begin.strip()
        return self.begin.partition("{")[0].strip().rstrip("[").strip()

    @property
    def closing(self) -> str:
        """What stands behind the call, blanks and list brackets left out."""
        if self.name_key is None:
            return self.end.strip()
        return self.end.rpartition("}")[2].strip().lstrip("]").strip()

    @property
    def has_ids(self) -> bool:
        return CALL_ID in self.begin + self.middle + self.end


HOUSE = ToolFormat(
    begin=house_tools.BEGIN,
    middle=house_tools.MIDDLE,
    end=house_tools.END,
    between=house_tools.BETWEEN,
    name_key="name",
    arguments_key="arguments",
    is_house=True,
)


def tool_format(tokenizer: Any) -> ToolFormat:
    """Learnt once for each template."""
    return _learnt(tokenizer, str(tokenizer.chat_template)) or HOUSE


def prepared(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None
) -> tuple[list[Message], list[Any] | None]:
    """Messages and tools as the model's chat template understands them."""
    if not tools and not any(m.get("tool_calls") or m.get("role") == "tool" for m in messages):
        return messages, tools
    form = tool_format(tokenizer)
    if form.is_house:
        return house_tools.written_out(tokenizer, messages, tools), None
    return [_with_short_ids(m) for m in messages] if form.has_ids else messages, tools


@lru_cache(maxsize=16)
def _learnt(tokenizer: Any, _template: str) -> ToolFormat | None:
    tools = [_function("zqtool")]
    prompt = render(tokenizer, [_USER], tools)
    called = render(tokenizer, [_USER, _calling(_FIRST)], tools)
    plain = render(tokenizer, [_USER, {"role": "assistant", "content": _MARK}], tools)
    if "zqtool" not in prompt or _FIRST not in called or _MARK not in plain:
        return None
    start = next((i for i, (a, b) in enumerate(zip(called, plain, strict=False)) if a != b), 0)
    parts = _split(called[start:], _FIRST)
    if parts is None:
        return None
    begin, middle, rest = parts
    end = _cut(tokenizer, rest, plain.partition(_MARK)[2])
    between = None
    calls = render(tokenizer, [_USER, _calling(_FIRST, _SECOND)], tools)
    following = _split(calls[start:], _FIRST)
    if following is not None and _SECOND in following[2]:
        between = _blurred(following[2].partition(_SECOND)[0])
    return _with_style(ToolFormat(begin=begin, middle=middle, end=_blurred(end), between=between))


def _function(name: str) -> dict[str, Any]:
    parameters = {"type": "object", "properties": {"city": {"type": "string"}}}
    return {
        "type": "function",
        "function": {"name": name, "description": "-", "parameters": parameters},
    }


def _calling(*names: str) -> Message:
    calls = [
        {
            "id": _IDS[name],
            "type": "function",
            "function": {"name": name, "arguments": _ARGUMENTS},
        }
        for name in names
    ]
    return {"role": "assistant", "content": "", "tool_calls": calls}


def _split(text: str, name: str) -> tuple[str, str, str] | None:
    """What stands before the name, between name and arguments, and behind the arguments."""
    begin, _, rest = text.partition(name)
    brace = rest.find("{")
    if brace < 0:
        return None
    try:
        arguments, end = json.JSONDecoder().raw_decode(rest, brace)
    except ValueError:
        return None
    if arguments != _ARGUMENTS:
        return None
    return _blurred(begin), _blurred(rest[:brace]), rest[end:]


def _blurred(text: str) -> str:
    return re.sub("|".join(_IDS.values()), CALL_ID, text)


def _cut(tokenizer: Any, rest: str, plain_rest: str) -> str:
    """Without what ends a message: that of a plain one, or a special token of its own."""
    if rest.endswith(plain_rest):
        return rest[: len(rest) - len(plain_rest)]
    ends = [rest.find(token) for token in tokenizer.all_special_tokens if token in rest]
    return rest[: min(ends, default=len(rest))]


def _with_style(found: ToolFormat) -> ToolFormat | None:
    before = re.fullmatch(r'[^{"]*\{\s*"(\w+)"\s*:\s*"', found.begin)
    amid = re.fullmatch(r'"\s*,\s*"(\w+)"\s*:\s*', found.middle)
    if before and amid and found.end.lstrip()[:1] in ("}", ","):
        return replace(found, name_key=before[1], arguments_key=amid[1])
    is_told_apart = bool(found.begin.strip()) and CALL_ID not in found.begin
    return found if is_told_apart else None


def _with_short_ids(message: Message) -> Message:
    """Other servers' ids, and ours, are longer than such templates take."""
    short = dict(message)
    if isinstance(message.get("tool_call_id"), str):
        short["tool_call_id"] = _short_id(message["tool_call_id"])
    if message.get("tool_calls"):
        short["tool_calls"] = [
            {**call, "id": _short_id(str(call.get("id", number)))}
            for number, call in enumerate(message["tool_calls"])
            if isinstance(call, dict)
        ]
    return short


def _short_id(call_id: str) -> str:
    if len(call_id) == _CALL_ID_LENGTH and call_id.isalnum():
        return call_id
    return blake2s(call_id.encode(errors="replace")).hexdigest()[:_CALL_ID_LENGTH]
