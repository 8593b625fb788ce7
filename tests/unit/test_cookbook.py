"""What OpenAI's published checker of chat data passes, we take and can encode.

The checker's rules are those of `examples/Chat_finetuning_data_prep.ipynb` in OpenAI's cookbook. It
looks at neither the values of `weight` and `name`, nor whether anything is left to learn, nor
whether anybody spoke before a function was called; here all this is in order.
"""

import random
from typing import Any

import pytest
from jinja2 import TemplateError

from tests.chat_templates import GEMMA, LLAMA, MISTRAL, QWEN
from tests.factories import json_lines
from tests.tiny_models import CHAT_TEMPLATE, make_tokenizer
from tunesmith.domain.datasets import check_training_lines
from tunesmith.engine import chat
from tunesmith.engine.errors import BadConversation

Message = dict[str, Any]

CHECKED_KEYS = {"role", "content", "name", "function_call", "weight"}
CHECKED_ROLES = {"system", "user", "assistant", "function"}
WORDS = [
    "rain",
    "sea",
    " the wind\n",
    "日本 ☔",
    '"quoted"',
    "{a: 1}",
    "<b>",
    "",
    "  ",
    "a\tb",
    "🌊",
]


def passes_the_checker(example: Any) -> bool:
    if not isinstance(example, dict) or not example.get("messages"):
        return False
    for message in example["messages"]:
        if "role" not in message or "content" not in message or set(message) - CHECKED_KEYS:
            return False
        if message["role"] not in CHECKED_ROLES:
            return False
        if not isinstance(message["content"], str) and not message.get("function_call"):
            return False
    return any(message["role"] == "assistant" for message in example["messages"])


def random_message(chance: random.Random, *, makes_calls: bool) -> Message:
    roles = ["system", "user", "user", "assistant", "assistant"] + ["function"] * makes_calls
    message: Message = {
        "role": chance.choice(roles),
        "content": " ".join(chance.choices(WORDS, k=chance.randint(0, 4))),
    }
    if chance.random() < 0.2:
        message["name"] = chance.choice(["Ann", "look_out"])
    if message["role"] == "assistant":
        if chance.random() < 0.3:
            message["weight"] = chance.choice([0, 1, 0.0, 1.0, None])
        if makes_calls and chance.random() < 0.4:
            arguments = chance.choice(["{}", '{"city": "Ulm", "days": [1, 2]}', "", "not json"])
            message["function_call"] = {"name": "look_out", "arguments": arguments}
            message["content"] = chance.choice([None, "", message["content"]])
    return message


def random_conversation(chance: random.Random, *, makes_calls: bool = True) -> list[Message]:
    """Half of them as people talk, half of them in any order."""
    count = chance.randint(1, 7)
    messages = [random_message(chance, makes_calls=makes_calls) for _ in range(count)]
    if chance.random() < 0.5:
        for place, message in enumerate(messages):
            message["role"] = "assistant" if place % 2 else "user"
            if message["role"] == "user":
                message.pop("weight", None)
                message.pop("function_call", None)
                message["content"] = message["content"] or "Hi"
    if messages[0].get("function_call"):
        messages.insert(0, {"role": "user", "content": "Hi"})
    if not any(m["role"] == "assistant" and m.get("weight") in (None, 1) for m in messages):
        messages.append({"role": "assistant", "content": "yes"})
    return messages


def in_modern_words(messages: list[Message]) -> list[Message]:
    modern = []
    for message in messages:
        plain = {key: message[key] for key in ("role", "name") if key in message}
        plain["content"] = message["content"] or ""
        if message["role"] == "function":
            plain |= {"role": "tool", "tool_call_id": "123456789"}
        if message.get("function_call"):
            call = {"id": "123456789", "type": "function", "function": message["function_call"]}
            plain["tool_calls"] = [call]
        modern.append(plain)
    return modern


@pytest.mark.parametrize(
    ("template", "knows_calls"),
    [(CHAT_TEMPLATE, False), (GEMMA, False), (QWEN, True), (LLAMA, True), (MISTRAL, True)],
    ids=["tiny", "gemma", "qwen", "llama", "mistral"],
)
def test_what_the_checker_passes_is_taken_unless_the_template_itself_refuses(
    template: str, knows_calls: bool
) -> None:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    chance = random.Random(7)
    num_taken = num_refused = 0
    for _ in range(300):
        messages = random_conversation(chance, makes_calls=knows_calls)
        assert passes_the_checker({"messages": messages})
        check_training_lines(json_lines({"messages": messages}))
        try:
            example = chat.encode_conversation(tokenizer, messages)
        except BadConversation:
            num_refused += 1
            with pytest.raises(TemplateError):
                tokenizer.apply_chat_template(in_modern_words(messages), tokenize=False)
            continue
        num_taken += 1
        for text in example.examples:
            assert 0 < text.num_supervised_tokens < len(text.token_ids)
    assert num_taken >= (300 if template in (CHAT_TEMPLATE, QWEN, LLAMA) else 50)
    assert num_taken + num_refused == 300


@pytest.mark.parametrize(
    "example",
    [
        [],
        {"messages": []},
        {"messages": [{"role": "user", "content": "Hi"}]},
        {"messages": [{"role": "assistant"}]},
        {"messages": [{"role": "robot", "content": "a"}, {"role": "assistant", "content": "a"}]},
        {"messages": [{"role": "assistant", "content": None}]},
        {"messages": [{"role": "assistant", "content": "a", "mood": "good"}]},
    ],
)
def test_the_checker_is_one(example: Any) -> None:
    assert not passes_the_checker(example)
