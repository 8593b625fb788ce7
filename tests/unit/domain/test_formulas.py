"""Formulas: what they are worth, and what is refused."""

import ast
import math
import random

import pytest

from tunesmith.domain.formulas import MAX_DEPTH, MAX_LENGTH, FormulaError, parse

NUMBERS = {"a": 2.0, "b": -0.5, "max": 3.0}
SEED = 20261121


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1.0),
        ("1.5e-3", 0.0015),
        (".5", 0.5),
        ("a + b * 2", 1.0),
        ("a - b - b", 3.0),
        ("8 / 2 / 2", 2.0),
        ("2 ^ 3 ^ 2", 512.0),
        ("-2 ^ 2", -4.0),
        ("2 ^ -1", 0.5),
        ("--a", 2.0),
        ("+-+a", -2.0),
        ("(1 + a) * -b", 1.5),
        ("min(a, b, 1) + max(a, 7)", 6.5),
        ("max + max(max)", 6.0),
        ("abs(b) + floor(b) + ceil(b)", -0.5),
        ("sqrt(16) + log(exp(2))", 6.0),
    ],
)
def test_a_formula_is_worth_what_arithmetic_says(text: str, value: float) -> None:
    assert parse(text).value(NUMBERS) == pytest.approx(value)


def test_a_formula_knows_the_names_in_it() -> None:
    assert parse("a * max(b, c_1) + max").names == {"a", "b", "c_1", "max"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "1 +",
        "* 2",
        "(1",
        "1)",
        "1 2",
        "2a",
        "1.2.3",
        "a b",
        "f(1)",
        "min()",
        "abs(1, 2)",
        "min(1,)",
        "a ** 2",
        "a // 2",
        "a % 2",
        "a.b",
        "a[0]",
        "'a'",
        "a = 1",
        "__import__('os')",
        "lambda: 1",
        "1 if a else 2",
        "a\0",
        "\ud800",
        "(" * (MAX_DEPTH + 1) + "1" + ")" * (MAX_DEPTH + 1),
        "2" + "^2" * (MAX_DEPTH + 1),
        "1" + "+1" * MAX_LENGTH,
    ],
)
def test_what_is_no_formula_is_refused(text: str) -> None:
    with pytest.raises(FormulaError):
        parse(text)


@pytest.mark.parametrize(
    "text",
    [
        "1 / 0",
        "1 / (a - a)",
        "log(0)",
        "log(b)",
        "sqrt(b)",
        "exp(1000)",
        "10 ^ 400",
        "0 ^ -1",
        "b ^ 0.5",
        "1e999",
        "1e999 - 1e999",
        "1e308 * 10",
        "floor(1e308) * floor(1e308)",
        "floor(1e999)",
    ],
)
def test_what_has_no_finite_value_is_told(text: str) -> None:
    with pytest.raises(FormulaError):
        parse(text).value(NUMBERS)


def test_long_formulas_within_bounds_are_worked_out() -> None:
    assert parse("+".join(["1"] * 1000)).value({}) == 1000
    assert parse("-" * 1999 + "1").value({}) == -1
    assert parse("(" * 40 + "1" + ")" * 40).value({}) == 1


def expression(source: random.Random, depth: int) -> str:
    kind = source.randrange(8) if depth else 0
    if kind in (0, 1):
        return source.choice(["a", "b", "0", "3", "0.25", "1e2"])
    if kind == 2:
        return f"({expression(source, depth - 1)})"
    if kind == 3:
        return f"{source.choice('-+')}{expression(source, depth - 1)}"
    if kind == 4:
        name = source.choice(["min", "max"])
        return f"{name}({expression(source, depth - 1)}, {expression(source, depth - 1)})"
    if kind == 5:
        name = source.choice(["abs", "floor", "ceil", "exp", "sqrt", "log"])
        return f"{name}({expression(source, depth - 1)})"
    sign = source.choice(["+", "-", "*", "/", "^", " * ", " - "])
    return f"{expression(source, depth - 1)}{sign}{expression(source, depth - 1)}"


class RealPowers(ast.NodeTransformer):
    """Python goes on with complex numbers where there is no real power."""

    def visit_BinOp(self, node: ast.BinOp) -> ast.expr:
        self.generic_visit(node)
        if not isinstance(node.op, ast.Pow):
            return node
        return ast.Call(ast.Name("pow", ast.Load()), [node.left, node.right], [])


def python_value(text: str) -> float | None:
    """What Python makes of it, None where that is no finite number."""
    functions = {"exp": math.exp, "sqrt": math.sqrt, "log": math.log, "abs": abs, "pow": math.pow}
    functions |= {"floor": math.floor, "ceil": math.ceil, "min": min, "max": max}
    tree = RealPowers().visit(ast.parse(text.replace("^", "**"), mode="eval"))
    code = compile(ast.fix_missing_locations(tree), "formula", "eval")
    try:
        value = float(eval(code, {"__builtins__": {}, **NUMBERS, **functions}))
    except (ArithmeticError, ValueError):
        return None
    return value if math.isfinite(value) else None


def test_any_formula_is_worth_what_python_says() -> None:
    source = random.Random(SEED)
    num_with_value = 0
    for _ in range(3000):
        text = expression(source, depth=4)
        expected = python_value(text)
        try:
            value = parse(text).value(NUMBERS)
        except FormulaError:
            assert expected is None, text
            continue
        num_with_value += 1
        assert value == pytest.approx(expected, rel=1e-9, abs=1e-12), text
    assert num_with_value > 1000
