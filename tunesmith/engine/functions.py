"""OpenAI's first spelling of tools, `functions` and `function_call`, in today's words.

Chat templates know tools alone; https://platform.openai.com/docs/api-reference/chat/create calls
the older spelling deprecated.
"""

from typing import Any

from tunesmith.engine.errors import BadConversation

Message = dict[str, Any]


def as_tools(functions: list[Any] | None) -> list[Any] | None:
    if functions is None:
        return None
    return [{"type": "function", "function": function} for function in functions]


def as_tool_calls(messages: list[Message]) -> list[Message]:
    """Each function call as a tool call, and what the function gave as that tool's message."""
    modern = []
    num_calls = 0
    for message in messages:
        if message.get("function_call") is not None:
            num_calls += 1
            message = _with_tool_call(message, _call_id(num_calls))
        elif message.get("role") == "function":
            message = {**message, "role": "tool", "tool_call_id": _call_id(num_calls)}
        modern.append(message)
    return modern


def _with_tool_call(message: Message, call_id: str) -> Message:
    if message.get("tool_calls"):
        raise BadConversation("A message has both `function_call` and `tool_calls`.")
    call = {"id": call_id, "type": "function", "function": message["function_call"]}
    rest = {key: value for key, value in message.items() if key != "function_call"}
    return {**rest, "tool_calls": [call]}


def _call_id(number: int) -> str:
    """Nine letters and digits: Mistral's templates take no other ids."""
    return f"call{number:05d}"
