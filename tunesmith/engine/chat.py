"""Conversations -> token ids and loss mask, by rendering the chat template step by step."""

import json
from collections.abc import Callable
from typing import Any

from tunesmith.engine import functions, rendering, tool_format
from tunesmith.engine.errors import BadConversation
from tunesmith.engine.examples import Example

Message = dict[str, Any]
Render = Callable[[list[Message], bool], str]  # of messages, with or without a generation prompt

_MARK = "\u2042mark\u2042"  # text that no template and hardly any conversation contains


def encode_conversation(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None = None
) -> Example:
    """The whole conversation; supervised are the assistant's messages, but those of weight 0.

    A supervised message begins where the template's generation prompt ends, as it will when the
    model is asked, and ends with its end-of-message token.
    """
    plain = _plain_messages(messages, tokenizer)

    def render(upto: list[Message], add_generation_prompt: bool) -> str:
        return _render(tokenizer, upto, tools, add_generation_prompt)

    text = render(plain, False)
    spans = [
        _assistant_span(render, plain, index, text)
        for index, message in enumerate(messages)
        if message.get("role") == "assistant" and message.get("weight") in (None, 1)
    ]
    if not spans:
        raise BadConversation("No assistant message is left to learn from.")
    encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    token_ids: list[int] = list(encoded["input_ids"])
    offsets: list[tuple[int, int]] = encoded["offset_mapping"]
    ends = end_token_ids(tokenizer)
    mask = [False] * len(token_ids)
    for start, end in spans:
        inside = [i for i, (s, e) in enumerate(offsets) if s < end and (e > start or s >= start)]
        for index in _upto_end_token(tokenizer, token_ids, inside, ends):
            mask[index] = True
    mask[0] = False  # the first token of a sequence is never predicted
    if not any(mask):
        raise BadConversation("The assistant messages are empty: there is nothing to learn.")
    if all(mask[1:]):
        raise BadConversation(
            "Every token would be learned, the prompt included: the chat template does not tell "
            "the assistant's words from the rest."
        )
    return Example(token_ids, mask)


def encode_completion(tokenizer: Any, prompt: str, completion: str) -> Example:
    """A prompt and its continuation; supervised are the continuation and the end token."""
    prompt_ids = encode_text(tokenizer, prompt)
    learned = list(tokenizer(completion, add_special_tokens=False)["input_ids"])
    if not learned:
        raise BadConversation("The completion is empty: there is nothing to learn.")
    if tokenizer.eos_token_id is not None:
        learned.append(tokenizer.eos_token_id)
    if not prompt_ids:  # the first token of a sequence is never predicted
        return Example(learned, [False] + [True] * (len(learned) - 1))
    return Example(prompt_ids + learned, [False] * len(prompt_ids) + [True] * len(learned))


def encode_prompt(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None = None
) -> list[int]:
    """What the model is given to answer as the assistant."""
    text = _render(tokenizer, _plain_messages(messages, tokenizer), tools, True)
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def encode_text(tokenizer: Any, text: str) -> list[int]:
    """Plain text behind the beginning-of-text token, where the model was trained with one."""
    beginning = tokenizer("")["input_ids"][:1]
    token_ids = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    has_beginning = beginning and beginning[0] == tokenizer.bos_token_id
    return beginning + token_ids if has_beginning else token_ids


def num_text_tokens(tokenizer: Any, text: str) -> int:
    """How many tokens the text itself is, without one for its beginning."""
    return len(tokenizer(text, add_special_tokens=False)["input_ids"])


def end_token_ids(tokenizer: Any) -> frozenset[int]:
    """Special tokens, one of which closes an assistant's message in the model's template."""
    added = tokenizer.added_tokens_decoder
    return frozenset(tokenizer.all_special_ids) | {i for i, t in added.items() if t.special}


def end_of_message_id(tokenizer: Any) -> int | None:
    """The token with which the chat template closes an assistant's message, if there is one."""
    if tokenizer.chat_template is None:
        return None
    probe = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    try:
        example = encode_conversation(tokenizer, probe)
    except BadConversation:
        return None
    last = max(i for i, learned in enumerate(example.loss_mask) if learned)
    token_id = example.token_ids[last]
    return token_id if token_id in end_token_ids(tokenizer) else None


def _assistant_span(
    render: Render, messages: list[Message], index: int, text: str
) -> tuple[int, int]:
    """Where in `text` the model's words for this message begin and end, in characters.

    Some templates render a message differently once others follow (Qwen3 drops its thinking), or
    refuse a part of a conversation; there a mark shows the place in the whole.
    """
    before, message, following = messages[:index], messages[index], messages[index + 1 :]
    content = message["content"].strip()

    def around(marked: Message, following: list[Message]) -> tuple[str, str]:
        """What stands before the mark, and behind it."""
        head, found, tail = render([*before, marked, *following], False).partition(_MARK)
        if not found or _MARK in tail:
            raise _unclear(index)
        return head, tail

    start = _length_of_start(render, before, True, text)
    if start is None:
        head = around({**message, "content": _MARK + content}, following)[0]
        if not text.startswith(head):
            raise _unclear(index)
        start = len(head)
    end = _length_of_start(render, [*before, message], False, text)
    if end is None:
        marked = _marked_at_end(message, content)
        rest = around(marked, following)[1]
        closing = around(marked, [])[1]
        if not text.endswith(rest):
            raise _unclear(index)
        end = len(text) - len(rest) + (len(closing) if rest.startswith(closing) else 0)
    return start, end


def _length_of_start(
    render: Render, messages: list[Message], add_generation_prompt: bool, text: str
) -> int | None:
    """How far these messages go where they begin `text`, and None where they do not."""
    rendered = _rendered(render, messages, add_generation_prompt)
    return len(rendered) if rendered is not None and text.startswith(rendered) else None


def _rendered(render: Render, messages: list[Message], add_generation_prompt: bool) -> str | None:
    """None where the template refuses these messages, be they but a part of a conversation."""
    try:
        return render(messages, add_generation_prompt) if messages else None
    except BadConversation:
        return None


def _marked_at_end(message: Message, content: str) -> Message:
    """The mark stands in what the message ends with: its last call, or its text."""
    if "tool_calls" not in message:
        return {**message, "content": content + _MARK}
    *calls, last = message["tool_calls"]
    function = {**last["function"], "name": last["function"]["name"] + _MARK}
    return {**message, "tool_calls": [*calls, {**last, "function": function}]}


def _unclear(index: int) -> BadConversation:
    return BadConversation(
        f"The chat template does not show where message {index + 1} begins and ends."
    )


def _upto_end_token(
    tokenizer: Any, token_ids: list[int], inside: list[int], ends: frozenset[int]
) -> list[int]:
    """Cut what a template puts behind the end-of-message token, such as a line break."""
    for count in range(len(inside), 0, -1):
        token_id = token_ids[inside[count - 1]]
        if token_id in ends:
            return inside[:count]
        if tokenizer.decode([token_id]).strip():
            break
    return inside


def _render(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None, add_generation_prompt: bool
) -> str:
    if tokenizer.chat_template is None:
        raise BadConversation("The base model has no chat template; use prompts instead.")
    try:
        messages, tools = tool_format.prepared(tokenizer, messages, tools)
        return rendering.render(
            tokenizer, messages, tools, add_generation_prompt=add_generation_prompt
        )
    except (rendering.TemplateRefused, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadConversation(f"The chat template refuses the messages: {error}.") from error


def _plain_messages(messages: list[Message], tokenizer: Any) -> list[Message]:
    return [_plain(message, tokenizer) for message in functions.as_tool_calls(messages)]


def _plain(message: Message, tokenizer: Any) -> Message:
    """The message as chat templates expect it: text content, arguments as objects."""
    role = message.get("role")
    if not isinstance(role, str):
        raise BadConversation("Each message needs a `role`.")
    if message.get("weight") not in (None, 0, 1):
        raise BadConversation("`weight` must be 0 or 1.")
    plain = {key: value for key, value in message.items() if value not in (None, [])}
    plain.pop("weight", None)
    refusal = plain.pop("refusal", None)
    plain["content"] = _text(message.get("content")) or refusal or ""
    if role == "developer" and "developer" not in str(tokenizer.chat_template):
        plain["role"] = "system"
    if "tool_calls" in plain:
        if not isinstance(plain["tool_calls"], list):
            raise BadConversation("`tool_calls` must be a list.")
        plain["tool_calls"] = [_with_parsed_arguments(call) for call in plain["tool_calls"]]
    return plain


def _text(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise BadConversation("`content` must be text, null or a list of text parts.")
    return "".join(_part_text(part) for part in content)


def _part_text(part: Any) -> str:
    kind = part.get("type") if isinstance(part, dict) else None
    text = part.get(kind) if kind in ("text", "refusal") else None
    if not isinstance(text, str):
        raise BadConversation("Only parts of type `text` are supported in `content`.")
    return text


def _with_parsed_arguments(call: Any) -> Any:
    """OpenAI sends the arguments as a JSON string; templates print an object as JSON."""
    try:
        function = call["function"]
        if not isinstance(function["name"], str):
            raise TypeError
        arguments = function["arguments"]
    except (TypeError, KeyError) as error:
        raise BadConversation("A tool call needs a function's `name` and `arguments`.") from error
    try:
        parsed = json.loads(arguments or "{}")
    except (TypeError, ValueError):
        return call
    return {**call, "function": {**function, "arguments": parsed}}
