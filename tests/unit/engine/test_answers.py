"""What is learned of a conversation, read back from the tokens: each answer as it would be given.

The reference needs no mask: for each answer, the tokens that the model is asked with are the tokens
before it, and what is learned says the answer's own words.
"""

from typing import Any

import pytest

from tests import chat_templates
from tests.tiny_models import CHAT_TEMPLATE, make_tokenizer
from tunesmith.engine import chat, rendering
from tunesmith.engine.errors import BadConversation
from tunesmith.engine.examples import Example, Turns

SYSTEM = {"role": "system", "content": "Speak of the sea."}
TURNS = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "good day"},
    {"role": "user", "content": "and?"},
    {"role": "assistant", "content": "rain", "weight": 0},
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "good day"},
    {"role": "user", "content": "thanks"},
]
EMPTY_THOUGHT = "<think>\n\n</think>\n\n"


def tokenizer_with(template: str) -> Any:
    tokenizer = make_tokenizer()
    tokenizer.chat_template = template
    return tokenizer


def learned_answers(tokenizer: Any, row: Example | Turns) -> list[tuple[list[int], str]]:
    """What stands before each learned stretch, and what the stretch says."""
    found = []
    for example in row.examples:
        starts = [i for i, m in enumerate(example.loss_mask) if m and not example.loss_mask[i - 1]]
        for start in starts:
            end = [*example.loss_mask, False].index(False, start)
            found.append(
                (example.token_ids[:start], tokenizer.decode(example.token_ids[start:end]))
            )
    return found


# template, takes a system message, what an answer begins with, number of texts
FAMILIES = {
    "chatml": (CHAT_TEMPLATE, True, "", 1),
    "llama 3": (chat_templates.LLAMA, True, "", 1),
    "qwen 3": (chat_templates.QWEN, True, EMPTY_THOUGHT, 2),
    "qwen 3 with thoughts": (chat_templates.QWEN_WITH_THOUGHTS, True, EMPTY_THOUGHT, 2),
    "mistral": (chat_templates.MISTRAL, True, " ", 1),
    "mistral with a late system message": (
        chat_templates.MISTRAL_WITH_LATE_SYSTEM,
        True,
        " ",
        2,
    ),
    "gemma": (chat_templates.GEMMA, False, "", 1),
    "one end": (chat_templates.ONE_END, True, " ", 2),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_answer_is_learned_behind_what_the_model_would_be_asked(name: str) -> None:
    template, takes_system, opening, num_texts = FAMILIES[name]
    tokenizer = tokenizer_with(template)
    messages = [SYSTEM, *TURNS] if takes_system else TURNS
    row = chat.encode_conversation(tokenizer, messages)
    before = len(messages) - len(TURNS)
    asked = [chat.encode_prompt(tokenizer, messages[: before + turn]) for turn in (1, 5)]
    closing = "\n<|end|>" if name == "one end" else "<|end|>"
    assert learned_answers(tokenizer, row) == [
        (prompt, f"{opening}good day{closing}") for prompt in asked
    ]
    assert len(row.examples) == num_texts


@pytest.mark.parametrize("name", FAMILIES)
def test_an_answer_alone_is_learned_as_in_its_conversation(name: str) -> None:
    template, takes_system, _, _ = FAMILIES[name]
    tokenizer = tokenizer_with(template)
    messages = ([SYSTEM] if takes_system else []) + TURNS[:-1]
    alone = chat.encode_answer(tokenizer, messages)
    together = chat.encode_conversation(tokenizer, messages)
    assert learned_answers(tokenizer, alone) == learned_answers(tokenizer, together)[-1:]


def test_a_system_message_that_only_a_prompt_has_is_learned_from() -> None:
    tokenizer = tokenizer_with(chat_templates.MISTRAL_WITH_LATE_SYSTEM)
    row = chat.encode_answer(tokenizer, [SYSTEM, *TURNS[:2]])
    assert tokenizer.decode(row.token_ids) == (
        "<|user|> Speak of the sea.\n\nhi[/INST] good day<|end|>"
    )


def test_each_thought_is_learned_where_it_was_thought() -> None:
    tokenizer = tokenizer_with(chat_templates.QWEN_WITH_THOUGHTS)
    said = {"role": "assistant", "content": "<think>\nhm\n</think>\n\ngood day"}
    row = chat.encode_conversation(tokenizer, [TURNS[0], said, TURNS[2], said])
    thought = "<think>\nhm\n</think>\n\n"
    assert [text for _, text in learned_answers(tokenizer, row)] == [
        f"{thought}good day<|end|>"
    ] * 2
    later = tokenizer.decode(row.examples[-1].token_ids)
    assert later.count("hm") == 1  # the earlier answer is there without its thought


@pytest.mark.parametrize("thought", ["", "<think>hm</think>"])
def test_a_prompt_that_opens_a_thought_teaches_the_answer_as_it_is_written(thought: str) -> None:
    tokenizer = tokenizer_with(chat_templates.DEEPSEEK)
    said = {"role": "assistant", "content": f"{thought}good day"}
    row = chat.encode_conversation(tokenizer, [TURNS[0], said, TURNS[2], said])
    assert len(row.examples) == 1
    assert [text for _, text in learned_answers(tokenizer, row)] == ["good day<|end|>"] * 2


def test_no_token_reaches_from_a_prompt_into_its_answer() -> None:
    tokenizer = tokenizer_with(
        "{% for m in messages %}{{ m.role }} says wea{{ m.content }}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}assistant says wea{% endif %}"
    )
    assert len(tokenizer(" weather")["input_ids"]) == 1  # which would be learned as one
    messages = [{"role": "user", "content": "x"}, {"role": "assistant", "content": "ther"}]
    row = chat.encode_conversation(tokenizer, messages)
    asked = chat.encode_prompt(tokenizer, messages[:1])
    assert learned_answers(tokenizer, row) == [(asked, "ther<|end|>")]


def test_a_template_that_hides_an_answer_is_refused() -> None:
    tokenizer = tokenizer_with(
        "{% for m in messages %}{% if m.role == 'user' %}{{ m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}!{% endif %}"
    )
    with pytest.raises(BadConversation, match="where message 2 begins"):
        chat.encode_conversation(tokenizer, TURNS[:2])


def test_the_same_row_is_the_same_on_any_day() -> None:
    tokenizer = tokenizer_with(chat_templates.LLAMA_WITH_DATE)
    text = tokenizer.decode(chat.encode_answer(tokenizer, [SYSTEM, *TURNS[:2]]).token_ids)
    assert text.startswith("<|system|>\n\nToday: 26 Jul 2024\n\nSpeak of the sea.<|end|><|user|>")
    prompt = tokenizer.decode(chat.encode_prompt(tokenizer, [SYSTEM, TURNS[0]]))
    assert "26 Jul 2024" not in prompt


def test_a_fixed_day_changes_nothing_else_of_a_template() -> None:
    """Blanks and line breaks at its beginning too."""
    for first in ("", "\n", "  {% if true %}\n", "  \n  {% if true %}"):
        last = "{% endif %}" if "if" in first else ""
        tokenizer = tokenizer_with(
            f"{first}{{{{ strftime_now('%Y') }}}}|{{{{ messages[0].role }}}}{last}"
        )
        now = rendering.render(tokenizer, TURNS[:1])
        then = rendering.render(tokenizer, TURNS[:1], day=chat.TRAINING_DAY)
        assert then.replace("2024", now[now.index("|") - 4 : now.index("|")]) == now
