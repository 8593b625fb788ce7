"""The checks of conversations in training files: messages, tool calls, tools.

The shapes are those of https://platform.openai.com/docs/api-reference/fine-tuning/chat-input.
Everything here raises `InvalidTrainingData` without a line, which whoever reads the file adds.
"""

import re
from typing import Any

from tunesmith.domain.errors import InvalidTrainingData

BAD_EXAMPLE = "bad_example"
MAX_TOOLS = 128

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")
_KEYS = ("role", "content", "name")
_KEYS_OF_ROLE = {
    "assistant": ("refusal", "tool_calls", "function_call", "weight"),
    "tool": ("tool_call_id",),
}
_FUNCTION_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def bad(message: str) -> InvalidTrainingData:
    return InvalidTrainingData(message, code=BAD_EXAMPLE)


def check_messages(messages: Any, where: str = "`messages`") -> list[dict[str, Any]]:
    if not isinstance(messages, list) or not messages:
        raise bad(f"{where} must be a list of at least one message.")
    for position, message in enumerate(messages, start=1):
        try:
            _check_message(message)
        except InvalidTrainingData as error:
            raise bad(f"Message {position} {error.message}") from error
    return messages


def check_learned(messages: list[dict[str, Any]]) -> None:
    answers = [message for message in messages if message["role"] == "assistant"]
    if not answers:
        raise bad("There is no message with the role assistant to learn from.")
    if all(answer.get("weight") == 0 for answer in answers):
        raise bad("Every message of the assistant has weight 0, so there is nothing to learn.")


def check_tools(holder: dict[str, Any], messages: list[dict[str, Any]]) -> None:
    """`holder` is what stands beside the messages; `functions` is the older spelling of `tools`."""
    tools, functions = holder.get("tools"), holder.get("functions")
    if tools is not None and functions is not None:
        raise bad("Use `tools` or `functions`, not both.")
    if tools is not None:
        _check_count(tools, "tools", 0)
        for position, tool in enumerate(tools, start=1):
            if not isinstance(tool, dict) or tool.get("type") != "function":
                raise bad(f"Tool {position} must be an object of the type function.")
            _check_function(tool.get("function"), f"Tool {position}")
    if functions is not None:
        _check_count(functions, "functions", 1)
        for position, function in enumerate(functions, start=1):
            _check_function(function, f"Function {position}")
    is_parallel = holder.get("parallel_tool_calls")
    if not isinstance(is_parallel, bool | None):
        raise bad("`parallel_tool_calls` must be true or false.")
    if is_parallel is False and any(len(m.get("tool_calls") or ()) > 1 for m in messages):
        raise bad("A message makes several tool calls, though `parallel_tool_calls` is false.")


def _check_count(tools: Any, name: str, least: int) -> None:
    if not isinstance(tools, list) or not least <= len(tools) <= MAX_TOOLS:
        raise bad(f"`{name}` must be a list of {least} to {MAX_TOOLS} functions.")


def _check_function(function: Any, where: str) -> None:
    if not isinstance(function, dict):
        raise bad(f"{where} must hold a function as an object.")
    name = function.get("name")
    if not isinstance(name, str) or not _FUNCTION_NAME.fullmatch(name):
        raise bad(f"{where} needs a name of 1 to 64 letters, digits, underscores and dashes.")
    if not isinstance(function.get("description"), str | None):
        raise bad(f"{where}: the description must be text.")
    if not isinstance(function.get("parameters"), dict | None):
        raise bad(f"{where}: the parameters must be a JSON schema, which is an object.")


def _check_message(message: Any) -> None:
    """Raises with a sentence that follows "Message N"."""
    if not isinstance(message, dict):
        raise bad("is not an object.")
    role = message.get("role")
    if not isinstance(role, str) or role not in _ROLES:
        raise bad(f"has no known role (it says {str(role)[:64]!r}).")
    allowed = _KEYS + _KEYS_OF_ROLE.get(role, ())
    for key, value in message.items():
        if key not in allowed and value not in (None, []):  # as the client's own objects have
            raise bad(f'has a key that means nothing for the role {role}: "{key[:64]}".')
    if not isinstance(message.get("name"), str | None):
        raise bad("has a name that is not text.")
    if role == "tool" and not isinstance(message.get("tool_call_id"), str):
        raise bad("needs a tool_call_id that says which call it answers.")
    if role == "assistant":
        _check_weight(message.get("weight"))
        _check_calls(message)
    _check_content(message, role)


def _check_weight(weight: Any) -> None:
    if isinstance(weight, bool) or weight not in (None, 0, 1):
        raise bad("has a weight that is neither 0 nor 1.")


def _check_calls(message: dict[str, Any]) -> None:
    calls, legacy_call = message.get("tool_calls"), message.get("function_call")
    if calls is not None and legacy_call is not None:
        raise bad("has both tool_calls and the older function_call.")
    if legacy_call is not None:
        _check_call(legacy_call, "function_call")
    if calls is None:
        return
    if not isinstance(calls, list):
        raise bad("has tool_calls that are not a list.")
    for call in calls:
        if not isinstance(call, dict) or call.get("type", "function") != "function":
            raise bad("has a tool call that is not an object of the type function.")
        if not isinstance(call.get("id"), str):
            raise bad("has a tool call without an id.")
        _check_call(call.get("function"), "tool call")


def _check_call(call: Any, what: str) -> None:
    if not isinstance(call, dict) or not isinstance(call.get("name"), str) or not call["name"]:
        raise bad(f"has a {what} that names no function.")
    if not isinstance(call.get("arguments"), str):
        raise bad(f"has a {what} whose arguments are not JSON text.")


def _check_content(message: dict[str, Any], role: str) -> None:
    content, refusal = message.get("content"), message.get("refusal")
    if not isinstance(refusal, str | None):
        raise bad("has a refusal that is not text.")
    if content and refusal:
        raise bad("has both content and a refusal.")
    if content is None:
        calls = message.get("tool_calls") or message.get("function_call")
        if role == "function" or calls or refusal:
            return
        raise bad("has no content.")
    if not isinstance(content, str | list):
        raise bad("has content that is neither text nor a list of parts.")
    if isinstance(content, list):
        for part in content:
            _check_part(part, role)


def _check_part(part: Any, role: str) -> None:
    kind = part.get("type") if isinstance(part, dict) else None
    if kind == "image_url":
        raise bad("has an image; the models here are trained on text alone.")
    if kind != "text" and not (kind == "refusal" and role == "assistant"):
        raise bad("has a content part that is not of the type text.")
    if not isinstance(part.get(kind), str):
        raise bad(f"has a content part without its {kind}.")
