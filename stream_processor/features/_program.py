"""Formulas over channels as small programs: parsed, checked, never evaluated as Python.

A program is int64[n, 2] of operations and their argument (a column, or the place of a constant),
run on a stack by a kernel. What a formula may hold is listed in `OPERATORS` and `FUNCTIONS`.
"""

import ast
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

import numpy as np

from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import inlined, kernel

__all__ = ["CONSTANT", "DEEPEST", "FUNCTIONS", "TOGETHER", "Program", "compiled", "results"]

DEEPEST = 32
"""Values that a formula may need at a time."""
TOGETHER = 256
"""Readings that a step is done for at a time: what it needs stays in the nearest cache."""
_LONGEST = 1_000

(
    _CHANNEL, CONSTANT, _ADD, _SUBTRACT, _MULTIPLY, _DIVIDE, _POWER, _NEGATE,
    _ABS, _SQRT, _EXP, _LOG, _SIN, _COS, _MIN, _MAX,
) = range(16)  # fmt: skip
OPERATORS: Mapping[type[ast.operator], int] = {
    ast.Add: _ADD,
    ast.Sub: _SUBTRACT,
    ast.Mult: _MULTIPLY,
    ast.Div: _DIVIDE,
    ast.Pow: _POWER,
}
FUNCTIONS: Mapping[str, tuple[int, int]] = {
    "abs": (_ABS, 1),
    "sqrt": (_SQRT, 1),
    "exp": (_EXP, 1),
    "log": (_LOG, 1),
    "sin": (_SIN, 1),
    "cos": (_COS, 1),
    "min": (_MIN, 2),
    "max": (_MAX, 2),
}
"""Name in a formula: operation and number of arguments."""


@dataclass
class Program:
    """A formula: its steps, its constants, and the channels that it reads."""

    steps: list[tuple[int, int]] = field(default_factory=list)
    constants: list[float] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)


def compiled(formula: str, columns: Mapping[str, int]) -> Program:
    """The program of a formula over these channels.

    A channel whose name is no plain word is written `channel("PM2.5")`. ValueError that says what
    is wrong in the formula.
    """
    program = Program()
    try:
        tree = ast.parse(formula.strip(), mode="eval") if len(formula) <= _LONGEST else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        tree = None
    if tree is None:
        raise ValueError(f"{formula[:60]!r} is no formula; write for example load / flow")
    deepest = depth = 0
    for operation, argument, change in _steps(tree.body, columns, program):
        program.steps.append((operation, argument))
        depth += change
        deepest = max(deepest, depth)
    if deepest > DEEPEST:
        raise ValueError(f"{formula[:60]!r} is nested too deeply; cut it into several")
    if not program.channels:
        raise ValueError(f"{formula[:60]!r} reads no channel; there are: {', '.join(columns)}")
    return program


def _steps(
    node: ast.expr, columns: Mapping[str, int], program: Program
) -> Iterator[tuple[int, int, int]]:
    """Operation, argument and growth of the stack, operands before their operator."""
    name = _channel_named(node)
    if name is not None:
        if name not in columns:
            raise ValueError(f"no channel named {name!r}; there are: {', '.join(columns)}")
        program.channels.add(name)
        yield _CHANNEL, columns[name], 1
    elif isinstance(node, ast.Constant) and _is_number(node.value):
        program.constants.append(_finite(node.value))
        yield CONSTANT, len(program.constants) - 1, 1
    elif isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        yield from _steps(node.left, columns, program)
        yield from _steps(node.right, columns, program)
        yield OPERATORS[type(node.op)], 0, -1
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub | ast.UAdd):
        yield from _steps(node.operand, columns, program)
        if isinstance(node.op, ast.USub):
            yield _NEGATE, 0, 0
    elif isinstance(node, ast.Call):
        yield from _call(node, columns, program)
    else:
        raise ValueError(
            f"{ast.unparse(node)[:40]!r} has no place in a formula; write channels, numbers, "
            f"+ - * / **, brackets and {', '.join(FUNCTIONS)}"
        )


def _call(
    node: ast.Call, columns: Mapping[str, int], program: Program
) -> Iterator[tuple[int, int, int]]:
    name = node.func.id if isinstance(node.func, ast.Name) else ""
    operation, arguments = FUNCTIONS.get(name, (-1, 0))
    if operation < 0:
        known = ", ".join(FUNCTIONS)
        raise ValueError(f"{ast.unparse(node.func)[:40]!r} is no function; there are: {known}")
    if len(node.args) != arguments or node.keywords:
        raise ValueError(f"{name} takes {arguments} argument{'s' * (arguments > 1)}")
    for argument in node.args:
        yield from _steps(argument, columns, program)
    yield operation, 0, 1 - arguments


def _channel_named(node: ast.expr) -> str | None:
    """The channel that a word, or `channel("...")`, names."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "channel":
        text = node.args[0] if len(node.args) == 1 else None
        if isinstance(text, ast.Constant) and isinstance(text.value, str):
            return text.value
    return None


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _finite(value: float) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise ValueError("a number in the formula is too large")
    return number


@kernel
def _one(operation: int, a: Floats) -> None:
    """Replace each value by what an operation makes of it."""
    if operation == _NEGATE:
        for j in range(len(a)):
            a[j] = -a[j]
    elif operation == _ABS:
        for j in range(len(a)):
            a[j] = abs(a[j])
    else:
        for j in range(len(a)):
            a[j] = _of_one(operation, a[j])


@kernel
def _of_one(operation: int, a: float) -> float:
    if operation == _SQRT:
        return math.sqrt(a) if a >= 0.0 else np.nan
    if operation == _EXP:
        return math.exp(a)
    if operation == _LOG:
        return math.log(a) if a > 0.0 else np.nan
    return math.sin(a) if operation == _SIN else math.cos(a)


@kernel
def _two(operation: int, a: Floats, b: Floats) -> None:
    """Replace each value of the first by what an operation makes of both."""
    if operation == _ADD:
        for j in range(len(a)):
            a[j] += b[j]
    elif operation == _SUBTRACT:
        for j in range(len(a)):
            a[j] -= b[j]
    elif operation == _MULTIPLY:
        for j in range(len(a)):
            a[j] *= b[j]
    elif operation == _DIVIDE:
        for j in range(len(a)):
            a[j] = a[j] / b[j] if b[j] != 0.0 else np.nan
    else:
        for j in range(len(a)):
            a[j] = _of_two(operation, a[j], b[j])


@kernel
def _of_two(operation: int, a: float, b: float) -> float:
    if operation == _POWER:
        return float(a**b)
    if a != a or b != b:
        return np.nan
    return min(a, b) if operation == _MIN else max(a, b)


@inlined
def results(
    values: Floats, begin: int, n: int, steps: Ints, constants: Floats, stack: Floats
) -> None:
    """What a program gives for the n values of readings from the `begin`-th on, into `stack[0]`;
    NaN where a channel is absent.

    `stack float64[DEEPEST, TOGETHER]` is scratch. A step is done for all of them before the next:
    to look at what a step is takes longer than to do it.
    """
    top = 0
    for k in range(len(steps)):
        operation, argument = steps[k, 0], steps[k, 1]
        if operation == _CHANNEL:
            for j in range(n):
                stack[top, j] = values[begin + j, argument]
            top += 1
        elif operation == CONSTANT:
            stack[top, :n] = constants[argument]
            top += 1
        elif operation in (_ADD, _SUBTRACT, _MULTIPLY, _DIVIDE, _POWER, _MIN, _MAX):
            top -= 1
            _two(operation, stack[top - 1, :n], stack[top, :n])
        else:
            _one(operation, stack[top - 1, :n])
