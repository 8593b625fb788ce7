"""The checks of conversations in training files: messages, tool calls, tools.

The shapes are those of https://platform.openai.com/docs/api-reference/fine-tuning/chat-input.
Everything here raises `InvalidTrainingData` without a line, which whoever reads the file adds.
"""

import json
import re
from typing import Any

from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.rules import Rule

BAD_EXAMPLE = "bad_example"
MAX_TOOLS = 128

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_KEYS = ("role", "content", "name")
_KEYS_OF_ROLE = {
    "assistant": ("refusal", "tool_calls", "function_call", "weight"),
    "tool": ("tool_call_id",),
}
_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def bad(message: str, path: str, rule: Rule = Rule.BAD_MESSAGE) -> InvalidTrainingData:
    return InvalidTrainingData(message, code=BAD_EXAMPLE, rule=rule, path=path)


def check_messages(messages: Any, where: str = "messages") -> list[dict[str, Any]]:
    """`where` they stand in the row."""
    if not isinstance(messages, list) or not messages:
        raise bad(f"`{where}` must be a list of at least one message.", f"$.{where}")
    for position, message in enumerate(messages, start=1):
        try:
            _check_message(message)
        except InvalidTrainingData as error:
            path = f"$.{where}[{position - 1}]{error.path}"
            raise bad(f"Message {position} {error.message}", path, error.rule) from error
    return messages


def check_learned(messages: list[dict[str, Any]]) -> None:
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        raise bad(
            "There is no message with the role assistant to learn from.",
            "$.messages",
            Rule.NOTHING_LEARNED,
        )
    if all(answer.get("weight") == 0 for answer in answers):
        raise bad(
            "Every message of the assistant has weight 0, so there is nothing to learn.",
            "$.messages",
            Rule.NOTHING_LEARNED,
        )


def check_tools(holder: dict[str, Any], messages: list[dict[str, Any]], at: str = "$") -> None:
    """`holder`, at `at` in the row, is what stands beside the messages.

    `functions` is the older spelling of `tools`.
    """
    tools, functions = holder.get("tools"), holder.get("functions")
    if tools is not None and functions is not None:
        raise bad("Use `tools` or `functions`, not both.", f"{at}.functions", Rule.BAD_TOOL)
    if tools is not None:
        _check_count(tools, "tools", 0, at)
        for position, tool in enumerate(tools, start=1):
            path = f"{at}.tools[{position - 1}]"
            if not isinstance(tool, dict) or tool.get("type") != "function":
                message = f"Tool {position} must be an object of the type function."
                raise bad(message, path, Rule.BAD_TOOL)
            _check_function(tool.get("function"), f"Tool {position}", f"{path}.function")
    if functions is not None:
        _check_count(functions, "functions", 1, at)
        for position, function in enumerate(functions, start=1):
            _check_function(function, f"Function {position}", f"{at}.functions[{position - 1}]")
    is_parallel, path = holder.get("parallel_tool_calls"), f"{at}.parallel_tool_calls"
    if not isinstance(is_parallel, bool | None):
        raise bad("`parallel_tool_calls` must be true or false.", path, Rule.BAD_TOOL)
    if is_parallel is False and any(len(m.get("tool_calls") or ()) > 1 for m in messages):
        raise bad(
            "A message makes several tool calls, though `parallel_tool_calls` is false.",
            path,
            Rule.BAD_CALL,
        )


def _check_count(tools: Any, name: str, least: int, at: str) -> None:
    if not isinstance(tools, list) or not least <= len(tools) <= MAX_TOOLS:
        message = f"`{name}` must be a list of {least} to {MAX_TOOLS} functions."
        raise bad(message, f"{at}.{name}", Rule.BAD_TOOL)


def _check_function(function: Any, where: str, path: str) -> None:
    def fault(sentence: str, key: str = "") -> InvalidTrainingData:
        return bad(f"{where}{sentence}", f"{path}{key}", Rule.BAD_TOOL)

    if not isinstance(function, dict):
        raise fault(" must hold a function as an object.")
    name = function.get("name")
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        raise fault(" needs a name of 1 to 64 letters, digits, underscores and dashes.", ".name")
    if not isinstance(function.get("description"), str | None):
        raise fault(": the description must be text.", ".description")
    if not isinstance(function.get("parameters"), dict | None):
        raise fault(": the parameters must be a JSON schema, which is an object.", ".parameters")


def _check_message(message: Any) -> None:
    """Raises with a sentence that follows "Message N", and the path from the message on."""
    if not isinstance(message, dict):
        raise bad("is not an object.", "")
    role = message.get("role")
    if not isinstance(role, str) or role not in ROLES:
        said = f"has no known role (it says {str(role)[:64]!r})."
        raise bad(said, ".role", Rule.UNKNOWN_ROLE)
    allowed = _KEYS + _KEYS_OF_ROLE.get(role, ())
    for key, value in message.items():
        if key not in allowed and value not in (None, []):  # as the client's own objects have
            said = f'has a key that means nothing for the role {role}: "{key[:64]}".'
            raise bad(said, key_path(key), Rule.EXTRA_KEY)
    if not isinstance(message.get("name"), str | None):
        raise bad("has a name that is not text.", ".name")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise bad("needs a tool_call_id that says which call it answers.", "", Rule.BAD_CALL)
    if role == "assistant":
        _check_weight(message.get("weight"))
        _check_calls(message)
    _check_content(message, role)


def key_path(key: str) -> str:
    """The step of a JSON path to a key."""
    return f".{key}" if key.isidentifier() else f"[{json.dumps(key)}]"


def _check_weight(weight: Any) -> None:
    if isinstance(weight, bool) or weight not in (None, 0, 1):
        raise bad("has a weight that is neither 0 nor 1.", ".weight", Rule.BAD_WEIGHT)


def _check_calls(message: dict[str, Any]) -> None:
    calls, legacy_call = message.get("tool_calls"), message.get("function_call")
    if calls is not None and legacy_call is not None:
        said = "has both tool_calls and the older function_call."
        raise bad(said, ".function_call", Rule.BAD_CALL)
    if legacy_call is not None:
        _check_call(legacy_call, "function_call", ".function_call")
    if calls is None:
        return
    if not isinstance(calls, list):
        raise bad("has tool_calls that are not a list.", ".tool_calls", Rule.BAD_CALL)
    for index, call in enumerate(calls):
        path = f".tool_calls[{index}]"
        if not isinstance(call, dict) or call.get("type", "function") != "function":
            said = "has a tool call that is not an object of the type function."
            raise bad(said, path, Rule.BAD_CALL)
        if not isinstance(call.get("id"), str):
            raise bad("has a tool call without an id.", path, Rule.BAD_CALL)
        _check_call(call.get("function"), "tool call", f"{path}.function")


def _check_call(call: Any, what: str, path: str) -> None:
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise bad(f"has a {what} that names no function.", path, Rule.BAD_CALL)
    if not isinstance(call.get("arguments"), str):
        said = f"has a {what} whose arguments are not JSON text."
        raise bad(said, f"{path}.arguments", Rule.BAD_CALL)


def _check_content(message: dict[str, Any], role: str) -> None:
    content, refusal = message.get("content"), message.get("refusal")
    if not isinstance(refusal, str | None):
        raise bad("has a refusal that is not text.", ".refusal", Rule.BAD_CONTENT)
    if content and refusal:
        raise bad("has both content and a refusal.", ".refusal", Rule.BAD_CONTENT)
    if content is None:
        calls = message.get("tool_calls") or message.get("function_call")
        if role == "function" or calls or refusal:
            return
        raise bad("has no content.", "", Rule.BAD_CONTENT)
    if not isinstance(content, str | list):
        said = "has content that is neither text nor a list of parts."
        raise bad(said, ".content", Rule.BAD_CONTENT)
    if isinstance(content, list):
        for index, part in enumerate(content):
            _check_part(part, role, f".content[{index}]")


def _check_part(part: Any, role: str, path: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "image_url":
        said = "has an image; the models here are trained on text alone."
        raise bad(said, path, Rule.BAD_CONTENT)
    if kind != "text" and not (kind == "refusal" and role == "assistant"):
        raise bad("has a content part that is not of the type text.", path, Rule.BAD_CONTENT)
    if not isinstance(part.get(kind), str):
        raise bad(f"has a content part without its {kind}.", path, Rule.BAD_CONTENT)
