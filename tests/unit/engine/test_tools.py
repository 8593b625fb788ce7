"""Tools: how a model's template writes calls is learnt, demanded, and read from its text."""

import json
import random
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from transformers import PreTrainedTokenizerFast

from tests.tiny_models import make_tokenizer
from tests.unit.engine.test_grammar import closed, ends
from tests.unit.engine.test_sample import drain, spec, texts
from tunesmith.engine import chat
from tunesmith.engine.events import SampleEvent, SampleFailed, TextDelta, ToolCalled
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler
from tunesmith.engine.tool_format import HOUSE, ToolFormat, tool_format
from tunesmith.engine.tool_reader import Called, Said, ToolReader

HERMES = (
    "{% if tools %}<|system|>\nTools:{% for t in tools %}\n{{ t | tojson }}{% endfor %}<|end|>\n"
    "{% endif %}{% for m in messages %}<|{{ m.role }}|>\n"
    "{% if m.role == 'assistant' and loop.last %}<think>\n\n</think>\n\n{% endif %}{{ m.content }}"
    "{% for c in m.tool_calls or [] %}{% if not loop.first or m.content %}{{ '\n' }}{% endif %}"
    '<tool_call>\n{"name": "{{ c.function.name }}", "arguments": '
    "{{ c.function.arguments | tojson }}}\n</tool_call>{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
LLAMA = (
    "{% for m in messages %}{% if m.tool_calls %}"
    "{% if m.tool_calls | length != 1 %}{{ raise_exception('one call only') }}{% endif %}"
    "{% set f = m.tool_calls[0].function %}<|assistant|>\n"
    '{"name": "{{ f.name }}", "parameters": {{ f.arguments | tojson }}}<|end|>'
    "{% else %}<|{{ m.role }}|>\n{% if tools and m.role == 'user' %}{{ tools | tojson }}{% endif %}"
    "{{ m.content | trim }}<|end|>{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
MISTRAL = (
    "{% if tools %}[AVAILABLE_TOOLS] {{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif %}"
    "{% for m in messages %}{% if m.tool_calls %}[TOOL_CALLS] ["
    "{% for c in m.tool_calls %}{% if c.id | length != 9 %}{{ raise_exception('bad id') }}"
    '{% endif %}{"name": "{{ c.function.name }}", "arguments": {{ c.function.arguments | tojson }}'
    ', "id": "{{ c.id }}"}{% if not loop.last %}, {% endif %}{% endfor %}]<|end|>'
    "{% elif m.role == 'user' %}[INST] {{ m.content }}[/INST]"
    "{% elif m.role == 'tool' %}[TOOL_RESULTS] {{ m.content }} {{ m.tool_call_id }}[/TOOL_RESULTS]"
    "{% else %} {{ m.content }}<|end|>{% endif %}{% endfor %}"
)
NEW_MISTRAL = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}{% if m.tool_calls %}"
    "{% for c in m.tool_calls %}[TOOL_CALLS]{{ c.function.name }}[ARGS]"
    "{{ c.function.arguments | tojson }}{% endfor %}<|end|>"
    "{% elif m.role == 'user' %}[INST] {{ m.content }}[/INST]{% else %}{{ m.content }}<|end|>"
    "{% endif %}{% endfor %}"
)
TAGGED = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|{{ m.role }}|>\n"
    "{{ m.content }}{% for c in m.tool_calls or [] %}<function={{ c.function.name }}>"
    "{{ c.function.arguments | tojson }}</function>{% endfor %}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
XML = (
    "{% if tools %}{{ tools | tojson }}{% endif %}{% for m in messages %}<|{{ m.role }}|>\n"
    "{{ m.content }}{% for c in m.tool_calls or [] %}<call name={{ c.function.name }}>"
    "{% for k, v in c.function.arguments.items() %}<{{ k }}>{{ v }}</{{ k }}>{% endfor %}</call>"
    "{% endfor %}<|end|>\n{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
STERN = (
    "{% for m in messages %}{% if m.role not in ('user', 'assistant') %}"
    "{{ raise_exception('no such role') }}{% endif %}"
    "{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('alternate') }}"
    "{% endif %}<|{{ m.role }}|>\n{{ m.content }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>\n{% endif %}"
)
TEMPLATES = {
    "hermes": HERMES,
    "llama": LLAMA,
    "mistral": MISTRAL,
    "new mistral": NEW_MISTRAL,
    "tagged": TAGGED,
    "xml": XML,
    "stern": STERN,
    "plain": make_tokenizer().chat_template,
}
SPECIAL = ["[TOOL_CALLS]", "[ARGS]", "[INST]", "[/INST]"]

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "-",
        "parameters": closed(city={"enum": ["Ulm", "Köln"]}, days={"enum": [1, 2, 3]}),
    },
}
TIME = {"type": "function", "function": {"name": "get_time"}}
TOOLS = [WEATHER, TIME]
NAMES = frozenset(["get_weather", "get_time"])
ASKED = [{"role": "user", "content": "weather?"}]


def tokenizer_of(style: str) -> PreTrainedTokenizerFast:
    tokenizer = make_tokenizer()
    if "mistral" in style:
        tokenizer.add_special_tokens({"extra_special_tokens": SPECIAL})
    tokenizer.chat_template = TEMPLATES[style]
    return tokenizer


@pytest.fixture(params=TEMPLATES)
def styled(request: pytest.FixtureRequest, llama: BaseModel) -> BaseModel:
    """A random model that speaks with this template."""
    tokenizer = tokenizer_of(request.param)
    llama.network.resize_token_embeddings(len(tokenizer), mean_resizing=False)
    return roomy(BaseModel(llama.network, tokenizer, llama.folder, name="styled"))


def roomy(model: BaseModel) -> BaseModel:
    """Definitions of tools are long where nearly each letter is a token."""
    model.context_length = 4096
    return model


@pytest.fixture
def llama(llama_folder: Path) -> BaseModel:
    return roomy(BaseModel.load(llama_folder))


def test_the_way_of_writing_calls_is_learnt_from_the_template() -> None:
    found = {style: tool_format(tokenizer_of(style)) for style in TEMPLATES}
    assert found["hermes"] == ToolFormat(
        begin='<tool_call>\n{"name": "',
        middle='", "arguments": ',
        end="}\n</tool_call>",
        between='}\n</tool_call>\n<tool_call>\n{"name": "',
        name_key="name",
        arguments_key="arguments",
    )
    assert found["llama"].arguments_key == "parameters"
    assert found["llama"].between is None
    assert found["mistral"].has_ids
    assert (found["mistral"].marker, found["mistral"].closing) == ("[TOOL_CALLS]", "")
    assert found["new mistral"].middle == "[ARGS]"
    assert (found["tagged"].marker, found["tagged"].closing) == ("<function=", "</function>")
    assert [found[style] for style in ("xml", "stern", "plain")] == [HOUSE] * 3


def conversation() -> list[dict[str, Any]]:
    """A call, its result and the answer, with an id that is not of Mistral's length."""
    function = {"name": "get_weather", "arguments": '{"city": "Ulm", "days": 1}'}
    call = {"id": "call_0123456789", "type": "function", "function": function}
    return [
        *ASKED,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_0123456789", "content": "rain"},
    ]


def test_definitions_calls_and_results_reach_every_model(styled: BaseModel) -> None:
    prompt_ids = chat.encode_prompt(styled.tokenizer, conversation(), TOOLS)
    prompt = styled.tokenizer.decode(prompt_ids)
    for needed in ("get_time", "Köln", "weather?", '"city": "Ulm"', "rain"):
        assert needed in prompt or needed.encode("ascii", "backslashreplace").decode() in prompt


def test_what_is_learnt_in_training_is_what_is_read_in_answers(styled: BaseModel) -> None:
    tokenizer = styled.tokenizer
    call = conversation()[:2]
    prompt_ids = chat.encode_prompt(tokenizer, ASKED, TOOLS)
    if "[INST]" in tokenizer.chat_template:
        text = tokenizer.apply_chat_template(chat_ready(call), tools=TOOLS, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    else:
        ids = chat.encode_answer(tokenizer, call, TOOLS).token_ids
    reader = ToolReader(tool_format(tokenizer), NAMES)
    answer = tokenizer.decode(ids[len(prompt_ids) :]).partition("<|end|>")[0]
    answer = re.sub(r"(?s)<think>.*</think>\n\n", "", answer)
    parts = [*(part for sign in answer for part in reader.push(sign)), *reader.finish()]
    assert [p.text for p in parts if isinstance(p, Said)] == []
    [called] = [p for p in parts if isinstance(p, Called)]
    assert called.name == "get_weather"
    assert json.loads(called.arguments) == {"city": "Ulm", "days": 1}


def chat_ready(messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    function = {"name": "get_weather", "arguments": {"city": "Ulm", "days": 1}}
    return [messages[0], {**messages[1], "tool_calls": [{"id": "a" * 9, "function": function}]}]


def calls(events: list[SampleEvent], request_id: str) -> list[ToolCalled]:
    return [e for e in events if isinstance(e, ToolCalled) and e.request_id == request_id]


def test_a_required_tool_is_called_with_arguments_that_fit(styled: BaseModel) -> None:
    asked = [
        spec(
            f"{several} {seed}",
            prompt=None,
            messages=ASKED,
            tools=TOOLS,
            required_tools=("get_weather", "get_time"),
            parallel_tool_calls=several,
            seed=seed,
            max_tokens=400,
            top_logprobs=0,
        )
        for seed in range(4)
        for several in (False, True)
    ]
    events = drain(Sampler(styled), *asked, spec("free"))
    assert not [e for e in events if isinstance(e, SampleFailed)]
    cut_short = {name for name, reason in ends(events).items() if reason == "length"}
    assert texts(events).keys() <= {"free"} | cut_short
    for one in asked:
        told = calls(events, one.request_id)
        assert [call.index for call in told] == list(range(len(told)))
        if not one.parallel_tool_calls:
            assert len(told) == 1
            assert ends(events)[one.request_id] == "tool_calls"
        for call in told:
            parameters = WEATHER["function"]["parameters"]  # type: ignore[index]
            schema = parameters if call.name == "get_weather" else closed()
            jsonschema.validate(json.loads(call.arguments), schema)


def test_one_named_tool_is_the_one_that_is_called(styled: BaseModel) -> None:
    asked = spec(
        "a", prompt=None, messages=ASKED, tools=TOOLS, required_tools=("get_time",), max_tokens=200
    )
    events = drain(Sampler(styled), asked)
    assert {call.name for call in calls(events, "a")} == {"get_time"}
    assert all(json.loads(call.arguments) == {} for call in calls(events, "a"))


def read(form: ToolFormat, text: str, size: int) -> tuple[str, list[tuple[str, str]]]:
    reader = ToolReader(form, NAMES)
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    parts = [part for piece in pieces for part in reader.push(piece)] + reader.finish()
    ends = [part.end for part in parts]
    assert ends == sorted(ends)
    said = "".join(part.text for part in parts if isinstance(part, Said))
    return said, [(p.name, p.arguments) for p in parts if isinstance(p, Called)]


ULM = ("get_weather", '{"city": "Ulm"}')
NOW = ("get_time", "{}")
HERMES_FORM = tool_format(tokenizer_of("hermes"))
LLAMA_FORM = tool_format(tokenizer_of("llama"))
MISTRAL_FORM = tool_format(tokenizer_of("mistral"))
TAGGED_FORM = tool_format(tokenizer_of("tagged"))


@pytest.mark.parametrize("size", [1, 3, 7, 1000])
@pytest.mark.parametrize(
    ("form", "text", "said", "called"),
    [
        (HERMES_FORM, "It is < 3 <tool", "It is < 3 <tool", []),
        (
            HERMES_FORM,
            'Let me see.\n<tool_call>\n{"name": "get_weather", "arguments": {"city": "Ulm"}}\n'
            '</tool_call>\n<tool_call>{"arguments":{},"name":"get_time"}</tool_call>\n',
            "Let me see.",
            [ULM, NOW],
        ),
        (
            HERMES_FORM,
            '<tool_call>{"name": "get_time", "arguments": {}}</tool_call> There.',
            "There.",
            [NOW],
        ),
        (
            HERMES_FORM,
            "<tool_call>{'name': get}</tool_call>ok",
            "<tool_call>{'name': get}</tool_call>ok",
            [],
        ),
        (
            HERMES_FORM,
            '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
            '<tool_call>{"name": "rm", "arguments": {}}</tool_call>',
            [],
        ),
        (
            HERMES_FORM,
            '<tool_call>{"name": "get_time", "arg',
            '<tool_call>{"name": "get_time", "arg',
            [],
        ),
        (
            HERMES_FORM,
            '<tool_call>{"name": "get_weather", '
            '"arguments": "{\\"city\\": \\"Ulm\\"}"}</tool_call>',
            "",
            [ULM],
        ),
        (LLAMA_FORM, '{"name": "get_weather", "parameters": {"city": "Ulm"}}', "", [ULM]),
        (LLAMA_FORM, 'So: {"name": "get_time"}', 'So: {"name": "get_time"}', []),
        (LLAMA_FORM, '{"name": "Bob", "age": 3}', '{"name": "Bob", "age": 3}', []),
        (LLAMA_FORM, '{"x": {"y": 1}}', '{"x": {"y": 1}}', []),
        (LLAMA_FORM, 'See\n{"name": "get_time", "parameters": {}}', "See", [NOW]),
        (
            MISTRAL_FORM,
            '[TOOL_CALLS][{"name": "get_weather", "arguments": {"city": "Ulm"}, "id": "abc"}, '
            '{"name": "get_time", "arguments": {}}]',
            "",
            [ULM, NOW],
        ),
        (TAGGED_FORM, 'a <function=get_weather>{"city": "Ulm"}</function>', "a", [ULM]),
        (TAGGED_FORM, "a <function=>", "a <function=>", []),
        (LLAMA_FORM, '{"name": ["f"], "parameters": {}}', '{"name": ["f"], "parameters": {}}', []),
        (LLAMA_FORM, '{"name": "get_time"}', '{"name": "get_time"}', []),
        (
            HERMES_FORM,
            '<tool_call>{"name": "get_time", "arguments": {"a": NaN}}</tool_call>',
            '<tool_call>{"name": "get_time", "arguments": {"a": NaN}}</tool_call>',
            [],
        ),
    ],
)
def test_calls_are_read_from_text_however_it_comes(
    form: ToolFormat, text: str, said: str, called: list[tuple[str, str]], size: int
) -> None:
    assert read(form, text, size) == (said, called)


def written(model: BaseModel, text: str, **fields: Any) -> list[SampleEvent]:
    """The events of an answer whose tokens are given."""
    one = spec("a", prompt=None, messages=ASKED, tools=TOOLS, max_tokens=300, **fields)
    answer = Sampler(model)._preparation.answer(one)
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    events: list[SampleEvent] = []
    for token_id in [*ids, min(model.end_of_text_ids)]:
        if answer.finish_reason is None:
            events += answer.take(token_id)
    return events


TWO_CALLS = (
    'Wait.<tool_call>{"name": "get_weather", "arguments": {"city": "Ulm"}}</tool_call>\n'
    '<tool_call>{"name": "get_time", "arguments": {}}</tool_call>'
)


def test_free_calls_are_told_whole_and_their_text_is_not(llama: BaseModel) -> None:
    events = written(llama, TWO_CALLS)
    assert texts(events) == {"a": "Wait."}
    assert [(c.index, c.name, c.arguments) for c in calls(events, "a")] == [(0, *ULM), (1, *NOW)]
    assert ends(events) == {"a": "tool_calls"}


def test_without_parallel_calls_the_first_ends_the_answer(llama: BaseModel) -> None:
    events = written(llama, TWO_CALLS, parallel_tool_calls=False)
    assert [call.name for call in calls(events, "a")] == ["get_weather"]
    assert ends(events) == {"a": "tool_calls"}


def test_text_without_a_call_ends_as_text(llama: BaseModel) -> None:
    events = written(llama, 'I would say <tool_call>{"name": no')
    assert texts(events) == {"a": 'I would say <tool_call>{"name": no'}
    assert ends(events) == {"a": "stop"}


@pytest.mark.parametrize(
    ("fields", "code", "message"),
    [
        ({"required_tools": ("nobody",)}, "bad_conversation", "nobody"),
        ({"tools": [{"type": "function"}]}, "bad_conversation", "`function`"),
        (
            {
                "tools": [{"function": {"name": "f", "parameters": {"not": {}}}}],
                "required_tools": ("f",),
            },
            "bad_schema",
            "parameters of the function f",
        ),
    ],
)
def test_tools_that_cannot_be_called_fail_their_request(
    llama: BaseModel, fields: dict[str, Any], code: str, message: str
) -> None:
    asked = spec("a", prompt=None, messages=ASKED, **{"tools": TOOLS, **fields})
    [failed] = [e for e in drain(Sampler(llama), asked) if isinstance(e, SampleFailed)]
    assert failed.code == code
    assert message in failed.message


def test_log_probabilities_are_told_of_text_and_not_of_calls(llama: BaseModel) -> None:
    asked = spec(
        "a",
        prompt=None,
        messages=ASKED,
        tools=TOOLS,
        required_tools=("get_time",),
        max_tokens=200,
        top_logprobs=1,
    )
    events = drain(Sampler(llama), asked)
    assert calls(events, "a")
    assert not [e for e in events if isinstance(e, TextDelta)]


def test_with_a_schema_and_free_tools_the_answer_is_one_or_the_other(styled: BaseModel) -> None:
    schema = closed(kind={"enum": ["point", "line"]})
    asked = [
        spec(
            str(seed),
            prompt=None,
            messages=ASKED,
            tools=TOOLS,
            json_schema=schema,
            parallel_tool_calls=False,
            seed=seed,
            max_tokens=400,
            temperature=1.8,
        )
        for seed in range(12)
    ]
    events = drain(Sampler(styled), *asked)
    reasons = ends(events)
    for name, text in texts(events).items():
        assert reasons[name] == "stop"
        jsonschema.validate(json.loads(text), schema)
    for name in reasons.keys() - texts(events).keys():
        [call] = calls(events, name)
        assert call.name in NAMES
    assert len(reasons) == 12


@pytest.mark.parametrize("form", [HERMES_FORM, LLAMA_FORM, MISTRAL_FORM, TAGGED_FORM])
def test_what_is_read_does_not_depend_on_how_the_text_comes(form: ToolFormat) -> None:
    chance = random.Random(3)
    key = form.arguments_key or "arguments"
    whole = f'{{"name": "get_time", "{key}": {{"a": [1, "}}"]}}}}'
    bits = [form.marker, form.closing, whole, "get_time", ">", '{"name":', '"f"', f'"{key}":']
    bits += ["{", "}", "[", "]", ",", " ", "\n", "text", '"', "\\", "né", ":", "<"]
    for _ in range(400):
        text = "".join(chance.choices(bits, k=chance.randrange(1, 9)))
        at_once = read(form, text, 10_000)
        assert {repr(read(form, text, size)) for size in (1, 2, 5)} == {repr(at_once)}, text
