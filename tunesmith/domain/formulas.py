"""Formulas over named numbers: read once, then worked out as often as needed. Nothing is eval'd."""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache

MAX_LENGTH = 2000
MAX_DEPTH = 50

Value = Callable[[Mapping[str, float]], float]

_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([^\W\d]\w*)|(\S))")
_FUNCTIONS: dict[str, tuple[Callable[..., float], int, int | None]] = {  # least and most arguments
    "min": (lambda *numbers: min(numbers), 1, None),
    "max": (lambda *numbers: max(numbers), 1, None),
    "abs": (abs, 1, 1),
    "floor": (lambda number: float(math.floor(number)), 1, 1),
    "ceil": (lambda number: float(math.ceil(number)), 1, 1),
    "exp": (math.exp, 1, 1),
    "sqrt": (math.sqrt, 1, 1),
    "log": (math.log, 1, 1),
}


class FormulaError(ValueError):
    """It cannot be read, or has no finite value for these numbers."""


@dataclass(frozen=True, slots=True)
class Formula:
    text: str
    names: frozenset[str]
    _value: Value

    def value(self, numbers: Mapping[str, float]) -> float:
        """Finite; raises `FormulaError` where it would not be, as in a division by zero."""
        try:
            result = self._value(numbers)
        except (ArithmeticError, ValueError) as error:
            raise FormulaError(f"the formula has no value: {error}") from error
        if not math.isfinite(result):
            raise FormulaError("the formula has no finite value")
        return float(result)


@lru_cache(maxsize=256)
def parse(text: str) -> Formula:
    """Numbers, names, `+ - * / ^`, parentheses and functions; raises `FormulaError`.

    As in mathematics and in Python, `^` binds to the right and closer than a sign before it.
    """
    if len(text) > MAX_LENGTH:
        raise FormulaError(f"a formula has at most {MAX_LENGTH:,} characters")
    parser = _Parser(text)
    value = parser.sum()
    parser.expect_end()
    return Formula(text, frozenset(parser.names), value)


class _Parser:
    """Recursive descent; each method reads what it is called and returns how to work it out."""

    def __init__(self, text: str) -> None:
        # A number, a name or a sign each; the other two are empty.
        self._tokens: list[tuple[str, str, str]] = _TOKEN.findall(text)
        self._place = 0
        self._depth = 0
        self.names: set[str] = set()

    def sum(self) -> Value:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"a formula nests at most {MAX_DEPTH} deep")
        terms = [(1.0, self._product())]
        while sign := self._take("+", "-"):
            terms.append((1.0 if sign == "+" else -1.0, self._product()))
        self._depth -= 1
        return terms[0][1] if len(terms) == 1 else lambda n: _sum([s * v(n) for s, v in terms])

    def expect_end(self) -> None:
        if self._place < len(self._tokens):
            raise FormulaError(f"{self._next()!r} is not expected here")

    def _product(self) -> Value:
        first = self._signed()
        factors: list[tuple[str, Value]] = []
        while sign := self._take("*", "/"):
            factors.append((sign, self._signed()))

        def value(numbers: Mapping[str, float]) -> float:
            result = first(numbers)
            for sign, factor in factors:
                number = factor(numbers)
                result = result * number if sign == "*" else result / number
            return result

        return value if factors else first

    def _signed(self) -> Value:
        is_negative = False
        while sign := self._take("+", "-"):
            is_negative ^= sign == "-"
        operand = self._power()
        return (lambda n: -operand(n)) if is_negative else operand

    def _power(self) -> Value:
        base = self._atom()
        if not self._take("^"):
            return base
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise FormulaError(f"a formula nests at most {MAX_DEPTH} deep")
        exponent = self._signed()
        self._depth -= 1
        return lambda n: math.pow(base(n), exponent(n))

    def _atom(self) -> Value:
        if self._take("("):
            inner = self.sum()
            self._expect(")")
            return inner
        number, name, _ = self._tokens[self._place] if self._place < len(self._tokens) else _END
        if not number and not name:
            raise FormulaError(f"{self._next()!r} is not expected here; a number or name is")
        self._place += 1
        if number:
            constant = float(number)
            return lambda _: constant
        if self._take("("):
            return self._call(name)
        self.names.add(name)
        return lambda n: n[name]

    def _call(self, name: str) -> Value:
        if name not in _FUNCTIONS:
            raise FormulaError(f"there is no function {name!r}; there are {', '.join(_FUNCTIONS)}")
        function, least, most = _FUNCTIONS[name]
        arguments = [self.sum()]
        while self._take(","):
            arguments.append(self.sum())
        self._expect(")")
        if len(arguments) < least or (most is not None and len(arguments) > most):
            raise FormulaError(f"{name} does not take {len(arguments)} arguments")
        return lambda n: function(*(argument(n) for argument in arguments))

    def _take(self, *signs: str) -> str:
        """The next sign if it is one of these, else nothing."""
        sign = self._tokens[self._place][2] if self._place < len(self._tokens) else ""
        if sign not in signs:
            return ""
        self._place += 1
        return sign

    def _expect(self, sign: str) -> None:
        if not self._take(sign):
            raise FormulaError(f"{sign!r} is expected where {self._next()!r} stands")

    def _next(self) -> str:
        if self._place >= len(self._tokens):
            return "the end"
        return "".join(self._tokens[self._place])


_END = ("", "", "")


def _sum(terms: list[float]) -> float:
    """From left to right, as it is written."""
    result = terms[0]
    for term in terms[1:]:
        result += term
    return result
