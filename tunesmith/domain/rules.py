"""What can be wrong with training data: one stable id for each kind of fault."""

from enum import StrEnum


class Severity(StrEnum):
    """An error stops a job; a warning costs quality or privacy; a notice costs nothing."""

    ERROR = "error"
    WARNING = "warning"
    NOTICE = "notice"


class Rule(StrEnum):
    """`family.fault`. Ids are never renamed: people filter by them."""

    NOT_UTF8 = "format.not-utf8"
    NOT_JSON = "format.not-json"
    NOT_OBJECT = "format.not-object"
    LINE_TOO_LONG = "format.line-too-long"
    HALF_CHARACTER = "format.half-character"
    UNKNOWN_FORMAT = "format.unknown"
    MIXED_FORMATS = "format.mixed"
    EXTRA_KEY = "format.extra-key"
    NOT_TEXT = "format.not-text"
    TOO_FEW_EXAMPLES = "format.too-few-examples"
    BLANK_LINE = "format.blank-line"
    DOUBLED_KEY = "format.duplicate-key"

    BAD_MESSAGE = "roles.bad-message"
    UNKNOWN_ROLE = "roles.unknown"
    BAD_CONTENT = "roles.bad-content"
    BAD_WEIGHT = "roles.bad-weight"
    NOTHING_LEARNED = "roles.nothing-learned"
    LATE_SYSTEM = "roles.late-system"
    NO_LAST_ANSWER = "roles.no-last-answer"

    EMPTY_ANSWER = "empty.answer"
    EMPTY_PROMPT = "empty.prompt"
    DUPLICATE = "duplicate.exact"
    NEARLY_SAME = "duplicate.normalised"
    CONTRADICTION = "duplicate.contradiction"

    BAD_TOOL = "tools.bad-definition"
    BAD_TOOL_SCHEMA = "tools.bad-schema"
    BAD_CALL = "tools.bad-call"
    UNKNOWN_FUNCTION = "tools.unknown-function"
    ARGUMENTS_NOT_JSON = "tools.arguments-not-json"
    ARGUMENTS_SCHEMA = "tools.arguments-schema"
    ANSWER_WITHOUT_CALL = "tools.answer-without-call"

    BYTE_ORDER_MARK = "encoding.byte-order-mark"
    MOJIBAKE = "encoding.mojibake"
    REPLACEMENT_CHARACTER = "encoding.replacement-character"
    CONTROL_CHARACTER = "encoding.control-character"

    LEAK_EXACT = "leak.exact"
    LEAK_NORMALISED = "leak.normalised"
    LEAK_NEAR = "leak.near-duplicate"

    EMAIL = "privacy.email"
    PHONE = "privacy.phone"
    CARD = "privacy.card"
    IBAN = "privacy.iban"
    SECRET = "privacy.secret"

    # What a base model's tokenizer and chat template show.
    NOT_LEARNABLE = "tokens.not-learnable"
    TRUNCATED = "tokens.truncated"


_NOTICES = frozenset({Rule.BLANK_LINE, Rule.BYTE_ORDER_MARK, Rule.NO_LAST_ANSWER})
_ERRORS_BESIDE_FORMAT = frozenset(
    {
        Rule.BAD_MESSAGE,
        Rule.UNKNOWN_ROLE,
        Rule.BAD_CONTENT,
        Rule.BAD_WEIGHT,
        Rule.NOTHING_LEARNED,
        Rule.BAD_TOOL,
        Rule.BAD_CALL,
        Rule.NOT_LEARNABLE,
    }
)


def severity(rule: Rule) -> Severity:
    if rule in _NOTICES:
        return Severity.NOTICE
    if rule in _ERRORS_BESIDE_FORMAT or (rule.startswith("format.") and rule != Rule.DOUBLED_KEY):
        return Severity.ERROR
    return Severity.WARNING
