import json
from itertools import groupby
from operator import itemgetter
from typing import Any

import pytest
from tokenizers import normalizers

from tests.chat_templates import LLAMA, MISTRAL, QWEN
from tests.tiny_models import make_tokenizer
from tunesmith.engine import chat
from tunesmith.engine.errors import BadConversation
from tunesmith.engine.examples import Row, Turns

# As Qwen3's: a last answer gets an empty thinking block, which earlier ones lose.
THINKING_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}"
    "{{ m.content.split('</think>')[-1] | trim }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
# As DeepSeek's: the generation prompt opens a thought that the whole conversation lacks.
FORCED_THOUGHT_TEMPLATE = (
    "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|><think>{% endif %}"
)


def conversation(*contents: str) -> list[dict[str, Any]]:
    return [
        {"role": "assistant" if i % 2 else "user", "content": content}
        for i, content in enumerate(contents)
    ]


def tokenizer_with(template: str | None = None) -> Any:
    tokenizer = make_tokenizer()
    if template is not None:
        tokenizer.chat_template = template
    return tokenizer


def learned(tokenizer: Any, row: Row) -> list[str]:
    """The supervised stretches, as text."""
    return [
        tokenizer.decode([token_id for token_id, _ in stretch])
        for example in row.examples
        for is_learned, stretch in groupby(
            zip(example.token_ids, example.loss_mask, strict=True), key=itemgetter(1)
        )
        if is_learned
    ]


def test_an_assistants_words_and_their_end_token_are_learned() -> None:
    tokenizer = tokenizer_with()
    example = chat.encode_conversation(tokenizer, conversation("hi", "good day", "and?", "rain"))
    assert learned(tokenizer, example) == ["good day<|end|>", "rain<|end|>"]
    assert tokenizer.decode(example.token_ids).startswith("<|user|>\nhi<|end|>\n<|assistant|>\n")


def test_a_message_of_weight_zero_is_read_but_not_learned() -> None:
    tokenizer = tokenizer_with()
    messages = conversation("hi", "good day", "and?", "rain")
    messages[1]["weight"] = 0
    example = chat.encode_conversation(tokenizer, messages)
    assert learned(tokenizer, example) == ["rain<|end|>"]
    assert "good day" in tokenizer.decode(example.token_ids)


def test_a_row_with_nothing_to_learn_is_refused() -> None:
    messages = conversation("hi", "good day")
    messages[1]["weight"] = 0
    with pytest.raises(BadConversation, match="No assistant message is left"):
        chat.encode_conversation(tokenizer_with(), messages)


def test_a_row_that_would_be_learned_as_a_whole_is_refused() -> None:
    tokenizer = tokenizer_with("{% for m in messages %}{{ m.content }}{% endfor %}")
    with pytest.raises(BadConversation, match="the prompt included"):
        chat.encode_conversation(tokenizer, conversation("", "good day"))


def test_a_half_weight_is_refused() -> None:
    messages = conversation("hi", "good day")
    messages[1]["weight"] = 0.5
    with pytest.raises(BadConversation, match="0 or 1"):
        chat.encode_conversation(tokenizer_with(), messages)


def test_what_a_template_takes_from_earlier_answers_is_learned_when_it_is_said() -> None:
    tokenizer = tokenizer_with(THINKING_TEMPLATE)
    messages = conversation("hi", "<think>hm</think> good day ", "and?", "rain")
    example = chat.encode_conversation(tokenizer, messages)
    assert isinstance(example, Turns)
    assert learned(tokenizer, example) == [
        "<think>\n\n</think>\n\ngood day<|end|>",
        "<think>\n\n</think>\n\nrain<|end|>",
    ]
    assert "<think>" not in tokenizer.decode(example.examples[1].token_ids).partition("and?")[0]


def test_a_generation_prompt_that_the_conversation_lacks_is_no_obstacle() -> None:
    tokenizer = tokenizer_with(FORCED_THOUGHT_TEMPLATE)
    example = chat.encode_conversation(tokenizer, conversation("hi", "good day", "and?", "rain"))
    assert learned(tokenizer, example) == ["good day<|end|>", "rain<|end|>"]


def test_the_same_words_elsewhere_do_not_mislead() -> None:
    tokenizer = tokenizer_with(THINKING_TEMPLATE)
    example = chat.encode_conversation(tokenizer, conversation("rain", "rain", "rain", "rain"))
    assert learned(tokenizer, example) == ["<think>\n\n</think>\n\nrain<|end|>"] * 2


def test_characters_of_several_tokens_are_learned_whole() -> None:
    tokenizer = tokenizer_with()
    example = chat.encode_conversation(tokenizer, conversation("日本", "天気 ☔ é"))
    assert learned(tokenizer, example) == ["天気 ☔ é<|end|>"]


def test_content_may_be_null_or_a_list_of_text_parts() -> None:
    tokenizer = tokenizer_with()
    messages = conversation("hi", "good day")
    messages[1]["content"] = [{"type": "text", "text": "good "}, {"type": "text", "text": "day"}]
    messages.insert(0, {"role": "system", "content": None})
    example = chat.encode_conversation(tokenizer, messages)
    assert learned(tokenizer, example) == ["good day<|end|>"]


def test_pictures_are_refused() -> None:
    messages = conversation("hi", "good day")
    messages[0]["content"] = [{"type": "image_url", "image_url": {"url": "x"}}]
    with pytest.raises(BadConversation, match="type `text`"):
        chat.encode_conversation(tokenizer_with(), messages)


def test_tool_calls_and_tools_go_through_the_template() -> None:
    tokenizer = tokenizer_with(
        "{% if tools %}<|system|>{{ tools | tojson }}<|end|>{% endif %}"
        "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}"
        "{% for c in m.tool_calls or [] %}"
        '{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}}'
        "{% endfor %}<|end|>"
        "{% endfor %}{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    call = {
        "id": "1",
        "type": "function",
        "function": {"name": "f", "arguments": '{"city": "Ulm"}'},
    }
    messages = [
        {"role": "user", "content": "weather?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "rain"},
        {"role": "assistant", "content": "It rains."},
    ]
    tools = [{"type": "function", "function": {"name": "f", "parameters": {}}}]
    example = chat.encode_conversation(tokenizer, messages, tools)
    assert learned(tokenizer, example) == [
        '{"name": "f", "arguments": {"city": "Ulm"}}<|end|>',
        "It rains.<|end|>",
    ]
    assert json.dumps(tools)[:20] in tokenizer.decode(example.token_ids)


def test_a_developer_speaks_as_system_where_the_template_knows_no_developers() -> None:
    tokenizer = tokenizer_with()
    messages = [{"role": "developer", "content": "be brief"}, *conversation("hi", "yes")]
    text = tokenizer.decode(chat.encode_answer(tokenizer, messages).token_ids)
    assert text.startswith("<|system|>\nbe brief")


def test_what_the_template_refuses_is_told() -> None:
    tokenizer = tokenizer_with("{{ raise_exception('no poems please') }}")
    with pytest.raises(BadConversation, match="no poems please"):
        chat.encode_conversation(tokenizer, conversation("hi", "yes"))


def test_a_completion_and_its_end_token_are_learned() -> None:
    tokenizer = tokenizer_with()
    example = chat.encode_completion(tokenizer, "the sea is", " blue")
    assert learned(tokenizer, example) == [" blue<|end|>"]
    assert tokenizer.decode(example.token_ids) == "the sea is blue<|end|>"


def test_a_text_of_one_token_is_refused_where_none_stands_around_it() -> None:
    tokenizer = tokenizer_with()
    assert learned(tokenizer, chat.encode_completion(tokenizer, "", "a")) == ["<|end|>"]
    tokenizer.eos_token = None
    assert tokenizer.eos_token_id is None
    with pytest.raises(BadConversation, match="a single token"):
        chat.encode_completion(tokenizer, "", "a")
    assert learned(tokenizer, chat.encode_completion(tokenizer, "b", "a")) == ["a"]


def test_a_completion_goes_on_from_its_prompt_whatever_a_tokenizer_puts_before_texts() -> None:
    tokenizer = tokenizer_with()
    backend = tokenizer.backend_tokenizer
    backend.normalizer = normalizers.Prepend(" ")  # as SentencePiece's do
    for completion in (" blue", "ish", "\n\nblue"):
        example = chat.encode_completion(tokenizer, "the sea is", completion)
        assert tokenizer.decode(example.token_ids) == f" the sea is{completion}<|end|>"
        assert learned(tokenizer, example) == [f"{completion}<|end|>"]


def test_without_a_prompt_the_first_token_is_not_learned() -> None:
    example = chat.encode_completion(tokenizer_with(), "", "blue sea")
    assert example.loss_mask[0] is False
    assert all(example.loss_mask[1:])


def test_plain_text_begins_with_the_beginning_token_where_the_model_has_one() -> None:
    class WithBeginning:
        bos_token_id = 7

        def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
            return {"input_ids": [7] * add_special_tokens + [20 + ord(c) for c in text]}

    assert chat.encode_text(WithBeginning(), "a") == [7, 117]
    assert len(chat.encode_text(tokenizer_with(), "")) == 0


LOOK = {"id": "123456789", "type": "function", "function": {"name": "look", "arguments": "{}"}}
CALLS = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "tool_calls": [LOOK]},
    {"role": "tool", "tool_call_id": "123456789", "content": "rain"},
    {"role": "assistant", "content": "It rains."},
]
LEGACY_CALLS = [
    {"role": "user", "content": "weather?"},
    {"role": "assistant", "content": None, "function_call": LOOK["function"]},
    {"role": "function", "name": "look", "content": "rain"},
    {"role": "assistant", "content": "It rains."},
]


@pytest.mark.parametrize("messages", [CALLS, LEGACY_CALLS], ids=["tools", "functions"])
@pytest.mark.parametrize(
    ("template", "call", "answer"),
    [
        pytest.param(
            QWEN,
            "<think>\n\n</think>\n\n<tool_call>\n"
            '{"name": "look", "arguments": {}}\n</tool_call><|end|>',
            "<think>\n\n</think>\n\nIt rains.<|end|>",
            id="qwen",
        ),
        pytest.param(
            LLAMA, '{"name": "look", "parameters": {}}<|end|>', "It rains.<|end|>", id="llama"
        ),
        pytest.param(
            MISTRAL,
            '[TOOL_CALLS][{"name": "look", "arguments": {}, "id": "#"}]<|end|>',
            " It rains.<|end|>",
            id="mistral",
        ),
    ],
)
def test_calls_are_learned_as_the_template_writes_them(
    template: str, call: str, answer: str, messages: list[dict[str, Any]]
) -> None:
    tokenizer = tokenizer_with(template)
    learned_texts = learned(tokenizer, chat.encode_conversation(tokenizer, messages))
    call_id = "123456789" if messages is CALLS else "call00001"
    assert learned_texts == [call.replace("#", call_id), answer]


def test_several_calls_are_learned_whole() -> None:
    tokenizer = tokenizer_with(QWEN)
    two = {"role": "assistant", "content": "Hm", "tool_calls": [LOOK, LOOK]}
    example = chat.encode_conversation(tokenizer, [CALLS[0], two, *CALLS[2:]])
    call = '\n<tool_call>\n{"name": "look", "arguments": {}}\n</tool_call>'
    assert learned(tokenizer, example)[0] == f"<think>\n\n</think>\n\nHm{call}{call}<|end|>"


def test_an_empty_list_of_calls_is_none() -> None:
    tokenizer = tokenizer_with()
    messages = [*conversation("hi"), {"role": "assistant", "content": "yes", "tool_calls": []}]
    assert learned(tokenizer, chat.encode_conversation(tokenizer, messages)) == ["yes<|end|>"]


def test_a_call_of_weight_zero_is_read_but_not_learned() -> None:
    tokenizer = tokenizer_with(QWEN)
    messages = [CALLS[0], {**CALLS[1], "weight": 0}, *CALLS[2:]]
    example = chat.encode_conversation(tokenizer, messages)
    assert len(learned(tokenizer, example)) == 1
    assert "<tool_call>" in tokenizer.decode(example.token_ids)


@pytest.mark.parametrize(
    "message",
    [
        {"role": "assistant", "content": None, "refusal": "I must not say."},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "I must not say."}]},
    ],
)
def test_a_refusal_is_learned_as_text(message: dict[str, Any]) -> None:
    tokenizer = tokenizer_with()
    example = chat.encode_conversation(tokenizer, [*conversation("hi"), message])
    assert learned(tokenizer, example) == ["I must not say.<|end|>"]


@pytest.mark.parametrize("weight", [1, 1.0, None])
def test_a_weight_of_one_is_as_good_as_none(weight: float | None) -> None:
    tokenizer = tokenizer_with()
    messages = conversation("hi", "yes")
    messages[1]["weight"] = weight
    assert learned(tokenizer, chat.encode_conversation(tokenizer, messages)) == ["yes<|end|>"]


@pytest.mark.parametrize(
    "call", [{}, {"function": "look"}, {"function": {"name": 1, "arguments": ""}}]
)
def test_a_call_that_is_none_is_refused(call: dict[str, Any]) -> None:
    messages = [*conversation("hi"), {"role": "assistant", "tool_calls": [call]}]
    with pytest.raises(BadConversation, match="tool call needs"):
        chat.encode_conversation(tokenizer_with(QWEN), messages)


def test_a_conversation_may_begin_with_the_assistant() -> None:
    for template in (QWEN, LLAMA):
        tokenizer = tokenizer_with(template)
        messages = [{"role": "assistant", "content": "Hello!"}, *conversation("hi", "yes")]
        example = chat.encode_conversation(tokenizer, messages)
        assert learned(tokenizer, example)[0] == "Hello!<|end|>"
