"""Each rule finds its fault, names line and path, and leaves good rows alone."""

import json
from typing import Any

import pytest

from tunesmith.doctor.examination import Examination
from tunesmith.doctor.findings import Finding
from tunesmith.domain.rules import Rule, Severity

QUESTION = {"role": "user", "content": "What is a tune?"}
ANSWER = {"role": "assistant", "content": "A melody."}
WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}


def chat(*messages: dict[str, Any], **beside: Any) -> dict[str, Any]:
    return {"messages": list(messages), **beside}


def calling(arguments: str, name: str = "weather", tool: dict[str, Any] = WEATHER) -> Any:
    call = {"id": "c1", "type": "function", "function": {"name": name, "arguments": arguments}}
    return chat(QUESTION, {"role": "assistant", "tool_calls": [call]}, tools=[tool])


def found(*rows: dict[str, Any] | bytes) -> list[Finding]:
    examination = Examination()
    lines = [row if isinstance(row, bytes) else json.dumps(row).encode() + b"\n" for row in rows]
    return [f for line, raw in enumerate(lines, start=1) for f in examination.check(raw, line)]


def the_one(*rows: dict[str, Any] | bytes) -> Finding:
    (finding,) = found(*rows)
    return finding


def saying(text: str) -> dict[str, Any]:
    return chat(QUESTION, {"role": "assistant", "content": text})


AT_FAULT: list[tuple[Rule, str, dict[str, Any] | bytes]] = [
    (Rule.NOT_UTF8, "$", b'{"text": "\xe9"}\n'),
    (Rule.NOT_JSON, "$", b'{"text": "a",}\n'),
    (Rule.NOT_OBJECT, "$", b"[1]\n"),
    (Rule.HALF_CHARACTER, "$", b'{"text": "\\ud83d"}\n'),
    (Rule.UNKNOWN_FORMAT, "$", {"question": "a", "answer": "b"}),
    (Rule.EXTRA_KEY, "$.thoughts", {"text": "a", "thoughts": "b"}),
    (Rule.EXTRA_KEY, "$.messages[0].thoughts", chat({**QUESTION, "thoughts": "b"}, ANSWER)),
    (Rule.DOUBLED_KEY, "$", b'{"text": "a", "text": "b"}\n'),
    (Rule.NOT_TEXT, "$.completion", {"prompt": "a", "completion": 3}),
    (Rule.BLANK_LINE, "$", b"  \n"),
    (Rule.BYTE_ORDER_MARK, "$", b'\xef\xbb\xbf{"text": "a"}\n'),
    (Rule.BAD_MESSAGE, "$.messages[1]", chat(QUESTION, 3)),  # type: ignore[arg-type]
    (Rule.UNKNOWN_ROLE, "$.messages[0].role", chat({"role": "Human", "content": "a"}, ANSWER)),
    (Rule.UNKNOWN_ROLE, "$.messages[0].role", chat({"role": "critic", "content": "a"}, ANSWER)),
    (Rule.BAD_CONTENT, "$.messages[1]", chat(QUESTION, {"role": "assistant"})),
    (Rule.BAD_WEIGHT, "$.messages[1].weight", chat(QUESTION, {**ANSWER, "weight": 2})),
    (Rule.NOTHING_LEARNED, "$.messages", chat(QUESTION)),
    (Rule.LATE_SYSTEM, "$.messages[1]", chat(QUESTION, {**QUESTION, "role": "system"}, ANSWER)),
    (Rule.NO_LAST_ANSWER, "$.messages[2]", chat(QUESTION, ANSWER, QUESTION)),
    (Rule.EMPTY_ANSWER, "$.messages[1].content", saying(" \n")),
    (Rule.EMPTY_ANSWER, "$.messages[1].content", saying("\u200b\u2800\xad")),
    (Rule.EMPTY_ANSWER, "$.completion", {"prompt": "a", "completion": " "}),
    (Rule.EMPTY_PROMPT, "$.instruction", {"instruction": "", "output": "b"}),
    (Rule.EMPTY_PROMPT, "$.messages[0].content", chat({"role": "user", "content": ""}, ANSWER)),
    (Rule.BAD_TOOL, "$.tools[0]", chat(QUESTION, ANSWER, tools=[{"type": "web"}])),
    (Rule.BAD_CALL, "$.messages[1].tool_calls[0].function.arguments", calling({})),  # type: ignore[arg-type]
    (Rule.UNKNOWN_FUNCTION, "$.messages[1].tool_calls[0].function.name", calling("{}", "wether")),
    (Rule.ARGUMENTS_NOT_JSON, "$.messages[1].tool_calls[0].function.arguments", calling("{")),
    (Rule.ARGUMENTS_SCHEMA, "$.messages[1].tool_calls[0].function.arguments", calling("{}")),
    (
        Rule.ANSWER_WITHOUT_CALL,
        "$.messages[1].tool_call_id",
        chat(QUESTION, {"role": "tool", "tool_call_id": "x", "content": "9"}, ANSWER),
    ),
    (Rule.MOJIBAKE, "$.messages[1].content", saying("Ein cafÃ©, bitte.")),
    (Rule.REPLACEMENT_CHARACTER, "$.messages[1].content", saying("Ein caf\ufffd, bitte.")),
    (Rule.CONTROL_CHARACTER, "$.messages[1].content", saying("bell\x07")),
    (Rule.EMAIL, "$.messages[1].content", saying("Write to ann.lee@corp.co.uk.")),
    (Rule.PHONE, "$.messages[1].content", saying("Call +49 30 901820 today")),
    (Rule.PHONE, "$.messages[1].content", saying("Call (415) 555-0132.")),
    (Rule.CARD, "$.messages[1].content", saying("It is 4111 1111 1111 1111.")),
    (Rule.IBAN, "$.messages[1].content", saying("To DE89 3704 0044 0532 0130 00 please")),
    (Rule.SECRET, "$.messages[1].content", saying("key=AKIA" + "ABCDEFGH23456777")),
    (Rule.CARD, "$.messages[1].content", saying("It is 378282246310005.")),
    (Rule.SECRET, "$.messages[1].content", saying("token ghp_" + "a1B2" * 9)),
    (Rule.SECRET, "$.messages[1].content", saying("hf_" + "aBcDe" * 6 + "aBcD")),
    (Rule.SECRET, "$.messages[1].content", saying("export KEY=sk-proj-" + "aB3_" * 10)),
    (Rule.SECRET, "$.messages[1].content", saying("xoxb-1234567890-abcdef")),
    (Rule.SECRET, "$.messages[1].content", saying("AIza" + "aB3_x" * 7)),
    (Rule.SECRET, "$.messages[1].content", saying("sk_live_" + "aB3d" * 6)),
    (Rule.SECRET, "$.messages[1].content", saying("glpat-" + "aB3d" * 5)),
    (Rule.SECRET, "$.messages[1].content", saying("npm_" + "aB3d" * 9)),
    (
        Rule.SECRET,
        "$.messages[1].content",
        saying("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.SflKxwRJSMe"),
    ),
    (Rule.SECRET, "$.messages[1].content", saying("-----BEGIN RSA PRIVATE KEY-----")),
    (Rule.SECRET, "$.messages[1].content", saying("postgres://joe:hunter22@db.corp.de/x")),
]


@pytest.mark.parametrize(("rule", "path", "row"), AT_FAULT, ids=lambda each: str(each)[:40])
def test_a_fault_is_found_with_its_place(
    rule: Rule, path: str, row: dict[str, Any] | bytes
) -> None:
    finding = the_one(row)

    assert (finding.rule, finding.path, finding.line) == (rule, path, 1)
    assert finding.message.endswith(".")


GOOD: list[dict[str, Any]] = [
    chat({"role": "system", "content": "Be brief."}, QUESTION, ANSWER),
    calling('{"city": "Ulm"}'),
    saying("Größe: 3 €, naïve café, 東京, \u05e9\u05dc\u05d5\u05dd 👍🏽\tand\r\nmore"),
    saying("Order 4111 1111 1111 1112 of 2024-03-01 10:15:00, 1,234,567.89 in all; 10.0.0.1"),
    saying("2,000,000-400,000=$<<2000000-400000=1600000>>1,600,000"),
    saying("Natalia sold 48/2 = <<48/2=24>>24 clips. #### 72"),
    saying("Write to someone@example.com, or see https://corp.de/a?b=1234567890123"),
    saying("password = os.environ['DB_PASSWORD']; api_key: <your-key-2>; token = None"),
    saying("secret = config['key1']; password: ********; The key is 42 and the secret is out"),
    saying("On 05-12-2024 10:30, at 08:15, 0.5 of 0123; 01.02.2024 03.04.2025; 007 12"),
    saying("sk-learn is a library; 12345-678 is a zip code; version 1.2.3-4567"),
]


@pytest.mark.parametrize("row", GOOD, ids=lambda row: str(row)[-40:])
def test_good_rows_have_no_findings(row: dict[str, Any]) -> None:
    assert found(row) == []


def test_no_secret_is_told() -> None:
    finding = the_one(saying("Write to ann.lee@corp.co.uk."))

    assert "ann" not in finding.message


def test_a_row_that_stands_there_twice_names_the_first() -> None:
    finding = found({"text": "a"}, {"text": "b"}, {"text": "a"})[-1]

    assert (finding.rule, finding.line, finding.seen) == (Rule.DUPLICATE, 3, 1)


def test_rows_alike_but_for_case_and_punctuation() -> None:
    finding = the_one(saying("Hello, you."), saying("hello you"))

    assert (finding.rule, finding.line, finding.seen) == (Rule.NEARLY_SAME, 2, 1)


def test_what_counts_in_a_formula_makes_no_rows_alike() -> None:
    rules = [finding.rule for finding in found({"text": "x = 3.5"}, {"text": "x = 35"})]

    assert rules == []


def test_two_answers_to_one_question() -> None:
    finding = the_one(saying("yes"), saying("no"))

    assert (finding.rule, finding.line, finding.seen) == (Rule.CONTRADICTION, 2, 1)


def test_the_same_words_under_other_instructions_are_no_duplicates() -> None:
    one, other = ({"role": "system", "content": text} for text in ("Be brief.", "Be rude."))

    assert found(chat(one, QUESTION, ANSWER), chat(other, QUESTION, ANSWER)) == []


def test_formats_that_are_mixed() -> None:
    finding = the_one({"text": "a"}, saying("b"))

    assert (finding.rule, finding.line) == (Rule.MIXED_FORMATS, 2)


def test_preferences_are_told_by_their_first_row() -> None:
    row = {
        "input": {"messages": [QUESTION]},
        "preferred_output": [ANSWER],
        "non_preferred_output": [{"role": "assistant", "content": "No."}],
    }
    other = {**row, "input": {"messages": [{"role": "user", "content": 3}]}}

    assert the_one(row, other).path == "$.input.messages[0].content"


@pytest.mark.parametrize("asked", ["what  is a tune ?", "What is\na tune"])
def test_two_answers_to_a_question_that_is_written_otherwise(asked: str) -> None:
    other = chat({"role": "user", "content": asked}, {"role": "assistant", "content": "A fish."})
    finding = the_one(saying("A melody."), other)

    assert (finding.rule, finding.line, finding.seen) == (Rule.CONTRADICTION, 2, 1)


def test_a_question_with_other_tools_may_have_another_answer() -> None:
    assert found(saying("No."), {**saying("Yes."), "tools": [WEATHER]}) == []


def test_arguments_that_are_json_but_no_object() -> None:
    free = {"type": "function", "function": {"name": "weather"}}

    assert the_one(calling('"Ulm"', tool=free)).rule is Rule.ARGUMENTS_SCHEMA


def test_an_empty_preference_is_found() -> None:
    row = {
        "input": {"messages": [QUESTION]},
        "preferred_output": [{"role": "assistant", "content": "\u200b"}],
        "non_preferred_output": [ANSWER],
    }
    finding = the_one(row)

    assert (finding.rule, finding.path) == (Rule.EMPTY_ANSWER, "$.preferred_output")


def test_a_schema_that_is_none() -> None:
    broken = {"type": "function", "function": {"name": "weather", "parameters": {"type": "obj"}}}
    finding = the_one(calling("{}", tool=broken))

    assert finding.rule is Rule.BAD_TOOL_SCHEMA
    assert finding.path == "$.tools[0].function.parameters"


def test_a_schema_that_points_elsewhere_is_not_followed() -> None:
    parameters = {"$ref": "http://127.0.0.1:9/schema.json"}
    away = {"type": "function", "function": {"name": "weather", "parameters": parameters}}

    assert the_one(calling("{}", tool=away)).rule is Rule.BAD_TOOL_SCHEMA


def test_a_file_too_short_to_train_on() -> None:
    examination = Examination()
    assert list(examination.check(b'{"text": "a"}', 1)) == []
    (finding,) = examination.finish()

    assert (finding.rule, finding.severity) == (Rule.TOO_FEW_EXAMPLES, Severity.ERROR)
    assert finding.line is None
