"""Running a model, whole and streamed."""

import json
from dataclasses import replace
from typing import Any

import cloudflare
import httpx
import pytest

from tests.contract.cloudflare.support import MODEL, Account, limits, refused, result
from tests.contract.openai.support import wait_until
from tests.contract.server import (
    BASE,
    ScriptedSampler,
    Server,
    called,
    delta,
    done,
    failed,
)
from tunesmith.domain.accounts import Scope
from tunesmith.domain.assignments import SampleRequest
from tunesmith.domain.errors import Unavailable

ESCAPED = MODEL.replace("/", "%2F")
HI: list[Any] = [{"role": "user", "content": "Hi."}]
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
WEATHER = {
    "name": "weather",
    "description": "Of a place.",
    "parameters": {"type": "object", "properties": {"place": {"type": "string"}}},
}


def run(account: Account, model: str = MODEL, **fields: Any) -> httpx.Response:
    return account.http.post(f"/run/{model}", json=fields)


def asked(sampler: ScriptedSampler) -> SampleRequest:
    return sampler.requests[-1]


def says(sampler: ScriptedSampler, text: str) -> None:
    sampler.script = lambda request: [delta(request, text), done(request)]


def frames_of(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.text.removesuffix("\n\n").split("\n\n")
    texts = [event.removeprefix("data: ") for event in events]
    return [text if text == "[DONE]" else json.loads(text) for text in texts]


@pytest.mark.parametrize("model", [MODEL, ESCAPED, "tunesmith-tiny", "tiny-llama", MODEL + "/"])
def test_a_model_is_run_by_any_of_its_names(
    account: Account, sampler: ScriptedSampler, model: str
) -> None:
    assert result(run(account, model, prompt="Hi.")) == {"response": "Hello", "usage": USAGE}
    assert asked(sampler).base_model.name == "tunesmith-tiny"


def test_the_twin_that_the_original_lists_for_lora_is_the_same_model(
    account: Account, sampler: ScriptedSampler
) -> None:
    result(run(account, "tiny-llama-lora", prompt="Hi."))
    result(run(account, MODEL.removesuffix("-lora"), prompt="Hi."))
    assert {request.base_model.name for request in sampler.requests} == {"tunesmith-tiny"}


def test_a_prompt_is_what_a_user_says_and_defaults_are_the_originals(
    account: Account, sampler: ScriptedSampler
) -> None:
    result(run(account, prompt="Hi."))
    request = asked(sampler)
    assert (request.messages, request.prompt) == (HI, None)
    assert (request.max_tokens, request.temperature, request.top_p) == (256, 0.6, 1.0)
    assert (request.top_k, request.repetition_penalty, request.seed) == (None, 1.0, None)
    assert request.adapter is None


def test_raw_prompts_and_raw_messages_have_no_template(
    account: Account, sampler: ScriptedSampler
) -> None:
    result(run(account, prompt="Once", raw=True))
    assert (asked(sampler).messages, asked(sampler).prompt) == (None, "Once")
    messages = [{"role": "system", "content": "Be."}, *HI]
    result(run(account, messages=messages, raw=True))
    assert (asked(sampler).messages, asked(sampler).prompt) == (None, "Be.\nHi.")


def test_every_option_reaches_the_worker(account: Account, sampler: ScriptedSampler) -> None:
    options: dict[str, Any] = {
        "max_tokens": 8,
        "temperature": 2.5,
        "top_p": 0.5,
        "top_k": 5,
        "seed": 9_999_999_999,
        "repetition_penalty": 1.2,
        "frequency_penalty": -1,
        "presence_penalty": 1.5,
    }
    result(run(account, messages=HI, stop="END", **options))
    request = asked(sampler)
    assert {name: getattr(request, name) for name in options} == options
    assert request.stop == ("END",)


def test_null_and_unknown_fields_change_nothing(account: Account, sampler: ScriptedSampler) -> None:
    result(run(account, prompt="Hi."))
    plain = asked(sampler)
    names = "lora raw stream max_tokens temperature top_p top_k seed repetition_penalty stop tools"
    nulls = dict.fromkeys([*names.split(), "response_format", "options", "messages"])
    result(run(account, prompt="Hi.", **nulls, langchain={"any": [1]}, repetition_context=3))
    assert replace(asked(sampler), request_id="") == replace(plain, request_id="")


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({}, "prompt"),
        ({"prompt": "a", "messages": HI}, "prompt"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": 3}, "prompt"),
        ({"prompt": "a\0"}, "prompt"),
        ({"messages": []}, "messages"),
        ({"messages": ["Hi."]}, "messages/0"),
        ({"messages": [{"role": "king", "content": "Hi."}]}, "messages/0/role"),
        ({"messages": [{"role": "user"}]}, "messages/0"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": 10**30}, "max_tokens"),
        ({"prompt": "a", "temperature": 5.1}, "temperature"),
        ({"prompt": "a", "top_p": 0}, "top_p"),
        ({"prompt": "a", "top_k": 51}, "top_k"),
        ({"prompt": "a", "seed": 0}, "seed"),
        ({"prompt": "a", "repetition_penalty": 2.1}, "repetition_penalty"),
        ({"prompt": "a", "raw": "yes"}, "raw"),
        ({"prompt": "a", "stop": ["a"] * 5}, "stop"),
        ({"prompt": "a", "raw": True, "tools": [WEATHER]}, "raw"),
        ({"prompt": "a", "tools": [{"type": "function"}]}, "tools"),
        ({"prompt": "a", "tools": [WEATHER], "functions": [WEATHER]}, "functions"),
        ({"prompt": "a", "functions": [{"name": "f", "code": "1"}]}, "code"),
        ({"prompt": "a", "tool_choice": "required"}, "tool_choice"),
        ({"prompt": "a", "response_format": {"type": "json_schema"}}, "response_format"),
        ({"prompt": "a", "response_format": {"type": "json_object"}, "stream": True}, "stream"),
    ],
)
def test_what_cannot_be_is_refused_by_name(
    account: Account, fields: dict[str, Any], param: str | None
) -> None:
    (error,) = refused(run(account, **fields), 400, 3003)
    if param is not None:
        assert error["source"] == {"pointer": f"/{param}"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"prompt": "\\ud800"}', b"[" * 9999])
def test_what_is_no_body_is_refused(account: Account, body: bytes) -> None:
    refused(account.http.post(f"/run/{MODEL}", content=body), 400, 3003)


def test_numbers_that_are_no_json_are_refused(account: Account) -> None:
    schema = b'{"type": "json_schema", "json_schema": {"const": NaN}}'
    body = b'{"prompt": "a", "response_format": ' + schema + b"}"
    refused(account.http.post(f"/run/{MODEL}", content=body), 400, 3003)


def test_json_mode_answers_with_the_value(account: Account, sampler: ScriptedSampler) -> None:
    says(sampler, '{"a": [1, null]}')
    answer = run(account, prompt="a", response_format={"type": "json_object"})
    assert result(answer)["response"] == {"a": [1, None]}
    assert asked(sampler).json_schema == {"type": "object"}


@pytest.mark.parametrize("is_nested", [False, True])
def test_a_schema_is_kept_to(account: Account, sampler: ScriptedSampler, is_nested: bool) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "null"}}}
    given = {"name": "x", "schema": schema} if is_nested else schema
    says(sampler, '{"a": null}')
    answer = run(
        account, messages=HI, response_format={"type": "json_schema", "json_schema": given}
    )
    assert result(answer)["response"] == {"a": None}
    assert asked(sampler).json_schema == schema


@pytest.mark.parametrize("text", ['{"a": ', "1e999", '"\\ud800"'])
def test_json_that_did_not_come_about_is_an_error(
    account: Account, sampler: ScriptedSampler, text: str
) -> None:
    says(sampler, text)
    answer = run(account, prompt="a", response_format={"type": "json_object"})
    (error,) = refused(answer, 400, 3003)
    assert error["message"].startswith("JSON Mode couldn't be met")


@pytest.mark.parametrize(
    "fields",
    [
        {"tools": [WEATHER]},
        {"tools": [{"type": "function", "function": WEATHER}]},
        {"functions": [WEATHER]},
    ],
)
def test_tools_come_in_every_form_and_calls_go_out_in_one(
    account: Account, sampler: ScriptedSampler, fields: dict[str, Any]
) -> None:
    sampler.script = lambda request: [
        called(request, "weather", '{"place": "Ulm"}'),
        done(request, "tool_calls"),
    ]
    assert result(run(account, messages=HI, **fields)) == {
        "response": "",
        "usage": USAGE,
        "tool_calls": [{"name": "weather", "arguments": {"place": "Ulm"}}],
    }
    assert asked(sampler).tools == [{"type": "function", "function": WEATHER}]
    assert asked(sampler).required_tools == ()


def test_a_call_and_what_it_gave_go_back_in_either_form(
    account: Account, sampler: ScriptedSampler
) -> None:
    flat = {"name": "weather", "arguments": {"place": "Ulm"}}
    nested = {"id": "x1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    messages = [
        *HI,
        {"role": "assistant", "content": "", "tool_calls": [flat, nested]},
        {"role": "tool", "name": "weather", "content": [{"type": "text", "text": "Rain."}]},
    ]
    result(run(account, messages=messages, tools=[WEATHER], tool_choice="any"))
    request = asked(sampler)
    assert request.messages is not None
    assert [call["function"] for call in request.messages[1]["tool_calls"]] == [
        {"name": "weather", "arguments": '{"place": "Ulm"}'},
        {"name": "f", "arguments": "{}"},
    ]
    assert request.messages[2] == {"role": "tool", "name": "weather", "content": "Rain."}
    assert request.required_tools == ("weather",)


def test_a_stream_has_no_envelope_and_ends_with_the_usage(
    account: Account, sampler: ScriptedSampler
) -> None:
    assert frames_of(run(account, prompt="Hi.", stream=True)) == [
        {"response": "Hel"},
        {"response": "lo"},
        {"response": "", "usage": USAGE},
        "[DONE]",
    ]


def test_calls_are_streamed_whole(account: Account, sampler: ScriptedSampler) -> None:
    sampler.script = lambda request: [called(request, "weather", "{}"), done(request)]
    frames = frames_of(run(account, messages=HI, tools=[WEATHER], stream=True))
    assert frames[0] == {"response": "", "tool_calls": [{"name": "weather", "arguments": {}}]}


def test_a_failure_before_the_first_piece_is_an_ordinary_error(
    account: Account, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [failed(request, "prompt_too_long", "Too long.")]
    (error,) = refused(run(account, prompt="Hi.", stream=True), 413, 3006)
    assert error["message"] == "Too long."


@pytest.mark.parametrize(
    ("code", "fields", "status", "number", "param"),
    [
        ("prompt_too_long", {}, 413, 3006, "prompt"),
        ("bad_conversation", {"prompt": None, "messages": HI}, 400, 3003, "messages"),
        ("bad_schema", {"response_format": {"type": "json_object"}}, 400, 3003, "response_format"),
        ("bad_schema", {"tools": [WEATHER], "tool_choice": "required"}, 400, 3003, "tools"),
        ("adapter_not_loaded", {}, 429, 3040, None),
        ("out_of_memory", {}, 500, 7500, None),
    ],
)
def test_a_failed_answer_blames_the_field(
    account: Account,
    sampler: ScriptedSampler,
    code: str,
    fields: dict[str, Any],
    status: int,
    number: int,
    param: str | None,
) -> None:
    sampler.script = lambda request: [failed(request, code, "No.")]
    (error,) = refused(run(account, **{"prompt": "Hi.", **fields}), status, number)
    assert error.get("source") == (None if param is None else {"pointer": f"/{param}"})


def test_a_failure_amid_a_stream_ends_it_with_the_envelope(
    account: Account, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [delta(request, "Hel"), Unavailable("Gone.")]
    frames = frames_of(run(account, prompt="Hi.", stream=True))
    assert frames == [
        {"response": "Hel"},
        {
            "result": None,
            "success": False,
            "errors": [{"code": 3040, "message": "Gone."}],
            "messages": [],
        },
    ]


def test_who_leaves_has_the_answer_cancelled(account: Account, sampler: ScriptedSampler) -> None:
    sampler.script = lambda request: [delta(request, "Hel"), 30.0, done(request)]
    with account.http.stream(
        "POST", f"/run/{MODEL}", json={"prompt": "Hi.", "stream": True}
    ) as answer:
        assert next(answer.iter_lines()) == 'data: {"response":"Hel"}'
    wait_until(lambda: sampler.num_cancelled == 1)


def test_no_worker_is_out_of_capacity_and_says_when_to_come_again(
    account: Account, sampler: ScriptedSampler
) -> None:
    sampler.script = lambda request: [Unavailable("No worker is connected.")]
    answer = run(account, prompt="Hi.")
    refused(answer, 429, 3040)
    assert answer.headers["retry-after"] == "5"


def test_who_would_rather_be_rejected_is_not_kept_waiting(
    account: Account, sampler: ScriptedSampler
) -> None:
    sampler.is_busy = True
    refused(run(account, prompt="Hi.", options={"rejectIfBusy": True}), 429, 3040)
    assert not sampler.requests
    result(run(account, prompt="Hi.", options={"rejectIfBusy": False}))
    sampler.is_busy = False
    result(run(account, prompt="Hi.", options={"rejectIfBusy": True}))


@pytest.mark.parametrize("model", ["@cf/no/such", "nobody", "finetunes"])
def test_an_unknown_model_is_no_such_model(account: Account, model: str) -> None:
    refused(run(account, model, prompt="Hi."), 400, 5007)


@pytest.mark.parametrize("model", ["@cf", "@cf/one", "a%00b", "a%09b", "x" * 400])
def test_a_name_that_no_model_can_have_is_invalid(account: Account, model: str) -> None:
    refused(run(account, model, prompt="Hi."), 404, 3042)


def test_a_finetune_is_run_by_id_and_by_name(account: Account, sampler: ScriptedSampler) -> None:
    finetune = account.whole("mine")
    for lora in ("mine", finetune["id"]):
        result(run(account, prompt="Hi.", lora=lora))
        result(run(account, messages=HI, lora=lora))
        result(run(account, prompt="Hi.", raw=True, lora=lora))
    adapters = [request.adapter for request in sampler.requests]
    assert len(adapters) == 6
    assert {adapter.id for adapter in adapters if adapter} == {finetune["id"].replace("-", "")}


def test_a_finetune_without_its_files_cannot_be_run(account: Account) -> None:
    account.created("empty")
    refused(run(account, prompt="Hi.", lora="empty"), 400, 3039)


def test_an_unknown_finetune_is_named(account: Account, stranger: Account) -> None:
    stranger.whole("theirs")
    for lora in ("theirs", "public", "", "a\u20ac" * 300):
        (error,) = refused(run(account, prompt="Hi.", lora=lora), 400, 3037)
        assert error["message"] == f"AiError: AiError: Finetune {lora} not found."


def test_a_finetune_of_another_base_is_not_found(account: Account) -> None:
    account.whole("mine")
    (error,) = refused(run(account, BASE, prompt="Hi.", lora="mine"), 400, 3037)
    assert "'tunesmith-tiny'" in error["message"]


def test_a_public_finetune_is_for_every_account(
    account: Account, stranger: Account, sampler: ScriptedSampler
) -> None:
    finetune = stranger.whole("for-all-of-run", public=True)
    for lora in ("for-all-of-run", finetune["id"]):
        result(run(account, prompt="Hi.", lora=lora))
    assert asked(sampler).adapter is not None
    stranger.http.delete("/finetunes/for-all-of-run")  # others look at the list of all


def test_public_finetunes_can_be_switched_off(
    account: Account, stranger: Account, server: Server
) -> None:
    stranger.whole("for-all-no-more", public=True)
    with limits(server, allows_public=False):
        refused(run(account, prompt="Hi.", lora="for-all-no-more"), 400, 3037)
    result(run(account, prompt="Hi.", lora="for-all-no-more"))
    stranger.http.delete("/finetunes/for-all-no-more")


def test_who_may_not_ask_models_is_told_so(server: Server) -> None:
    with Account(server, server.new_caller(frozenset({Scope.JOBS_READ}))) as account:
        refused(run(account, prompt="Hi."), 403, 10000)


def test_the_documentations_curl_works_as_it_stands(
    account: Account, sampler: ScriptedSampler
) -> None:
    account.whole("mine")
    answer = account.http.post(
        f"/run/{MODEL}",
        content='{"prompt": "Tell me.", "raw": "true", "lora": "mine", "max_tokens": 8.0}',
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert result(answer)["response"] == "Hello"
    assert (asked(sampler).prompt, asked(sampler).max_tokens) == ("Tell me.", 8)


def test_a_model_can_only_be_posted_to(account: Account) -> None:
    refused(account.http.get(f"/run/{MODEL}"), 405, 7001)


def test_the_sdk_runs_prompts_and_messages(
    client: cloudflare.Cloudflare, account: Account, sampler: ScriptedSampler
) -> None:
    account.whole("n")
    answer: Any = client.ai.run(
        MODEL, account_id=account.id, prompt="hi", lora="n", raw=True, max_tokens=8
    )
    assert (answer["response"], answer["usage"]) == ("Hello", USAGE)
    assert (asked(sampler).prompt, asked(sampler).max_tokens) == ("hi", 8)
    client.ai.run(MODEL, account_id=account.id, messages=HI, extra_body={"lora": "n"})
    assert asked(sampler).adapter is not None


def test_the_sdk_finds_no_fault_with_the_answers(server: Server, account: Account) -> None:
    with cloudflare.Cloudflare(
        api_token=account.caller.secret,
        base_url=f"{server.url}/client/v4",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        client.ai.run(MODEL, account_id=account.id, prompt="hi")
        assert list(client.ai.models.list(account_id=account.id))
        client.ai.models.schema.get(account_id=account.id, model=MODEL)
        client.ai.tasks.list(account_id=account.id)
        client.ai.authors.list(account_id=account.id)


def test_the_sdk_streams(client: cloudflare.Cloudflare, account: Account) -> None:
    with client.ai.with_streaming_response.run(
        MODEL, account_id=account.id, prompt="hi", stream=True
    ) as answer:
        lines = [line for line in answer.iter_lines() if line]
    assert lines[0] == 'data: {"response":"Hel"}'
    assert lines[-1] == "data: [DONE]"


def test_the_sdk_tells_what_was_wrong(client: cloudflare.Cloudflare, account: Account) -> None:
    with pytest.raises(cloudflare.BadRequestError) as caught:
        client.ai.run(MODEL, account_id=account.id, prompt="hi", lora="none")
    assert caught.value.errors[0].code == 3037
