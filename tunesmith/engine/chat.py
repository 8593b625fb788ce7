"""Conversations -> token ids and loss mask, by rendering the chat template step by step."""

import json
from datetime import date
from itertools import pairwise
from typing import Any

from tunesmith.engine import answers, functions, rendering, tool_format
from tunesmith.engine.answers import Text
from tunesmith.engine.errors import BadConversation
from tunesmith.engine.examples import Example, Turns
from tunesmith.engine.rendering import Message

# What templates that write today's date are told when rows are made of a file: the same file makes
# the same rows, whenever it is read. Llama's templates write this one where they are told none.
TRAINING_DAY = date(2024, 7, 26)


def encode_conversation(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None = None
) -> Example | Turns:
    """The whole conversation; supervised are the assistant's messages, but those of weight 0.

    A supervised message begins where the template's generation prompt ends, as it will when the
    model is asked, and ends with its end-of-message token.
    """
    learned = [
        index
        for index, message in enumerate(messages)
        if message.get("role") == "assistant" and message.get("weight") in (None, 1)
    ]
    found = _examples(tokenizer, messages, tools, learned)
    return found[0] if len(found) == 1 else Turns(tuple(found))


def encode_answer(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None = None
) -> Example:
    """The conversation, of which the last message alone is supervised."""
    (example,) = _examples(tokenizer, messages, tools, [len(messages) - 1])
    return example


def _examples(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None, learned: list[int]
) -> list[Example]:
    plain = _plain_messages(messages, tokenizer)
    if not learned:
        raise BadConversation("No assistant message is left to learn from.")

    def render(upto: list[Message], is_prompt: bool) -> str:
        return _render(tokenizer, upto, tools, is_prompt=is_prompt, day=TRAINING_DAY)

    found = [_masked(tokenizer, text) for text in answers.texts(render, plain, learned)]
    found = [example for example in found if any(example.loss_mask)]
    if not found:
        raise BadConversation("The assistant messages are empty: there is nothing to learn.")
    if any(all(example.loss_mask[1:]) for example in found):
        raise BadConversation(
            "Every token would be learned, the prompt included: the chat template does not tell "
            "the assistant's words from the rest."
        )
    return found


def _masked(tokenizer: Any, text: Text) -> Example:
    token_ids, offsets = _tokens(tokenizer, text.text, [start for start, _ in text.spans])
    ends = end_token_ids(tokenizer)
    mask = [False] * len(token_ids)
    for start, end in text.spans:
        inside = [i for i, (s, e) in enumerate(offsets) if s < end and (e > start or s >= start)]
        for index in _upto_end_token(tokenizer, token_ids, inside, ends):
            mask[index] = True
    mask[:1] = [False] * len(mask[:1])  # the first token of a sequence is never predicted
    return Example(token_ids, mask)


def _tokens(
    tokenizer: Any, text: str, starts: list[int]
) -> tuple[list[int], list[tuple[int, int]]]:
    """Ids and their characters. No token reaches over the start of an answer: a prompt ends there.

    The text is taken apart where one would, and only there, as some tokenizers put a space before
    whatever they are given.
    """
    whole = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    cuts = [cut for cut in starts if any(s < cut < e for s, e in whole["offset_mapping"])]
    if not cuts:
        return list(whole["input_ids"]), list(whole["offset_mapping"])
    token_ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    for first, end in pairwise([0, *cuts, len(text)]):
        part = tokenizer(text[first:end], add_special_tokens=False, return_offsets_mapping=True)
        token_ids += part["input_ids"]
        offsets += [(first + s, first + e) for s, e in part["offset_mapping"]]
    return token_ids, offsets


def encode_completion(tokenizer: Any, prompt: str, completion: str) -> Example:
    """A prompt and its continuation; supervised are the continuation and the end token."""
    prompt_ids = encode_text(tokenizer, prompt)
    learned = _continuation(tokenizer, prompt, completion, prompt_ids)
    if not learned:
        raise BadConversation("The completion is empty: there is nothing to learn.")
    if tokenizer.eos_token_id is not None:
        learned.append(tokenizer.eos_token_id)
    # The first token of a sequence is never predicted.
    mask = [False] * len(prompt_ids) + [bool(prompt_ids)] + [True] * (len(learned) - 1)
    if not any(mask):
        raise BadConversation(
            "There is a single token and nothing before it, from which it could be predicted."
        )
    return Example(prompt_ids + learned, mask)


def _continuation(tokenizer: Any, prompt: str, completion: str, prompt_ids: list[int]) -> list[int]:
    """The completion's tokens behind the prompt's.

    Both are tokenised together where the prompt stays as it is: for themselves, completions would
    get a space from tokenizers that put one before whatever they are given.
    """
    together = encode_text(tokenizer, prompt + completion)
    if together[: len(prompt_ids)] == prompt_ids:
        return together[len(prompt_ids) :]
    return list(tokenizer(completion, add_special_tokens=False)["input_ids"])


def encode_prompt(
    tokenizer: Any, messages: list[Message], tools: list[Any] | None = None
) -> list[int]:
    """What the model is given to answer as the assistant."""
    text = _render(tokenizer, _plain_messages(messages, tokenizer), tools, is_prompt=True)
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
        example = encode_answer(tokenizer, probe)
    except BadConversation:
        return None
    last = max(i for i, learned in enumerate(example.loss_mask) if learned)
    token_id = example.token_ids[last]
    return token_id if token_id in end_token_ids(tokenizer) else None


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
    tokenizer: Any,
    messages: list[Message],
    tools: list[Any] | None,
    *,
    is_prompt: bool,
    day: date | None = None,
) -> str:
    if tokenizer.chat_template is None:
        raise BadConversation("The base model has no chat template; use prompts instead.")
    try:
        messages, tools = tool_format.prepared(tokenizer, messages, tools)
        return rendering.render(
            tokenizer, messages, tools, add_generation_prompt=is_prompt, day=day
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
