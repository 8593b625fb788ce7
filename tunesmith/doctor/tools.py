"""Tool calls against the tools that stand beside them."""

import json
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from jsonschema_rs import ValidationError, Validator, validator_for

from tunesmith.doctor.findings import Finding, Keys, json_path
from tunesmith.domain.rules import Rule


def check(row: dict[str, Any], line: int) -> Iterator[Finding]:
    """Of a row whose form is right."""
    for holder, keys, messages in _conversations(row):
        functions = _functions(holder)
        yield from _definitions(holder, keys, line)
        known: set[str] = set()
        for message_keys, message in messages:
            for call_keys, call_id, function in _calls(message, message_keys):
                known.add(call_id)
                yield from _call(functions, function, call_keys, line)
            answered = message.get("tool_call_id")
            if message["role"] == "tool" and answered not in known:
                yield Finding(
                    Rule.ANSWER_WITHOUT_CALL,
                    f"The message answers the call {str(answered)[:64]!r}, but no message before "
                    "makes it. Give it the id of the call.",
                    line,
                    json_path((*message_keys, "tool_call_id")),
                )


def _conversations(
    row: dict[str, Any],
) -> Iterator[tuple[dict[str, Any], Keys, list[tuple[Keys, dict[str, Any]]]]]:
    """What holds the tools, where it stands, and the messages to which they belong."""
    asked = row.get("input")
    if "messages" in row:
        yield row, (), _messages(row["messages"], ("messages",))
    elif isinstance(asked, dict):
        before = _messages(asked["messages"], ("input", "messages"))
        for key in row:
            if key != "input":
                before += _messages(row[key], (key,))
        yield asked, ("input",), before


def _messages(messages: list[dict[str, Any]], keys: Keys) -> list[tuple[Keys, dict[str, Any]]]:
    return [((*keys, index), message) for index, message in enumerate(messages)]


def _functions(holder: dict[str, Any]) -> dict[str, dict[str, Any]]:
    tools = [tool["function"] for tool in holder.get("tools") or ()]
    return {function["name"]: function for function in [*tools, *(holder.get("functions") or ())]}


def _calls(message: dict[str, Any], keys: Keys) -> Iterator[tuple[Keys, str, dict[str, Any]]]:
    for index, call in enumerate(message.get("tool_calls") or ()):
        yield (*keys, "tool_calls", index, "function"), call["id"], call["function"]
    if legacy := message.get("function_call"):
        yield (*keys, "function_call"), "", legacy


def _definitions(holder: dict[str, Any], keys: Keys, line: int) -> Iterator[Finding]:
    for key in ("tools", "functions"):
        for index, tool in enumerate(holder.get(key) or ()):
            function = tool["function"] if key == "tools" else tool
            _, problem = _validator(_schema(function))
            if problem is not None:
                inner = (key, index, "function") if key == "tools" else (key, index)
                yield Finding(
                    Rule.BAD_TOOL_SCHEMA,
                    f"The parameters of {function['name']} are no JSON schema: {problem}",
                    line,
                    json_path((*keys, *inner, "parameters")),
                )


def _call(
    functions: dict[str, dict[str, Any]], call: dict[str, Any], keys: Keys, line: int
) -> Iterator[Finding]:
    name, path = call["name"], json_path((*keys, "arguments"))
    try:
        arguments = json.loads(call["arguments"])
    except (ValueError, RecursionError):
        message = f"The arguments of the call of {name[:64]} are not JSON. Write them as JSON text."
        yield Finding(Rule.ARGUMENTS_NOT_JSON, message, line, path)
        return
    if not isinstance(arguments, dict):
        message = f"The arguments of the call of {name[:64]} are no JSON object. Write them as one."
        yield Finding(Rule.ARGUMENTS_SCHEMA, message, line, path)
        return
    if name not in functions:
        message = (
            f"The row calls {name[:64]}, which is not among its tools. "
            "Add the tool to the row, or mend the name."
        )
        yield Finding(Rule.UNKNOWN_FUNCTION, message, line, json_path((*keys, "name")))
        return
    validator, _ = _validator(_schema(functions[name]))
    error = None if validator is None else next(validator.iter_errors(arguments), None)
    if error is not None:
        place = json_path(tuple(error.instance_path))
        message = f"The arguments of {name[:64]} break its schema at {place}: {_short(error)}"
        yield Finding(Rule.ARGUMENTS_SCHEMA, message, line, path)


def _schema(function: dict[str, Any]) -> str:
    return json.dumps(function.get("parameters") or {})


@lru_cache(maxsize=256)  # the rows of a file mostly share their tools
def _validator(schema: str) -> tuple[Validator | None, str | None]:
    """Or what is wrong with the schema. Nothing is fetched for it."""
    try:
        return validator_for(json.loads(schema), offline=True), None
    except ValidationError as error:
        return None, _short(error)


def _short(error: ValidationError) -> str:
    return f"{error.message[:200].rstrip('.')}."
