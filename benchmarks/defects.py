"""Shapes of defects: for each of the doctor's rules, rows as people really spoil them."""

import json
import random
import string
from collections.abc import Callable
from typing import Any

from tunesmith.domain.rules import Rule

Row = dict[str, Any]
# A line, from a row to be spoilt, another clean one that stays, and chance.
Spoil = Callable[[Row, Row, random.Random], bytes | str | Row]
Words = Callable[[random.Random], str]

TOOL = {
    "type": "function",
    "function": {
        "name": "find_order",
        "description": "Looks an order up.",
        "parameters": {
            "type": "object",
            "properties": {"number": {"type": "integer"}, "country": {"type": "string"}},
            "required": ["number"],
            "additionalProperties": False,
        },
    },
}
BRIEF = {"role": "developer", "content": "Be brief."}
GOOD_CALL = '{"number": 7}'


def raw(row: Row) -> bytes:
    return json.dumps(row, ensure_ascii=False).encode()


def said(place: int, change: Callable[[str, random.Random], Any]) -> Spoil:
    """With the content of one message changed."""

    def spoil(row: Row, other: Row, rng: random.Random) -> Row:
        messages = [dict(message) for message in row["messages"]]
        messages[place]["content"] = change(messages[place]["content"], rng)
        return {"messages": messages}

    return spoil


def message(place: int, **changes: Any) -> Spoil:
    def spoil(row: Row, other: Row, rng: random.Random) -> Row:
        messages = [dict(message) for message in row["messages"]]
        messages[place] |= changes
        return {"messages": messages}

    return spoil


def _again(spoil: Spoil) -> Spoil:
    """The other row, which stays, changed."""
    return lambda row, other, rng: spoil(other, other, rng)


def _with(words: str | Words) -> Spoil:
    """With words in the middle of the question."""

    def change(content: str, rng: random.Random) -> str:
        parts = content.split(" ")
        parts.insert(rng.randrange(len(parts)), words if isinstance(words, str) else words(rng))
        return " ".join(parts)

    return said(1, change)


def _bytes(change: Callable[[bytes, random.Random], bytes]) -> Spoil:
    return lambda row, other, rng: change(raw(row), rng)


def _calls(function: str, arguments: Any, **changes: Any) -> Spoil:
    """A row with a tool, which is called."""

    def spoil(row: Row, other: Row, rng: random.Random) -> Row:
        call = {"id": "c1", "type": "function"}
        call["function"] = {"name": function, "arguments": arguments}  # type: ignore[assignment]
        told: Row = {
            "messages": [
                {"role": "user", "content": row["messages"][1]["content"]},
                {"role": "assistant", "tool_calls": [call]},
                {"role": "tool", "tool_call_id": "c1", "content": "It is on its way."},
                {"role": "assistant", "content": row["messages"][2]["content"]},
            ],
            "tools": [json.loads(json.dumps(TOOL))],
        }
        for path, value in changes.items():
            _put(told, path.split("__"), value)
        return told

    return spoil


def _put(value: Any, path: list[str], new: Any) -> None:
    *way, last = (int(key) if key.isdigit() else key for key in path)
    for key in way:
        value = value[key]
    value[last] = new


def _mistaken(codec: str, text: str) -> str:
    return text.encode().decode(codec)


def _some(alphabet: str, number: int) -> Words:
    return lambda rng: "".join(rng.choices(alphabet, k=number))


def _key(pattern: str, **parts: tuple[str, int]) -> Words:
    """A pattern whose parts are letters by chance; nothing that looks like a key stands here."""

    def make(rng: random.Random) -> str:
        return pattern.format(**{name: _some(*part)(rng) for name, part in parts.items()})

    return make


def _digit_pattern(pattern: str) -> Words:
    """With a digit by chance for each #."""
    return lambda rng: "".join(rng.choice("23456789") if c == "#" else c for c in pattern)


_ALNUM, _HEX = string.ascii_letters + string.digits, "0123456789abcdef"
_UMLAUTS = "Señor Müller in the café: déjà vu, naïve façade."


def _one_word_else(text: str, rng: random.Random) -> str:
    words = text.split(" ")
    words[rng.randrange(len(words))] = rng.choice(("however", "perhaps", "nearly", "always"))
    return " ".join(words)


def _spread(text: str, rng: random.Random) -> str:
    return text.replace(" ", "  ").replace(". ", ".\n")


def _contradicting(change: Callable[[str, random.Random], str]) -> Spoil:
    """Asks what another row asks, and has the answer of a third."""

    def spoil(row: Row, other: Row, rng: random.Random) -> Row:
        asked: Any = said(1, change)(other, other, rng)
        return {"messages": [*asked["messages"][:2], row["messages"][2]]}

    return spoil


DEFECTS: dict[Rule, dict[str, Spoil]] = {
    Rule.NOT_UTF8: {
        "a byte that is none": _bytes(lambda line, rng: line.replace(b"a", b"\xff", 1)),
        "Latin-1": _bytes(lambda line, rng: line.replace(b"e", "é".encode("latin-1"), 1)),
        "UTF-16": _bytes(lambda line, rng: line.decode().encode("utf-16")),
        "cut in a character": _bytes(lambda line, rng: line.replace(b"o", "é".encode()[:1], 1)),
    },
    Rule.NOT_JSON: {
        "cut off": _bytes(lambda line, rng: line[: -rng.randrange(1, 20)]),
        "a comma at the end": _bytes(lambda line, rng: line[:-1] + b",}"),
        "as Python prints it": lambda row, _, rng: str(row),
        "two rows in a line": _bytes(lambda line, rng: line + line),
        "NaN": _bytes(lambda line, rng: line[:-1] + b', "score": NaN}'),
        "a comment": _bytes(lambda line, rng: b"// " + line),
    },
    Rule.NOT_OBJECT: {
        "a list": lambda row, _, rng: json.dumps([row["messages"][1]["content"]]),
        "a text": lambda row, _, rng: json.dumps(json.dumps(row)),
        "null": lambda row, _, rng: "null",
    },
    Rule.HALF_CHARACTER: {
        "its first half": _bytes(lambda line, rng: line.replace(b"e", b"\\ud83d", 1)),
        "its second half": _bytes(lambda line, rng: line.replace(b"e", b"\\ude00", 1)),
        "halves that are swapped": _bytes(
            lambda line, rng: line.replace(b"e", b"\\ude00\\ud83d", 1)
        ),
    },
    Rule.UNKNOWN_FORMAT: {
        "keys of its own": lambda row, _, rng: {"q": row["messages"][1]["content"], "a": "1"},
        "ShareGPT": lambda row, _, rng: {
            "conversations": [{"from": "human", "value": row["messages"][1]["content"]}]
        },
        "a prompt alone": lambda row, _, rng: {"prompt": row["messages"][1]["content"]},
        "empty": lambda row, _, rng: {},
    },
    Rule.MIXED_FORMATS: {
        "prompt and completion": lambda row, _, rng: {
            "prompt": row["messages"][1]["content"],
            "completion": row["messages"][2]["content"],
        },
        "plain text": lambda row, _, rng: {"text": row["messages"][1]["content"]},
        "Alpaca": lambda row, _, rng: {
            "instruction": row["messages"][1]["content"],
            "output": row["messages"][2]["content"],
        },
    },
    Rule.EXTRA_KEY: {
        "beside the messages": lambda row, _, rng: {**row, "id": rng.randrange(10**6)},
        "in a message": message(2, timestamp="2026-01-01"),
        "a weight of the user's": message(1, weight=1),
    },
    Rule.DOUBLED_KEY: {
        "messages": _bytes(lambda line, rng: line[:-1] + b", " + line[1:]),
        "content": _bytes(
            lambda line, rng: line.replace(b'"content":', b'"content": "No.", "content":', 1)
        ),
        "role": _bytes(lambda line, rng: line.replace(b'"role":', b'"role": "user", "role":', 1)),
    },
    Rule.BLANK_LINE: {
        "spaces": lambda row, _, rng: b"  ",
        "nothing": lambda row, _, rng: b"",
        "a carriage return": lambda row, _, rng: b"\r",
    },
    Rule.BAD_MESSAGE: {
        "a text": lambda row, _, rng: {"messages": [row["messages"][1]["content"]]},
        "none": lambda row, _, rng: {"messages": []},
        "an object": lambda row, _, rng: {"messages": row["messages"][1]},
        "a text of JSON": lambda row, _, rng: {"messages": json.dumps(row["messages"])},
        "a name that is a number": message(1, name=7),
    },
    Rule.UNKNOWN_ROLE: {
        "of a play": message(1, role="narrator"),
        "in another case": message(1, role="User"),
        "in capitals": message(2, role="ASSISTANT"),
        "with a space": message(0, role="system "),
        "of another vendor": message(2, role="model"),
        "none": message(1, role=None),
    },
    Rule.BAD_CONTENT: {
        "a number": message(1, content=7),
        "null": message(2, content=None),
        "an object": message(1, content={"text": "Hi."}),
        "an image": message(1, content=[{"type": "image_url", "image_url": {"url": "x"}}]),
    },
    Rule.BAD_WEIGHT: {
        "a half": message(2, weight=0.5),
        "two": message(2, weight=2),
        "a text": message(2, weight="1"),
        "true": message(2, weight=True),
    },
    Rule.NOTHING_LEARNED: {
        "no answer": lambda row, _, rng: {"messages": row["messages"][:2]},
        "of no weight": message(2, weight=0),
    },
    Rule.LATE_SYSTEM: {
        "in the middle": lambda row, _, rng: {
            "messages": [*row["messages"][1:], row["messages"][0], *row["messages"][1:]]
        },
        "second": lambda row, _, rng: {
            "messages": [row["messages"][1], row["messages"][0], row["messages"][2]]
        },
        "a developer's": lambda row, _, rng: {
            "messages": [row["messages"][1], BRIEF, *row["messages"][2:]]
        },
    },
    Rule.NO_LAST_ANSWER: {
        "thanks": lambda row, _, rng: {
            "messages": [*row["messages"], {"role": "user", "content": "Thank you."}]
        },
        "a system message": lambda row, _, rng: {
            "messages": [*row["messages"], row["messages"][0]]
        },
    },
    Rule.EMPTY_ANSWER: {
        "a space": said(2, lambda text, rng: " "),
        "nothing": said(2, lambda text, rng: ""),
        "zero-width spaces": said(2, lambda text, rng: "\u200b\u200b"),
        "a soft hyphen": said(2, lambda text, rng: "\xad"),
        "no-break spaces": said(2, lambda text, rng: "\xa0\u202f"),
        "a blank of braille": said(2, lambda text, rng: "\u2800"),
        "Hangul filler": said(2, lambda text, rng: "\u3164"),
    },
    Rule.EMPTY_PROMPT: {
        "a line feed": said(1, lambda text, rng: "\n"),
        "nothing": said(1, lambda text, rng: ""),
        "a zero-width space": said(1, lambda text, rng: "\u200b"),
        "a word joiner": said(1, lambda text, rng: "\u2060"),
    },
    Rule.DUPLICATE: {
        "as it is": lambda _, other, rng: other,
        "keys in another order": lambda _, other, rng: {
            "messages": [dict(reversed(message.items())) for message in other["messages"]]
        },
        "escapes": lambda _, other, rng: json.dumps(other, indent=None, separators=(",", ":")),
    },
    Rule.NEARLY_SAME: {
        "capitals": _again(said(1, lambda text, rng: text.upper() + "!")),
        "spaces": _again(said(1, _spread)),
        "full-width letters": _again(
            said(1, lambda text, rng: text.replace("a", "\uff41").replace("e", "\uff45"))
        ),
        "without marks": _again(said(1, lambda text, rng: text.replace(". ", " ").strip("?."))),
        "the answer with a full stop": _again(said(2, lambda text, rng: text + ".")),
    },
    Rule.CONTRADICTION: {
        "the same question": _contradicting(lambda text, rng: text),
        "with other spaces": _contradicting(_spread),
        "in another case": _contradicting(lambda text, rng: text.lower()),
        "without its mark": _contradicting(lambda text, rng: text.rstrip("?.")),
        "with a word more": _contradicting(lambda text, rng: "Please: " + text),
    },
    Rule.BAD_TOOL: {
        "a name": _calls("find_order", GOOD_CALL, tools__0__function="find_order"),
        "of another type": _calls("find_order", GOOD_CALL, tools__0__type="web_search"),
        "no name": _calls("find_order", GOOD_CALL, tools__0__function={"parameters": {}}),
        "a name with a space": _calls("find_order", GOOD_CALL, tools__0__function__name="a b"),
        "no list": _calls("find_order", GOOD_CALL, tools={"find_order": {}}),
    },
    Rule.BAD_TOOL_SCHEMA: {
        "a type that is none": _calls(
            "find_order", GOOD_CALL, tools__0__function__parameters={"type": "objekt"}
        ),
        "properties in a list": _calls(
            "find_order",
            GOOD_CALL,
            tools__0__function__parameters={"type": "object", "properties": ["number"]},
        ),
        "required as true": _calls(
            "find_order",
            GOOD_CALL,
            tools__0__function__parameters={"type": "object", "required": True},
        ),
        "a reference to nowhere": _calls(
            "find_order", GOOD_CALL, tools__0__function__parameters={"$ref": "#/$defs/none"}
        ),
    },
    Rule.BAD_CALL: {
        "a name": _calls("find_order", GOOD_CALL, messages__1__tool_calls__0__function="go"),
        "arguments as an object": _calls("find_order", {"number": 7}),
        "no id": _calls("find_order", GOOD_CALL, messages__1__tool_calls__0__id=None),
        "no list": _calls("find_order", GOOD_CALL, messages__1__tool_calls={"id": "c1"}),
        "an answer to no id": _calls("find_order", GOOD_CALL, messages__2__tool_call_id=None),
    },
    Rule.UNKNOWN_FUNCTION: {
        "another": _calls("cancel_order", GOOD_CALL),
        "in another case": _calls("Find_Order", GOOD_CALL),
        "with a dash": _calls("find-order", GOOD_CALL),
        "no tools at all": _calls("find_order", GOOD_CALL, tools=[]),
    },
    Rule.ARGUMENTS_NOT_JSON: {
        "a query": _calls("find_order", "number=7"),
        "as Python prints it": _calls("find_order", "{'number': 7}"),
        "a comma at the end": _calls("find_order", '{"number": 7,}'),
        "cut off": _calls("find_order", '{"number": 7'),
        "nothing": _calls("find_order", ""),
    },
    Rule.ARGUMENTS_SCHEMA: {
        "a word for a number": _calls("find_order", '{"number": "seven"}'),
        "digits in quotes": _calls("find_order", '{"number": "7"}'),
        "required is missing": _calls("find_order", '{"country": "FR"}'),
        "one that there is not": _calls("find_order", '{"number": 7, "city": "Ulm"}'),
        "null": _calls("find_order", '{"number": null}'),
        "a fraction": _calls("find_order", '{"number": 7.5}'),
        "a list": _calls("find_order", "[7]"),
        "JSON in JSON": _calls("find_order", '"{\\"number\\": 7}"'),
    },
    Rule.ANSWER_WITHOUT_CALL: {
        "another id": _calls("find_order", GOOD_CALL, messages__2__tool_call_id="c9"),
        "an id in another case": _calls("find_order", GOOD_CALL, messages__2__tool_call_id="C1"),
        "a call of nobody's": _calls(
            "find_order", GOOD_CALL, messages__1={"role": "assistant", "content": "I look."}
        ),
    },
    Rule.MOJIBAKE: {
        "Windows-1252": _with(_mistaken("cp1252", _UMLAUTS)),
        "Latin-1": _with(_mistaken("latin-1", _UMLAUTS)),
        "Mac Roman": _with(_mistaken("mac_roman", _UMLAUTS)),
        "DOS (437)": _with(_mistaken("cp437", _UMLAUTS)),
        "Windows-1250": _with(_mistaken("cp1250", "Žluté pole, señor Müller.")),
        "Windows-1251": _with(_mistaken("cp1251", "Привет, как дела?")),
        "twice": _with(_mistaken("cp1252", _mistaken("latin-1", "Müller's café"))),
        "quotation marks": _with(_mistaken("cp1252", "It\u2019s fine \u2013 he said\u2026")),
    },
    Rule.REPLACEMENT_CHARACTER: {
        "in a word": _with("The caf\ufffd was closed."),
        "for a word": _with("The \ufffd\ufffd\ufffd was closed."),
        "its own bytes decoded wrongly": _with("The caf" + _mistaken("cp1252", "\ufffd") + " was."),
    },
    Rule.CONTROL_CHARACTER: {
        "a terminal's colours": _with("Bold\x1b[1m and\x07 loud."),
        "NUL": _with("an\x00end"),
        "a form feed": _with("One page.\x0cThe next."),
        "of C1": _with("one\x9cother"),
        "a byte order mark": _with("\ufeffHe said so."),
        "delete": _with("wrong\x7f\x7fright"),
    },
    Rule.EMAIL: {
        "plain": _with(_digit_pattern("Write to jane.doe##@mail-provider.net about it.")),
        "capitals": _with(_digit_pattern("JANE.DOE##@MAIL-PROVIDER.CO.UK")),
        "in brackets": _with(_digit_pattern("Jane Doe <jdoe+news##@corp.io>,")),
        "a link": _with(_digit_pattern("[mail](mailto:j_d##@sub.corp.de)")),
        "with at in words": _with(_digit_pattern("jane## [at] corp [dot] de")),
    },
    Rule.PHONE: {
        "British, with its country": _with(_digit_pattern("Call +44 20 7946 09## after six.")),
        "German, with its country": _with(_digit_pattern("Tel. +49 (0)30 9018##, ask for Jo.")),
        "French, in one piece": _with(_digit_pattern("at +336123456##.")),
        "North American": _with(_digit_pattern("Call (415) 555-01##.")),
        "North American, dots": _with(_digit_pattern("at 415.555.01## today")),
        "North American, with a 1": _with(_digit_pattern("on 1-800-555-01## today")),
        "British": _with(_digit_pattern("Ring 020 7946 09## now.")),
        "British, mobile": _with(_digit_pattern("Ring 07700 9001## now.")),
        "German": _with(_digit_pattern("Telefon 030/9018##55.")),
        "German, mobile": _with(_digit_pattern("on 0170 12345## today")),
        "French": _with(_digit_pattern("at 01 42 68 53 ## now")),
        "Australian": _with(_digit_pattern("(02) 9374 40## is it.")),
        "abroad by 00": _with(_digit_pattern("Dial 0049 30 9018## first.")),
        "digits alone, called a number": _with(_digit_pattern("Phone: 41555501## or so.")),
        "digits alone": _with(_digit_pattern("Reach her on 41555501## or so.")),
        "Indian": _with(_digit_pattern("It is 98765 432## again.")),
    },
    Rule.CARD: {
        "with spaces": _with("The card is 4111 1111 1111 1111."),
        "with dashes": _with("The card is 5555-5555-5555-4444."),
        "in one piece": _with("pay by 4012888888881881 please"),
        "American Express": _with("It is 3782 822463 10005."),
        "Mastercard of series 2": _with("It is 2223 0031 2200 3222."),
        "Diners": _with("It is 3056 930902 5904."),
        "with dots": _with("It is 4111.1111.1111.1111."),
    },
    Rule.IBAN: {
        "British": _with("Pay to GB82 WEST 1234 5698 7654 32."),
        "German, in one piece": _with("Pay to DE89370400440532013000 please"),
        "small letters": _with("pay to fr14 2004 1010 0505 0001 3m02 606."),
        "Norwegian": _with("IBAN: NO9386011117947"),
        "with dashes": _with("NL91-ABNA-0417-1643-00 it is"),
    },
    Rule.SECRET: {
        "AWS": _with(_key("key AKIA{a}.", a=("ABCDEFGHJKMNPQ234567", 16))),
        "GitHub": _with(_key("ghp_{a}", a=(_ALNUM, 36))),
        "OpenAI": _with(_key("OPENAI_API_KEY=sk-proj-{a}", a=(_ALNUM, 48))),
        "Anthropic": _with(_key("sk-ant-api03-{a}", a=(_ALNUM, 90))),
        "Stripe": _with(_key("sk_live_{a}", a=(_ALNUM, 24))),
        "Stripe, for tests": _with(_key("sk_test_{a}", a=(_ALNUM, 24))),
        "SendGrid": _with(_key("SG.{a}.{b}", a=(_ALNUM, 22), b=(_ALNUM, 43))),
        "Slack": _with(_key("xoxb-{a}-{b}", a=("123456789", 12), b=(_ALNUM, 24))),
        "Slack's hook": _with(
            _key(
                "https://hooks.slack.com/services/T{a}/B{b}/{c}",
                **{"a": (_HEX, 9), "b": (_HEX, 9), "c": (_ALNUM, 24)},
            )
        ),
        "Google": _with(_key("AIza{a}", a=(_ALNUM, 35))),
        "Telegram": _with(_key("{a}:AA{b}", a=("123456789", 9), b=(_ALNUM, 33))),
        "Twilio": _with(_key("SK{a}", a=(_HEX, 32))),
        "PyPI": _with(_key("pypi-AgEI{a}", a=(_ALNUM, 80))),
        "a web token": _with(
            _key("eyJ{a}.eyJ{b}.{c}", a=(_ALNUM, 20), b=(_ALNUM, 40), c=(_ALNUM, 43))
        ),
        "a private key": _with(
            lambda rng: "-----BEGIN OPENSSH PRIVATE " + "KEY-----\n" + _some(_ALNUM, 64)(rng)
        ),
        "a PGP key": _with(lambda rng: "-----BEGIN PGP PRIVATE " + "KEY BLOCK-----"),
        "in an address": _with(_key("postgres://app:{a}@db.corp.de/x", a=(_ALNUM, 12))),
        "a password in code": _with(_key('password = "{a}"', a=(_ALNUM, 12))),
        "a password in YAML": _with(_key("db_password: {a}7x", a=(_ALNUM, 10))),
        "a password in JSON": _with(_key('{{"passwd": "{a}"}}', a=(_ALNUM, 12))),
        "a key in the environment": _with(_key("export API_KEY={a}7x", a=(_ALNUM, 30))),
        "AWS's other half": _with(_key("aws_secret_access_key = {a}7x", a=(_ALNUM, 38))),
        "a bearer": _with(_key("Authorization: Bearer {a}", a=(_ALNUM, 40))),
        "a password in prose": _with(_key("My password is {a}.", a=(_ALNUM, 12))),
    },
}
# Of rows that the validation file holds.
LEAKS: dict[Rule, dict[str, Spoil]] = {
    Rule.LEAK_EXACT: {
        "as it is": lambda held, _, rng: held,
        "keys in another order": lambda held, _, rng: {
            "messages": [dict(reversed(message.items())) for message in held["messages"]]
        },
    },
    Rule.LEAK_NORMALISED: {
        "small letters": said(1, lambda text, rng: text.lower() + " "),
        "spaces": said(1, _spread),
        "without its mark": said(1, lambda text, rng: text.rstrip("?.")),
        "other instructions": lambda held, _, rng: message(0, content="Think first.")(
            held, held, rng
        ),
    },
    Rule.LEAK_NEAR: {
        "a word more": said(1, lambda text, rng: text + " Please."),
        "a word else": said(1, _one_word_else),
        "a greeting before it": said(1, lambda text, rng: "Hello, I have a question. " + text),
        "two words else": said(1, lambda text, rng: _one_word_else(_one_word_else(text, rng), rng)),
        "the last fifth of the answer cut": said(
            2, lambda text, rng: text[: round(len(text) * 0.8)]
        ),
        "the answer alone told otherwise": said(
            2, lambda text, rng: text.replace("\n", " So ") + " That is all."
        ),
    },
}
