"""Graders: validated, and run."""

from typing import Any

import httpx
import openai
import pytest

from tests.contract.openai.support import refused
from tests.contract.server import Server
from tunesmith.domain.accounts import USER_SCOPES, Scope

EXACT = {
    "type": "string_check",
    "name": "exact",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}",
    "operation": "eq",
}
CLOSE = {
    "type": "text_similarity",
    "name": "close",
    "input": "{{ sample.output_text }}",
    "reference": "{{ item.answer }}",
    "evaluation_metric": "rouge_l",
}
SCORED = {
    "type": "score_model",
    "name": "scored",
    "model": "gpt-4o",
    "input": [
        {"role": "system", "content": "Score {{ sample.output_text }} as {{{}}}."},
        {"role": "user", "content": {"type": "input_text", "text": "{{ item.answer }}"}},
        {"role": "user", "content": [{"type": "input_image", "image_url": "{{ item.url }}"}]},
    ],
}
LABELED = {
    "type": "label_model",
    "name": "labeled",
    "model": "gpt-4o",
    "input": [{"role": "user", "content": "Label it."}],
    "labels": ["good", "bad"],
    "passing_labels": ["good"],
}
CODE = {"type": "python", "name": "code", "source": "def grade(sample, item):\n    return 1.0"}
NO_ERRORS = {
    "formula_parse_error": False,
    "invalid_variable_error": False,
    "model_grader_parse_error": False,
    "model_grader_refusal_error": False,
    "model_grader_server_error": False,
    "model_grader_server_error_details": None,
    "other_error": False,
    "python_grader_runtime_error": False,
    "python_grader_runtime_error_details": None,
    "python_grader_server_error": False,
    "python_grader_server_error_type": None,
    "sample_parse_error": False,
    "truncated_observation_error": False,
    "unresponsive_reward_error": False,
}


def multi(formula: str, **graders: dict[str, Any]) -> dict[str, Any]:
    return {"type": "multi", "name": "all", "graders": graders, "calculate_output": formula}


def run(http: httpx.Client, grader: Any, sample: str, item: Any = None) -> dict[str, Any]:
    body = {"grader": grader, "model_sample": sample, "item": item}
    answer = http.post("/fine_tuning/alpha/graders/run", json=body)
    assert answer.status_code == 200, answer.text
    result: dict[str, Any] = answer.json()
    return result


@pytest.mark.parametrize(
    ("grader", "defaults"),
    [
        (EXACT, {}),
        (CLOSE, {}),
        (CODE, {"image_tag": None}),
        ({**CODE, "pass_threshold": 0.5, "strange": {}}, {"image_tag": None}),
        (
            {**SCORED, "sampling_params": {"temperature": 0, "max_completions_tokens": 5}},
            {"range": [0.0, 1.0]},
        ),
    ],
)
def test_a_valid_grader_comes_back_with_its_defaults(
    client: openai.OpenAI, grader: Any, defaults: dict[str, Any]
) -> None:
    validated = client.fine_tuning.alpha.graders.validate(grader=grader).grader
    assert validated is not None
    given = {name: grader[name] for name in grader if name not in ("pass_threshold", "strange")}
    sent = validated.model_dump(exclude_unset=True)
    for name, value in (given | defaults).items():
        if name not in ("input", "sampling_params"):
            assert sent[name] == value
    assert set(given | defaults) <= set(sent)


def test_the_names_that_guides_leave_out_or_misspell_are_put_right(http: httpx.Client) -> None:
    unnamed = {name: value for name, value in CODE.items() if name != "name"}
    for grader, field, value in (
        (unnamed, "name", "python"),
        ({**EXACT, "operation": "neq"}, "operation", "ne"),
        ({**SCORED, "range": None}, "range", [0.0, 1.0]),
    ):
        answer = http.post("/fine_tuning/alpha/graders/validate", json={"grader": grader})
        assert answer.status_code == 200, answer.text
        assert answer.json()["grader"][field] == value


def test_a_multi_grader_holds_any_other_kind(http: httpx.Client) -> None:
    grader = multi("a + b + c + d + e", a=EXACT, b=CLOSE, c=SCORED, d=LABELED, e=CODE)
    answer = http.post("/fine_tuning/alpha/graders/validate", json={"grader": grader})
    assert answer.status_code == 200, answer.text
    told = answer.json()["grader"]
    assert told["graders"]["d"] == {
        **LABELED,
        "input": [{"role": "user", "content": "Label it.", "type": "message"}],
    }
    assert told["calculate_output"] == grader["calculate_output"]


def test_a_multi_grader_may_hold_one_grader_as_the_client_types_it(client: openai.OpenAI) -> None:
    grader: Any = {**multi("exact"), "graders": EXACT}
    validated = client.fine_tuning.alpha.graders.validate(grader=grader).grader
    assert validated is not None
    assert validated.to_dict() == grader
    ran = client.fine_tuning.alpha.graders.run(
        grader=grader, model_sample="x", item={"answer": "x"}
    )
    assert ran.reward == 1.0


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        ("x", "grader"),
        (None, "grader"),
        ({}, "grader.type"),
        ({"type": "nothing"}, "grader.type"),
        ({"type": ["string_check"]}, "grader.type"),
        (LABELED, "grader.type"),
        ({**EXACT, "operation": "is"}, "grader.operation"),
        ({**EXACT, "input": 5}, "grader.input"),
        ({**EXACT, "input": "x" * 1_000_001}, "grader.input"),
        ({**EXACT, "name": None}, "grader.name"),
        ({**CLOSE, "evaluation_metric": "cosine"}, "grader.evaluation_metric"),
        ({**CLOSE, "evaluation_metric": "rouge_6"}, "grader.evaluation_metric"),
        ({**CODE, "source": "x" * 300_000}, "grader.source"),
        ({**SCORED, "input": []}, "grader.input"),
        ({**SCORED, "range": [1, 0]}, "grader.range"),
        ({**SCORED, "range": [0]}, "grader.range"),
        ({**SCORED, "input": [{"role": "tool", "content": ""}]}, "grader.input.0.role"),
        (
            {**SCORED, "input": [{"role": "user", "content": {"type": "x"}}]},
            "grader.input.0.content.type",
        ),
        (
            {**SCORED, "sampling_params": {"max_completions_tokens": 0}},
            "grader.sampling_params.max_completions_tokens",
        ),
        (multi("x", x={**EXACT, "operation": "is"}), "grader.graders.x.operation"),
        (multi("x", x=multi("y", y=EXACT)), "grader.graders.x.type"),
        (multi("x", x={**LABELED, "passing_labels": ["?"]}), "grader.graders.x.passing_labels"),
        (multi("x + y", x=EXACT), "grader.calculate_output"),
        (multi("x +", x=EXACT), "grader.calculate_output"),
        (multi("(" * 1000, x=EXACT), "grader.calculate_output"),
        (multi("1"), "grader.graders"),
        (multi("1", **{f"x{n}": EXACT for n in range(21)}), "grader.graders"),
    ],
)
def test_what_is_wrong_with_a_grader_is_named(
    client: openai.OpenAI, grader: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.alpha.graders.validate(grader=grader)
    assert caught.value.param == param
    with refused(400):
        client.fine_tuning.alpha.graders.run(grader=grader, model_sample="x")


@pytest.mark.parametrize(
    ("operation", "sample", "reward"),
    [
        ("eq", "Berlin", 1.0),
        ("eq", "berlin", 0.0),
        ("ne", "Berlin", 0.0),
        ("neq", "Berlin!", 1.0),
        ("like", "It is Berlin.", 1.0),
        ("like", "It is berlin.", 0.0),
        ("like", "Ber", 0.0),
        ("ilike", "It is BERLIN.", 1.0),
        ("ilike", "It is Bern.", 0.0),
    ],
)
def test_strings_are_checked(
    client: openai.OpenAI, operation: str, sample: str, reward: float
) -> None:
    grader: Any = {**EXACT, "operation": operation}
    ran = client.fine_tuning.alpha.graders.run(
        grader=grader, model_sample=sample, item={"answer": "Berlin"}
    )
    assert ran.reward == reward


def test_all_that_the_contract_lists_is_told(client: openai.OpenAI, http: httpx.Client) -> None:
    told = run(http, EXACT, "Berlin", {"answer": "Berlin"})
    assert told["metadata"].pop("execution_time") >= 0
    assert told == {
        "reward": 1.0,
        "sub_rewards": {},
        "model_grader_token_usage_per_model": {},
        "metadata": {
            "name": "exact",
            "type": "string_check",
            "scores": {"exact": 1.0},
            "sampled_model_name": None,
            "token_usage": None,
            "errors": NO_ERRORS,
        },
    }


def test_a_formula_brings_rewards_together(client: openai.OpenAI) -> None:
    grader: Any = multi("0.25 * exact + 0.75 * close ^ 2", exact=EXACT, close=CLOSE)
    ran = client.fine_tuning.alpha.graders.run(
        grader=grader, model_sample="one two four", item={"answer": "one two three"}
    )
    close = 2 / 3
    assert ran.sub_rewards == {"exact": 0.0, "close": pytest.approx(close)}
    assert ran.metadata.scores == ran.sub_rewards
    assert ran.reward == pytest.approx(0.75 * close**2)


@pytest.mark.parametrize("formula", ["1 / exact", "log(exact)", "exp(1000 + exact)", "sqrt(0-1)"])
def test_a_formula_without_a_value_is_told(http: httpx.Client, formula: str) -> None:
    told = run(http, multi(formula, exact=EXACT), "no", {"answer": "yes"})
    assert told["reward"] == 0.0
    assert told["sub_rewards"] == {"exact": 0.0}
    assert told["metadata"]["errors"] == {**NO_ERRORS, "formula_parse_error": True}


def test_a_variable_that_is_not_there_is_told(http: httpx.Client) -> None:
    wrong = {**NO_ERRORS, "invalid_variable_error": True}
    for item in (None, {}, {"Answer": "x"}):
        for grader in (EXACT, CLOSE, multi("1 + exact", exact=EXACT, close=CLOSE)):
            told = run(http, grader, "x", item)
            assert (told["reward"], told["metadata"]["errors"]) == (0.0, wrong)


def test_a_sample_that_should_be_json_and_is_not_is_told(http: httpx.Client) -> None:
    grader = {**EXACT, "input": "{{ sample.output_json.name }}"}
    told = run(http, grader, '{"name": "x"}', {"answer": "x"})
    assert (told["reward"], told["metadata"]["errors"]) == (1.0, NO_ERRORS)
    told = run(http, grader, "name: x", {"answer": "x"})
    wrong = {**NO_ERRORS, "invalid_variable_error": True, "sample_parse_error": True}
    assert (told["reward"], told["metadata"]["errors"]) == (0.0, wrong)


@pytest.mark.parametrize(
    ("grader", "param"),
    [
        (SCORED, "grader.type"),
        (CODE, "grader.type"),
        (multi("x + y", x=EXACT, y=LABELED), "grader.graders.y.type"),
        (multi("x", x=CODE), "grader.graders.x.type"),
    ],
)
def test_kinds_that_cannot_be_run_yet_are_named(
    client: openai.OpenAI, grader: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError, match="is not available yet") as caught:
        client.fine_tuning.alpha.graders.run(grader=grader, model_sample="x")
    assert caught.value.param == param


def test_texts_that_are_too_long_are_refused(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.alpha.graders.run(
            grader=CLOSE,  # type: ignore[arg-type]
            model_sample="x" * 50_001,
            item={"answer": ""},
        )
    assert caught.value.param == "grader"
    assert "the input of 'close' has 50,001" in caught.value.message
    with pytest.raises(openai.BadRequestError) as caught:
        client.fine_tuning.alpha.graders.run(grader=EXACT, model_sample="x" * 1_000_001)  # type: ignore[arg-type]
    assert caught.value.param == "model_sample"


@pytest.mark.parametrize(
    "body",
    [
        b'{"grader": {"type": "string_check", "name": "\\ud800", "input": "", "reference": "",'
        b' "operation": "eq"}, "model_sample": "x"}',
        b'{"grader": {"type": "score_model", "name": "x", "model": "x", "range": [NaN, Infinity],'
        b' "input": [{"role": "user", "content": "\\udfff"}]}, "model_sample": "x"}',
        b'{"grader": {"type": "text_similarity"}, "model_sample": 1e999, "item": []}',
        b'{"grader": {"type": "string_check", "name": "x", "input": "", "reference": "",'
        b' "operation": "eq"}, "model_sample": "\\u0000"}',
        b'{"grader": {"type": "string_check", "name": "x", "input": "", "reference": "",'
        b' "operation": "eq"}, "model_sample": "x", "item": {"\\ud800": 1}}',
        b'{"grader": ' + b"[" * 5000 + b"]" * 5000 + b', "model_sample": "x"}',
        b'{"grader": ' + b'{"graders":' * 5000 + b"1" + b"}" * 5000 + b', "model_sample": "x"}',
    ],
)
@pytest.mark.parametrize("path", ["validate", "run"])
def test_bad_input_is_refused(http: httpx.Client, path: str, body: bytes) -> None:
    answer = http.post(f"/fine_tuning/alpha/graders/{path}", content=body)
    assert answer.status_code == 400, answer.text


def test_odd_items_and_samples_are_graded(http: httpx.Client) -> None:
    body = (
        b'{"grader": {"type": "text_similarity", "name": "x", "input": "{{ item }}",'
        b' "reference": "{{ sample }}", "evaluation_metric": "fuzzy_match"},'
        b' "model_sample": "", "item": {"": [{}, NaN, 1e999]}}'
    )
    answer = http.post("/fine_tuning/alpha/graders/run", content=body)
    assert answer.status_code == 200, answer.text


def test_a_key_needs_the_right_to_make_jobs(server: Server, anyone: openai.OpenAI) -> None:
    caller = server.new_caller(USER_SCOPES - {Scope.JOBS_WRITE})
    client = anyone.with_options(api_key=caller.secret)
    with refused(403):
        client.fine_tuning.alpha.graders.validate(grader=EXACT)  # type: ignore[arg-type]
    with refused(403):
        client.fine_tuning.alpha.graders.run(grader=EXACT, model_sample="x")  # type: ignore[arg-type]
