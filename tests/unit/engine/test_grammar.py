"""Answers that are held to a JSON schema."""

import json
import time
from typing import Any

import jsonschema
import pytest

from tests.tiny_models import make_tiny_llama
from tests.unit.engine.test_sample import drain, spec, texts
from tunesmith.engine.events import SampleDone, SampleEvent, SampleFailed, TextDelta
from tunesmith.engine.model import BaseModel
from tunesmith.engine.sample import Sampler

SHORT = {"type": "string", "maxLength": 6}


def closed(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


SCHEMAS: dict[str, dict[str, Any]] = {
    "empty": closed(),
    "scalars": closed(a=SHORT, b={"type": "boolean"}, c={"type": "null"}),
    "numbers": closed(n={"type": "integer", "minimum": -3, "maximum": 12}),
    "optional": {**closed(a=SHORT, b={"type": "boolean"}), "required": ["b"]},
    "nested": closed(outer=closed(inner=closed(deep=SHORT))),
    "enum": closed(color={"enum": ["red", "green", "dark blue", 3, None]}),
    "const": closed(kind={"const": "point"}),
    "array": {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 4},
    "objects": closed(items={"type": "array", "items": closed(x=SHORT), "maxItems": 3}),
    "any of": closed(value={"anyOf": [SHORT, {"type": "null"}, closed(a={"type": "boolean"})]}),
    "definitions": {
        "$defs": {"city": closed(name=SHORT)},
        **closed(home={"$ref": "#/$defs/city"}, work={"$ref": "#/$defs/city"}),
    },
    "recursive": {
        "$defs": {
            "node": closed(
                value={"type": "boolean"},
                next={"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
            )
        },
        "$ref": "#/$defs/node",
    },
    "pattern": closed(code={"type": "string", "pattern": "^[A-Z]{2}-[0-9]{3}$"}),
    "format": closed(day={"type": "string", "format": "date"}),
    "several types": closed(v={"type": ["boolean", "null"]}),
    "other alphabets": closed(**{"größe 大": {"enum": ["né", "天気", "👩‍🚀"]}}),
    "bounded number": closed(n={"type": "integer", "multipleOf": 5, "minimum": 0, "maximum": 50}),
}


def ends(events: list[SampleEvent]) -> dict[str, str]:
    return {e.request_id: e.finish_reason for e in events if isinstance(e, SampleDone)}


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_a_random_models_answers_satisfy_the_schema(
    llama: BaseModel, schema: dict[str, Any]
) -> None:
    asked = [
        spec(f"{seed}", json_schema=schema, seed=seed, max_tokens=200, temperature=temperature)
        for seed in range(5)
        for temperature in (0.0, 1.0)[: 1 + seed]
    ]
    named = [spec(f"{n}", **_fields(one)) for n, one in enumerate(asked)]
    events = drain(Sampler(llama), *named)
    told, finished = texts(events), ends(events)
    assert finished.keys() == {one.request_id for one in named}
    whole = [told[name] for name, reason in finished.items() if reason == "stop"]
    assert len(whole) >= len(named) - 1  # the recursive one may go on for ever
    for text in whole:
        jsonschema.validate(json.loads(text), schema)


OPEN: dict[str, Any] = {"type": "object", "properties": {"a": SHORT}, "required": ["a"]}
PART: dict[str, Any] = {"type": "object", "properties": {"b": SHORT}, "required": ["b"]}


@pytest.mark.parametrize(
    ("schema", "keys"),
    [
        (OPEN, {"a"}),
        ({"$defs": {"open": OPEN}, **closed(x={"$ref": "#/$defs/open"})}, {"x"}),
        ({**OPEN, "additionalProperties": True, "maxProperties": 1}, {"a"}),
        ({"allOf": [OPEN, PART], "maxProperties": 2}, {"a", "b"}),
        ({**OPEN, "anyOf": [PART], "maxProperties": 2}, {"a", "b"}),
    ],
)
def test_properties_that_nobody_named_are_not_made_up(
    llama: BaseModel, schema: dict[str, Any], keys: set[str]
) -> None:
    named = [
        spec(f"{seed}", json_schema=schema, seed=seed, max_tokens=200, temperature=1.0)
        for seed in range(4)
    ]
    events = drain(Sampler(llama), *named)
    assert set(ends(events).values()) == {"stop"}  # and not "length", for all that was made up
    for text in texts(events).values():
        jsonschema.validate(json.loads(text), schema)
        assert json.loads(text).keys() == keys


def _fields(one: Any) -> dict[str, Any]:
    names = ("json_schema", "seed", "max_tokens", "temperature")
    return {name: getattr(one, name) for name in names}


def test_json_mode_gives_an_object_and_no_endless_blanks(llama: BaseModel) -> None:
    blanks = [i for i in range(len(llama.tokenizer)) if not llama.tokenizer.decode([i]).strip()]
    likes_blanks = dict.fromkeys(blanks, 50.0)
    schema = {"type": "object"}
    asked = [
        spec(str(seed), json_schema=schema, seed=seed, max_tokens=300, logit_bias=bias)
        for seed, bias in enumerate(({}, {}, likes_blanks))
    ]
    events = drain(Sampler(llama), *asked)
    for name, text in texts(events).items():
        assert text.startswith("{")
        if ends(events)[name] == "stop":
            assert isinstance(json.loads(text), dict)
    assert "\n" * 3 not in texts(events)["2"]
    assert " " * 30 not in texts(events)["2"]


def test_a_constrained_row_leaves_its_neighbours_as_they_are(llama: BaseModel) -> None:
    free = [spec("greedy", temperature=0, max_tokens=30), spec("drawn", seed=4, max_tokens=30)]
    alone = texts(drain(Sampler(llama), *free))
    held = spec("held", json_schema=SCHEMAS["nested"], seed=2, max_tokens=100)
    held_alone = texts(drain(Sampler(llama), held))
    among = texts(drain(Sampler(llama), free[0], held, free[1]))
    assert among == alone | held_alone


def test_a_schema_that_takes_long_to_read_stalls_nobody(
    llama: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    sampler = Sampler(llama)
    grammars = sampler._preparation._grammars
    read = grammars.matcher

    def slowly(grammar: Any) -> Any:
        time.sleep(0.3)
        return read(grammar)

    monkeypatch.setattr(grammars, "matcher", slowly)
    sampler.submit(spec("held", json_schema=SCHEMAS["empty"]))
    sampler.submit(spec("free"))
    order = [event.request_id for event in drain(sampler) if isinstance(event, SampleDone)]
    assert order == ["free", "held"]


@pytest.mark.parametrize(
    ("schema", "reason"),
    [
        ({"type": "frob"}, "frob"),
        ({"not": {"type": "string"}}, "not"),
        ({"$ref": "https://example.com/schema.json"}, "example.com"),
        ({"$ref": "#/$defs/nowhere"}, "nowhere"),
        ({"type": "string", "pattern": "(?=a)b"}, "look-a"),
        ({"type": "string", "pattern": "("}, "regex"),
        ({"allOf": [{"type": "string"}, {"type": "null"}]}, "Unsatisfiable"),
        ({"type": "object", "properties": {"a": 3}}, ""),
        ({"enum": ["x" * 300_000]}, "262144 characters"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_a_schema_that_cannot_be_followed_fails_its_request_and_says_why(
    llama: BaseModel, schema: dict[str, Any], reason: str
) -> None:
    started = time.monotonic()
    events = drain(Sampler(llama), spec("bad", json_schema=schema), spec("good"))
    [failed] = [e for e in events if isinstance(e, SampleFailed)]
    assert (failed.request_id, failed.code) == ("bad", "bad_schema")
    assert failed.message.startswith("The JSON schema")
    assert reason in failed.message
    assert "start:" not in failed.message  # our grammar is nobody's business
    assert ends(events).keys() == {"good"}
    assert time.monotonic() - started < 5


def test_a_huge_schema_is_bounded_work(llama: BaseModel) -> None:
    wide = closed(**{f"p{n}": {"type": "string", "pattern": f"^a{n}+$"} for n in range(2000)})
    doubling = {
        "$defs": {
            f"d{n}": closed(a={"$ref": f"#/$defs/d{n + 1}"}, b={"$ref": f"#/$defs/d{n + 1}"})
            for n in range(200)
        }
        | {"d200": {"type": "null"}},
        "$ref": "#/$defs/d0",
    }
    explosive = {"type": "string", "pattern": "((((a{1,999}){1,999}){1,999}){1,999})"}
    started = time.monotonic()
    drain(
        Sampler(llama),
        *(spec(str(n), json_schema=s) for n, s in enumerate((wide, doubling, explosive))),
    )
    assert time.monotonic() - started < 20


def test_an_answer_cut_short_ends_for_its_length(llama: BaseModel) -> None:
    schema = closed(a={"type": "string", "minLength": 100})
    events = drain(Sampler(llama), spec("a", json_schema=schema, max_tokens=8))
    assert ends(events) == {"a": "length"}


def test_an_answer_that_is_whole_with_its_last_token_ends_as_whole(llama: BaseModel) -> None:
    schema = closed(kind={"const": "point"})
    [end] = [
        e
        for e in drain(Sampler(llama), spec("a", json_schema=schema, max_tokens=99))
        if isinstance(e, SampleDone)
    ]
    exact = drain(Sampler(llama), spec("a", json_schema=schema, max_tokens=end.completion_tokens))
    assert ends(exact) == {"a": "stop"}
    assert json.loads(texts(exact)["a"]) == {"kind": "point"}


def test_special_tokens_are_no_part_of_a_json_string(llama: BaseModel) -> None:
    special = dict.fromkeys(llama.tokenizer.all_special_ids, 100.0)
    schema = closed(a={"type": "string", "minLength": 5, "maxLength": 9})
    asked = spec("a", json_schema=schema, logit_bias=special, max_tokens=60, top_logprobs=0)
    events = drain(Sampler(llama), asked)
    told = [t for e in events if isinstance(e, TextDelta) for t in e.logprobs]
    assert b"".join(bytes(t.token_bytes) for t in told).decode() == texts(events)["a"]
    jsonschema.validate(json.loads(texts(events)["a"]), schema)


def test_a_cancelled_request_is_silent_while_its_schema_is_read(llama: BaseModel) -> None:
    sampler = Sampler(llama)
    sampler.submit(spec("a", json_schema=SCHEMAS["nested"]))
    sampler.cancel("a")
    assert drain(sampler) == []


def test_a_model_with_more_rows_than_tokens_is_held_to_a_schema_too(tmp_path: Any) -> None:
    model = BaseModel.load(make_tiny_llama(tmp_path / "model"))
    model.network.resize_token_embeddings(len(model.tokenizer) + 37, mean_resizing=False)
    model.config.vocab_size = len(model.tokenizer) + 37
    events = drain(Sampler(model), spec("a", json_schema=SCHEMAS["enum"], max_tokens=90))
    jsonschema.validate(json.loads(texts(events)["a"]), SCHEMAS["enum"])
