"""The grammar of an answer that calls tools, in the model's own way of writing calls."""

import json
import re
from typing import Any

from tunesmith.engine.errors import BadConversation
from tunesmith.engine.grammar import Grammar, json_rule
from tunesmith.engine.tool_format import CALL_ID, ToolFormat

_MAX_CALLS = 16  # in one answer that must call
_NO_PARAMETERS: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}


def functions(tools: list[dict[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """The tools' functions by name."""
    found = {}
    for tool in tools or []:
        function = tool.get("function") if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise BadConversation("Each tool needs a `function` with a `name`.")
        found[function["name"]] = function
    return found


def calls_grammar(
    tokenizer: Any,
    form: ToolFormat,
    required: dict[str, dict[str, Any]],
    *,
    allows_several: bool,
) -> Grammar:
    """One of the functions is called, with arguments that satisfy its parameters; or several."""
    one_of = [
        [_literal(tokenizer, _spelled(name, form) + form.middle), f"arguments_{number}"]
        for number, name in enumerate(required)
    ]
    lines = ["start: " + _sequence(_literal(tokenizer, form.begin), "call", _more(tokenizer, form))]
    if not (allows_several and form.between is not None):
        lines = ["start: " + _sequence(_literal(tokenizer, form.begin), "call")]
    lines[0] += " " + _literal(tokenizer, form.end)
    lines.append("call: " + " | ".join(_sequence(*parts) for parts in one_of))
    schemas = {}
    for number, (name, function) in enumerate(required.items()):
        parameters = function.get("parameters") or _NO_PARAMETERS
        if not isinstance(parameters, dict):
            raise BadConversation(f"The `parameters` of the function {name} must be an object.")
        lines.append(f"arguments_{number}: {json_rule(parameters)}")
        schemas[f"The schema of the parameters of the function {name}"] = parameters
    return Grammar(lark="\n".join(lines) + "\n", schemas=schemas)


def _more(tokenizer: Any, form: ToolFormat) -> str:
    return f"({_literal(tokenizer, form.between or '')} call){{0,{_MAX_CALLS - 1}}}"


def _sequence(*parts: str) -> str:
    return " ".join(part for part in parts if part)


def _spelled(name: str, form: ToolFormat) -> str:
    return name if form.name_key is None else json.dumps(name, ensure_ascii=False)[1:-1]


def _literal(tokenizer: Any, text: str) -> str:
    """Text in a grammar: special tokens by their ids, a call's id as any nine characters."""
    specials = {str(t): i for i, t in tokenizer.added_tokens_decoder.items() if t.special}
    pattern = "|".join(re.escape(one) for one in [CALL_ID, *sorted(specials, key=len)[::-1]])
    parts = []
    for part in re.split(f"({pattern})", text):
        if part == CALL_ID:
            parts.append("/[a-zA-Z0-9]{9}/")
        elif part in specials:
            parts.append(f"<[{specials[part]}]>")
        elif part:
            parts.append(json.dumps(part))
    return " ".join(parts)
