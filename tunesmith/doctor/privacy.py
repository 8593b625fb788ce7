"""Personal data and secrets. What was found is named, never quoted."""

import re
from collections.abc import Iterator
from typing import Any

from tunesmith.doctor.findings import Finding, json_path
from tunesmith.doctor.rows import texts
from tunesmith.domain.rules import Rule

_EMAIL = re.compile(r"\b[\w.+-]{1,64}@((?:[\w-]{1,63}\.)+[a-zA-Z]{2,24})\b")
_RESERVED = re.compile(r"(^|\.)(example\.(com|org|net)|example|test|invalid|localhost)$", re.I)
_PHONE = re.compile(
    r"(?<![\w+.,/-])(?:\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]\d{4}|(?:1([ .-]))?\d{3}([ .-])\d{3}\2\d{4}"
    r"|(?!\d\d[ .-]\d\d[ .-](?:19|20)\d\d)"  # no date
    r"(?:0\d{1,4}|\(0\d{1,4}\))[ /-]\d{2,8}(?:[ -]\d{2,6}){0,4})"
    r"(?![\w-]|[.,]\d)"
)
# A number that is called one.
_CALLED_PHONE = re.compile(
    r"\b(?:phone|tel|telephone|mobile|cell|fax|whatsapp|call|text|dial)(?: ?(?:no|number)\b)?"
    r"[.:]* (?:(?:me|us|him|her|them|is|at|on) ){0,3}((?:\d[ .-]?){8,12}\d)(?![\w-]|[.,]\d)",
    re.I,
)
_CARD = re.compile(
    r"(?<![\d.,-])(?:[2-6]\d{3}([ .-]?)\d{4}\1\d{4}\1\d{1,7}"
    r"|3[47]\d\d([ -]?)\d{6}\2\d{5}|3[0689]\d\d([ -]?)\d{6}\3\d{4})(?![\d-]|[.,]\d)"
)
_IBAN = re.compile(r"\b[A-Z]{2}\d{2}(?:[ -]?[A-Z\d]{4}){2,7}(?:[ -]?[A-Z\d]{1,3})?\b", re.I)
_SECRETS = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY(?: BLOCK)?-----",
    "an AWS access key": r"\b(?:AKIA|ASIA)[A-Z2-7]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{82})\b",
    "a Hugging Face token": r"\bhf_[A-Za-z]{34}\b",
    "an Anthropic key": r"\bsk-ant-[A-Za-z0-9_-]{32,}",
    "an OpenAI key": r"\bsk-(?:proj-|svcacct-)?[A-Za-z0-9_-]{32,}",
    "a Slack token": r"\bxox[abeoprs]-[A-Za-z0-9-]{10,}|\bxapp-\d-[A-Za-z0-9-]{10,}"
    r"|\bhooks\.slack\.com/services/T\w+/B\w+/\w{16,}",
    "a Google key": r"\bAIza[A-Za-z0-9_-]{35}\b",
    "a Stripe key": r"\b(?:[rs]k_(?:live|test)_|whsec_)[A-Za-z0-9]{20,}\b",
    "a SendGrid key": r"\bSG\.[A-Za-z0-9_-]{16,32}\.[A-Za-z0-9_-]{32,64}",
    "a DigitalOcean token": r"\bdo[opr]_v1_[a-f0-9]{64}\b",
    "a Twilio key": r"\bSK[a-f0-9]{32}\b",
    "a PyPI token": r"\bpypi-[A-Za-z0-9_-]{50,}",
    "a Shopify token": r"\bshp(?:at|ca|pa|ss)_[a-fA-F0-9]{32}\b",
    "a Telegram bot's token": r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b",
    "a Google client's secret": r"\bGOCSPX-[A-Za-z0-9_-]{28}\b",
    "an Azure key": r"\bAccountKey=[A-Za-z0-9+/]{86}==",
    "a bearer token": r"\bBearer [A-Za-z0-9_.~+/-]{20,}=*",
    "a GitLab token": r"\bglpat-[A-Za-z0-9_-]{20,}",
    "an npm token": r"\bnpm_[A-Za-z0-9]{36}\b",
    "a signed web token": r"\beyJ[A-Za-z0-9_-]{10,}\.eyJ[A-Za-z0-9_-]{10,}\.[A-Za-z0-9_-]{10,}",
    "a password in an address": r"\b[a-z][a-z0-9+]{1,15}://[^\s/:@]{1,64}:[^\s/:@]{3,64}@[\w.-]+",
}
_ANY_SECRET = re.compile("|".join(f"({pattern})" for pattern in _SECRETS.values()))
# Of these, each secret has one; looking for them is much faster than for the secrets.
_MARKS = (
    *("-----BEGIN", "AKIA", "ASIA", "ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "hf_"),
    *("sk-", "xox", "xapp-", "hooks.slack", "AIza", "k_live_", "k_test_", "whsec_", "glpat-"),
    *("npm_", "eyJ", "://", "SG.", "_v1_", "pypi-", "shp", ":AA", "GOCSPX-", "AccountKey="),
    *("Bearer ", "SK"),
)
_ASSIGNED = re.compile(
    r"(?:password|passwd|pwd|passphrase|secret|api_?key|access_?key|auth_?token|access_?token)"
    r"[\"']?(?:\s*(?::|=>?|:=)|\s+is:?\s)\s*(?:(?P<quote>[\"'`])(?P<quoted>[^\"'`\s]{6,128})(?P=quote)"
    r"|(?P<bare>[^\s\"'`,;)]{8,128}))"
)
_ASSIGNING = ("passw", "pwd", "passphrase", "secret", "key", "token")
# What stands for a value: names, calls, templates, and what people write in its place.
_STAND_IN = re.compile(
    r"[<\[{(%$]|^(?:your|my|some|the|change|example|placeholder|dummy|fake|redacted|xx|\*\*|\.\."
    r"|os\.|env|process\.|config|settings|self\.|none$|null$|undefined$|true$|false$)"
)
_LONG_NUMBER = re.compile(r"\d[ .)-]{0,2}\d[ .)-]{0,2}\d[ .)-]{0,2}\d[ .)-]{0,2}\d[ .)-]{0,2}\d")
_ADVICE = "Take it out, or put something invented in its place: a model can say what it learned."


def check(row: dict[str, Any], line: int) -> Iterator[Finding]:
    for keys, text in texts(row):
        for rule, what in _seen(text):
            yield Finding(rule, f"The text has {what}. {_ADVICE}", line, json_path(keys))


def _seen(text: str) -> Iterator[tuple[Rule, str]]:
    has_mark = any(mark in text for mark in _MARKS)
    if has_mark and (secret := _ANY_SECRET.search(text)):
        yield Rule.SECRET, tuple(_SECRETS)[(secret.lastindex or 1) - 1]
    elif _has_password(text):
        yield Rule.SECRET, "a password or key that is written out"
    elif "@" in text and any(not _RESERVED.search(m[1]) for m in _EMAIL.finditer(text)):
        yield Rule.EMAIL, "an e-mail address"
    if _LONG_NUMBER.search(text) is None:
        return
    if any(is_card(_digits(match[0])) for match in _CARD.finditer(text)):
        yield Rule.CARD, "the number of a payment card"
    elif any(is_iban(re.sub("[ -]", "", match[0])) for match in _IBAN.finditer(text)):
        yield Rule.IBAN, "the number of a bank account (IBAN)"
    elif any(map(_is_phone, _PHONE.finditer(text))) or _CALLED_PHONE.search(text):
        yield Rule.PHONE, "a telephone number"


def _is_phone(found: re.Match[str]) -> bool:
    """Without a plus they have nine digits at least; dates have eight."""
    least = 8 if found[0].startswith("+") else 9
    return least <= len(_digits(found[0])) <= 15


def _has_password(text: str) -> bool:
    lower = text.lower()
    if not any(word in lower for word in _ASSIGNING):
        return False
    for found in _ASSIGNED.finditer(lower.replace("-", "_")):
        value = found["quoted"] or found["bare"]
        is_mixed = any(c.isdigit() for c in value) and any(c.isalpha() for c in value)
        if (found["quoted"] or is_mixed) and not _STAND_IN.search(value):
            return True
    return False


def _digits(text: str) -> str:
    return "".join(character for character in text if character.isascii() and character.isdigit())


def is_card(digits: str) -> bool:
    """By its length and its check digit (Luhn)."""
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def is_iban(account: str) -> bool:
    """By its check digits (ISO 7064, mod 97)."""
    moved = account[4:] + account[:4]
    return 15 <= len(account) <= 34 and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
