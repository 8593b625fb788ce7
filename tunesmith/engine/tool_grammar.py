"""The grammar of an answer that calls tools, in the model's own way of writing calls."""

import json
import re
from typing import Any

from tunesmith.engine.errors import BadConversation
from tunesmith.engine.grammar import ON_ONE_LINE, Grammar, json_rule
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
    callable_functions: dict[str, dict[str, Any]],
    *,
    allows_several: bool,
    json_schema: dict[str, Any] | None = None,
) -> Grammar:
    """One of the functions is called, or several, with arguments that satisfy their parameters.

    With a schema the answer may be text that satisfies it instead.
    """
    begin, end = _literal(tokenizer, form.begin), _literal(tokenizer, form.end)
    more = _more(tokenizer, form.between) if allows_several and form.between is not None else ""
    lines = [f"calls: {_sequence(begin, 'call', more, end)}"]
    schemas = {}
    alternatives = []
    for number, (name, function) in enumerate(callable_functions.items()):
        parameters = function.get("parameters") or _NO_PARAMETERS
        if not isinstance(parameters, dict):
            raise BadConversation(f"The `parameters` of the function {name} must be an object.")
        before = _literal(tokenizer, _spelled(name, form) + form.middle)
        alternatives.append(_sequence(before, f"arguments_{number}"))
        lines.append(f"arguments_{number}: {json_rule(parameters, ON_ONE_LINE)}")
        schemas[f"The schema of the parameters of the function {name}"] = parameters
    lines.append("call: " + " | ".join(alternatives))
    if json_schema is None:
        lines.append("start: calls")
    else:
        lines += ["start: calls | text", f"text: {json_rule(json_schema)}"]
        schemas["The JSON schema"] = json_schema
    return Grammar(lark="\n".join(lines) + "\n", schemas=schemas)


def _more(tokenizer: Any, between: str) -> str:
    return f"({_literal(tokenizer, between)} call){{0,{_MAX_CALLS - 1}}}"


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
