"""Format and roles: what a job would refuse, and what it would learn otherwise than meant."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from tunesmith.doctor.findings import Finding, Patch, keys_of
from tunesmith.doctor.rows import is_blank, spoken
from tunesmith.domain.conversations import ROLES
from tunesmith.domain.errors import InvalidTrainingData
from tunesmith.domain.rules import Rule

_MEANT = {
    **{"human": "user", "gpt": "assistant", "bot": "assistant", "model": "assistant"},
    **{"ai": "assistant", "chatgpt": "assistant", "chatbot": "assistant"},
}
_LEARNED = ("completion", "output", "text")
# Notes about a row, from which nothing is learned; other extra keys may hold what was to be taught.
_BESIDE_THE_POINT = frozenset(
    {"created_at", "dataset", "id", "idx", "index", "lang", "language", "meta", "metadata"}
    | {"score", "source", "split", "timestamp", "uid", "url", "uuid", "weight"}
)
_ADVICE = {
    Rule.NOT_UTF8: "Save the file as UTF-8.",
    Rule.NOT_JSON: "Each line must be one whole JSON object; look for a comma, quote or bracket.",
    Rule.UNKNOWN_FORMAT: "`tunesmith data convert` reads other formats.",
    Rule.MIXED_FORMATS: "Put each format into a file of its own.",
}


class Keys:
    """Of a row's objects while they are read: JSON readers pass over all but the last of a key."""

    def __init__(self) -> None:
        self._doubled: list[str] = []

    def to_object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) < len(pairs):
            counts = Counter(key for key, _ in pairs)
            self._doubled += [key for key, number in counts.items() if number > 1]
        return row

    def check(self, line: int) -> Iterator[Finding]:
        for key in self._doubled[:1]:
            yield Finding(
                Rule.DOUBLED_KEY,
                f'An object has the key "{key[:64]}" twice, of which the last alone counts. '
                "Keep the one that is meant.",
                line,
            )


def refusal(error: InvalidTrainingData, row: dict[str, Any] | None) -> Finding:
    """The finding that the checks of a job come to, with the change that would mend it."""
    return Finding(
        rule=error.rule,
        message=" ".join(filter(None, (error.message, _ADVICE.get(error.rule)))),
        line=error.line,
        path=error.path,
        patch=None if row is None else _patch(error, row),
    )


def _patch(error: InvalidTrainingData, row: dict[str, Any]) -> Patch | None:
    if error.rule not in (Rule.UNKNOWN_ROLE, Rule.EXTRA_KEY):
        return None
    keys = keys_of(error.path, row)
    if error.rule is Rule.EXTRA_KEY:
        return Patch("remove", keys) if keys[-1] in _BESIDE_THE_POINT else None
    holder: Any = row
    for key in keys[:-1]:
        holder = holder[key]
    said = str(holder.get(keys[-1])).strip().lower()
    meant = _MEANT.get(said, said)
    return Patch("replace", keys, meant) if meant in ROLES else None


def check(row: dict[str, Any], line: int) -> Iterator[Finding]:
    """Of a row that a job would take."""
    messages = row.get("messages")
    if messages is None:
        yield from _empty_texts(row, line)
        return
    roles = [message["role"] for message in messages]
    for index, role in enumerate(roles):
        path = f"$.messages[{index}]"
        if role in ("system", "developer") and set(roles[:index]) - {"system", "developer"}:
            yield Finding(
                Rule.LATE_SYSTEM,
                f"Message {index + 1} has the role {role}, but others come before it; "
                "many chat templates refuse that or move it. Put it first.",
                line,
                path,
            )
        yield from _emptiness(messages[index], line, index)
    if roles[-1] != "assistant":
        yield Finding(
            Rule.NO_LAST_ANSWER,
            f"The conversation ends with a message of the role {roles[-1]}, from which nothing "
            "is learned; end it with an answer, or drop the message.",
            line,
            f"$.messages[{len(roles) - 1}]",
        )


def _emptiness(message: dict[str, Any], line: int, index: int) -> Iterator[Finding]:
    if not is_blank(spoken(message)) or message.get("tool_calls") or message.get("function_call"):
        return
    path = f"$.messages[{index}].content"
    if message["role"] == "assistant" and message.get("weight") != 0:
        yield Finding(
            Rule.EMPTY_ANSWER,
            f"Message {index + 1}, of the assistant, is empty: the model would learn to say "
            "nothing. Fill it in, or give it the weight 0.",
            line,
            path,
        )
    elif message["role"] == "user":
        yield Finding(
            Rule.EMPTY_PROMPT,
            f"Message {index + 1}, of the user, is empty. Fill it in, or drop the row.",
            line,
            path,
        )


def _empty_texts(row: dict[str, Any], line: int) -> Iterator[Finding]:
    """Of a row that is no conversation; a preference's answers are two."""
    for key, value in row.items():
        if isinstance(value, list):
            is_empty = is_blank(spoken(value[0])) and not value[0].get("tool_calls")
        else:
            is_empty = key in _LEARNED and is_blank(value)
        if is_empty:
            yield _says_nothing(Rule.EMPTY_ANSWER, key, line)
    if is_blank(row.get("instruction", "asked")):
        yield _says_nothing(Rule.EMPTY_PROMPT, "instruction", line)


def _says_nothing(rule: Rule, key: str, line: int) -> Finding:
    return Finding(rule, f"`{key}` is empty. Fill it in, or drop the row.", line, f"$.{key}")
