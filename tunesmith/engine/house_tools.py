"""The house format of tools, for chat templates that pass over them: all of it is message text."""

import json
from functools import lru_cache
from typing import Any

from tunesmith.engine import rendering
from tunesmith.engine.rendering import Message

BEGIN = '<tool_call>{"name": "'
MIDDLE = '", "arguments": '
END = "}</tool_call>"
BETWEEN = f"{END}\n{BEGIN}"

_MARK = "\u2042mark\u2042"
_INTRODUCTION = (
    "You can call functions. To call one, write its name and arguments as JSON between tags:\n"
    f'{BEGIN}the name{MIDDLE}{{"the parameter": "its value"}}{END}\n'
    "You are told what it returns. The functions are:"
)


def written_out(tokenizer: Any, messages: list[Message], tools: list[Any] | None) -> list[Message]:
    """The messages with definitions, calls and results in their text."""
    template = str(tokenizer.chat_template)
    written: list[Message] = []
    for message in messages:
        if message.get("role") == "tool" and not _takes_results(tokenizer, template):
            _add_result(written, message)
        elif message.get("tool_calls"):
            written.append(_with_calls(message))
        else:
            written.append(message)
    return _with_definitions(tokenizer, template, written, tools) if tools else written


def render(tokenizer: Any, messages: list[Message], tools: list[Any] | None = None) -> str:
    """A conversation to learn from, or nothing where the template refuses it."""
    try:
        return rendering.render(tokenizer, messages, tools)
    except rendering.TemplateRefused:
        return ""


def _with_calls(message: Message) -> Message:
    calls = [_call_text(call) for call in message["tool_calls"]]
    content = "\n".join([text for text in (message.get("content"), *calls) if text])
    return {key: value for key, value in message.items() if key != "tool_calls"} | {
        "content": content
    }


def _call_text(call: Any) -> str:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise ValueError("each of `tool_calls` needs a `function`")
    name = json.dumps(function.get("name"), ensure_ascii=False)[1:-1]
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False)
    return f"{BEGIN}{name}{MIDDLE}{arguments}{END}"


def _add_result(written: list[Message], message: Message) -> None:
    """As a user's message; several in a row are one, for templates whose roles must alternate."""
    text = f"<tool_response>{message.get('content') or ''}</tool_response>"
    if written and written[-1].get("role") == "user":
        written[-1] = {**written[-1], "content": f"{written[-1].get('content')}\n{text}"}
    else:
        written.append({"role": "user", "content": text})


def _with_definitions(
    tokenizer: Any, template: str, messages: list[Message], tools: list[Any]
) -> list[Message]:
    lines = [json.dumps(tool, ensure_ascii=False) for tool in tools]
    text = "\n".join([_INTRODUCTION, *lines])
    takes_system = _takes_system(tokenizer, template)
    role = "system" if takes_system else "user"
    first = messages[0] if messages else {}
    if first.get("role") == role and first.get("content"):
        both = (first["content"], text) if takes_system else (text, first["content"])
        return [{**first, "content": "\n\n".join(both)}, *messages[1:]]
    return [{"role": role, "content": text}, *messages]


@lru_cache(maxsize=16)
def _takes_system(tokenizer: Any, _template: str) -> bool:
    asked = [{"role": "system", "content": _MARK}, {"role": "user", "content": "a"}]
    return _MARK in render(tokenizer, asked)


@lru_cache(maxsize=16)
def _takes_results(tokenizer: Any, _template: str) -> bool:
    answered = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "b"},
        {"role": "tool", "content": _MARK, "tool_call_id": "zq0000001"},
    ]
    return _MARK in render(tokenizer, answered)
