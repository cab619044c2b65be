"""`calculator`: arithmetic, exact as long as it can be, and bounded so that no expression hangs the service.

An expression is parsed as Python and walked, never evaluated; it may have numbers, operators and the functions below.
Numbers are fractions, so 0.1 + 0.2 is 0.3; roots, logarithms and angles are floats.
"""

import ast
import math
import re
from collections.abc import Callable
from fractions import Fraction
from typing import Annotated, Any

from msgspec import Meta, Struct

from app.tools.tool import InvalidArguments, Tool, ToolContext, ToolError, make_tool

EXPRESSION_CHARS_MAX = 1_000
NODES_MAX = 500
BITS_MAX = 4_096
FACTORIAL_MAX = 500
DIGITS = 15
DECIMAL_EXPONENT_MAX = 1_000

Number = Fraction | float


class CalculatorArguments(Struct, frozen=True, forbid_unknown_fields=True):
    expression: Annotated[
        str,
        Meta(
            description="For example (3 + 4) * 2.5, 2**10, sqrt(2), 17 % 5, round(10 / 3, 2), log(100, 10)",
            min_length=1,
            max_length=EXPRESSION_CHARS_MAX,
        ),
    ]


def tool() -> Tool:
    return make_tool(
        "calculator",
        "Computes an arithmetic expression: + - * / // % ** and sqrt, abs, round, floor, ceil, min, max, sum, "
        "exp, log, log2, log10, sin, cos, tan, asin, acos, atan, degrees, radians, factorial, gcd, pi, e. "
        "Angles are in radians.",
        CalculatorArguments,
        _calculate,
        effect="pure",
    )


async def _calculate(arguments: CalculatorArguments, _: ToolContext) -> str:
    return f"{arguments.expression.strip()} = {evaluate(arguments.expression)}"


def evaluate(expression: str) -> str:
    """The value, exact where it is a whole number, else to 15 digits. Raises `ToolError`, `InvalidArguments`."""
    plain = expression.strip().translate(_SIGNS)
    try:
        tree = ast.parse(plain, mode="eval")
        nodes = sum(1 for _ in ast.walk(tree))
        if nodes > NODES_MAX:
            raise InvalidArguments(f"The expression has {nodes} parts, the limit is {NODES_MAX}; split it.")
        return shown(_value(tree.body, plain))
    except (SyntaxError, MemoryError, RecursionError, UnicodeEncodeError) as error:
        reason = error.msg if isinstance(error, SyntaxError) else "it is nested too deeply"
        raise InvalidArguments(
            f"This is not an arithmetic expression ({reason}): {expression[:200]}"
        ) from None
    except ZeroDivisionError:
        raise ToolError(f"Division by zero in {expression[:200]}") from None
    except OverflowError:
        raise _too_large() from None
    except ValueError as error:
        raise ToolError(f"This has no value ({error}): {expression[:200]}") from None
    except TypeError:
        raise InvalidArguments(
            f"A function has too few or too many values here: {expression[:200]}"
        ) from None


def shown(value: Number) -> str:
    if isinstance(value, float):
        if not math.isfinite(value):
            raise _too_large()
        return str(int(value)) if value.is_integer() and abs(value) < 10**DIGITS else f"{value:.{DIGITS}g}"
    if value.denominator == 1:
        return str(value.numerator)
    try:
        rounded = float(value)
    except OverflowError:
        raise _too_large() from None
    return f"{rounded:.{DIGITS}g}"


_SIGNS = str.maketrans(
    {"×": "*", "·": "*", "÷": "/", "−": "-", "–": "-", "（": "(", "）": ")", "，": ",", "^": "**"}
)


def _value(node: ast.expr, source: str) -> Number:
    match node:
        case ast.Constant(value=int() | float()) if not isinstance(node.value, bool):
            return _literal(ast.get_source_segment(source, node) or "")
        case ast.Name(id=name) if name in _CONSTANTS:
            return _CONSTANTS[name]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return -_value(operand, source)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _value(operand, source)
        case ast.BinOp(left=left, op=op, right=right):
            return _checked(_binary(op, _value(left, source), _value(right, source)))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in _FUNCTIONS:
            return _checked(_FUNCTIONS[name](*(_value(argument, source) for argument in _spread(arguments))))
        case ast.Call(func=ast.Name(id=name)) | ast.Name(id=name):
            raise InvalidArguments(
                f"{name!r} is not known; known are {', '.join((*_FUNCTIONS, *_CONSTANTS))}."
            )
        case _:
            part = ast.get_source_segment(source, node) or type(node).__name__
            raise InvalidArguments(f"Only numbers, operators and functions are allowed, not {part[:80]!r}.")


def _binary(op: ast.operator, left: Number, right: Number) -> Number | int:
    match op:
        case ast.Add():
            return left + right
        case ast.Sub():
            return left - right
        case ast.Mult():
            return left * right
        case ast.Div():
            return left / right
        case ast.FloorDiv():
            return left // right
        case ast.Mod():
            return left % right
        case ast.Pow():
            return _power(left, right)
        case _:
            raise InvalidArguments("Only the operators + - * / // % ** are allowed.")


def _spread(arguments: list[ast.expr]) -> list[ast.expr]:
    # sum([1, 2]) and max((1, 2)) are what models write.
    if len(arguments) == 1 and isinstance(arguments[0], ast.List | ast.Tuple):
        return arguments[0].elts
    return arguments


def _literal(text: str) -> Number:
    digits = text.replace("_", "")
    if match := re.fullmatch(r"[\d.]+[eE]([+-]?\d+)", digits):
        if abs(int(match[1])) > DECIMAL_EXPONENT_MAX:
            raise _too_large()
    elif not re.fullmatch(r"\d+\.?\d*|\.\d+", digits):
        return _checked(int(text, 0))
    return _checked(Fraction(digits))


def _checked(value: Number | int) -> Number:
    if isinstance(value, float):
        return value
    if isinstance(value, complex):
        raise ToolError("The result is not a real number.")
    if max(value.numerator.bit_length(), value.denominator.bit_length()) > BITS_MAX:
        raise _too_large()
    return Fraction(value)


def _too_large() -> ToolError:
    return ToolError(
        f"A number is too large or too fine here; the limit is {BITS_MAX} bits (about 1200 digits)."
    )


def _power(base: Number, exponent: Number) -> Number:
    if isinstance(base, Fraction) and isinstance(exponent, Fraction) and exponent.denominator == 1:
        if abs(base) == 1:
            return Fraction(base) if exponent.numerator % 2 else Fraction(1)
        bits = max(base.numerator.bit_length(), base.denominator.bit_length())
        if base != 0 and (bits - 1) * abs(exponent.numerator) > BITS_MAX:
            raise _too_large()
        return Fraction(base ** int(exponent))
    if base < 0:
        raise ToolError("A root of a negative number is not a real number.")
    return float(base) ** float(exponent)


def _factorial(value: Number) -> Fraction:
    whole = _whole(value)
    if not 0 <= whole <= FACTORIAL_MAX:
        raise ToolError(f"factorial takes 0-{FACTORIAL_MAX}, not {shown(value)}.")
    return Fraction(math.factorial(whole))


def _whole(value: Number) -> int:
    if value != int(value):
        raise ToolError(f"A whole number is needed, not {shown(value)}.")
    return int(value)


def _round(value: Number, digits: Number = Fraction(0)) -> Number:
    places = _whole(digits)
    if abs(places) > DECIMAL_EXPONENT_MAX:
        raise ToolError(f"round takes at most {DECIMAL_EXPONENT_MAX} digits, not {places}.")
    scale = Fraction(10) ** places
    half_up = math.floor(abs(Fraction(value)) * scale + Fraction(1, 2)) / scale
    return half_up if value >= 0 else -half_up


def _sqrt(value: Number) -> Number:
    if isinstance(value, Fraction) and value >= 0:
        top, bottom = math.isqrt(value.numerator), math.isqrt(value.denominator)
        if top * top == value.numerator and bottom * bottom == value.denominator:
            return Fraction(top, bottom)
    return math.sqrt(value)


def _gcd(*values: Number) -> Fraction:
    return Fraction(math.gcd(*map(_whole, values)))


def _sum(*values: Number) -> Number:
    return sum(values, start=Fraction(0))


_CONSTANTS: dict[str, float] = {"pi": math.pi, "e": math.e}
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "sqrt": _sqrt,
    "abs": abs,
    "round": _round,
    "floor": math.floor,
    "ceil": math.ceil,
    "min": min,
    "max": max,
    "sum": _sum,
    "exp": math.exp,
    "log": math.log,
    "log2": math.log2,
    "log10": math.log10,
    "sin": math.sin,
    "cos": math.cos,
    "tan": math.tan,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "degrees": math.degrees,
    "radians": math.radians,
    "factorial": _factorial,
    "gcd": _gcd,
    "pow": _power,
}
