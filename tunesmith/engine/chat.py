"""Conversations -> token ids and loss mask, by rendering the chat template step by step."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jinja2 import TemplateError

from tunesmith.engine import tool_format
from tunesmith.engine.errors import BadConversation

Message = dict[str, Any]

_MARK = "\u2042mark\u2042"  # text that no template and hardly any conversation contains


@dataclass(frozen=True, slots=True)
class Example:
    """One row to train on; `loss_mask[i]` says whether the model learns to produce token i."""

    token_ids: list[int]
    loss_mask: list[bool]

    @property
    def num_supervised_tokens(self) -> int:
        return sum(self.loss_mask)


def encode_conversation(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None = None
) -> Example:
    """The whole conversation; supervised are the assistant's messages, but those of weight 0.

    A supervised message begins where the template's generation prompt ends, as it will when the
    model is asked, and ends with its end-of-message token.
    """
    plain = [_plain(message, tokenizer) for message in messages]

    def render(upto: list[Message], add_generation_prompt: bool) -> str:
        return _render(tokenizer, upto, tools, add_generation_prompt)

    text = render(plain, False)
    spans = [
        _assistant_span(render, plain, index, text)
        for index, message in enumerate(messages)
        if message.get("role") == "assistant" and message.get("weight", 1) != 0
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
    text = _render(tokenizer, [_plain(message, tokenizer) for message in messages], tools, True)
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
    render: Callable[[list[Message], bool], str], messages: list[Message], index: int, text: str
) -> tuple[int, int]:
    """Where in `text` the model's words for this message begin and end, in characters.

    Some templates render a message differently once others follow (Qwen3 drops its thinking);
    there a mark beside the content shows its place in the whole conversation.
    """
    before = render(messages[:index], True)
    after = render(messages[: index + 1], False)
    content = messages[index]["content"].strip()

    def around_mark(marked: str, following: list[Message]) -> list[str]:
        message = {**messages[index], "content": marked}
        parts = render([*messages[:index], message, *following], False).split(_MARK)
        if not content or len(parts) != 2:
            raise BadConversation(
                f"The chat template does not show where message {index + 1} begins and ends."
            )
        return parts

    following = messages[index + 1 :]
    if text.startswith(before):
        start = len(before)
    else:
        start = len(around_mark(_MARK + content, following)[0])
    if text.startswith(after):
        return start, len(after)
    rest = around_mark(content + _MARK, following)[1]
    closing = around_mark(content + _MARK, [])[1]
    end = len(text) - len(rest)
    return start, end + len(closing) if rest.startswith(closing) else end


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
        text: str = tokenizer.apply_chat_template(
            messages,
            tools=tools,
            tokenize=False,
            add_generation_prompt=add_generation_prompt,
        )
    except (TemplateError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadConversation(f"The chat template refuses the messages: {error}.") from error
    return text


def _plain(message: Message, tokenizer: Any) -> Message:
    """The message as chat templates expect it: text content, arguments as objects."""
    role = message.get("role")
    if not isinstance(role, str):
        raise BadConversation("Each message needs a `role`.")
    if role == "function" or "function_call" in message:
        raise BadConversation("`function_call` is not supported; use `tool_calls` and role tool.")
    if message.get("weight", 1) not in (0, 1):
        raise BadConversation("`weight` must be 0 or 1.")
    plain = {key: value for key, value in message.items() if key != "weight" and value is not None}
    plain["content"] = _text(message.get("content"))
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
    text = part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None
    if not isinstance(text, str):
        raise BadConversation("Only parts of type `text` are supported in `content`.")
    return text


def _with_parsed_arguments(call: Any) -> Any:
    """OpenAI sends the arguments as a JSON string; templates print an object as JSON."""
    try:
        arguments = json.loads(call["function"]["arguments"])
    except (TypeError, KeyError, ValueError):
        return call
    return {**call, "function": {**call["function"], "arguments": arguments}}
