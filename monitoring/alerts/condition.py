"""Conditions over scores, such as `rolling_mae > 2 * persistence_mae`: parsed, never run."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["Condition", "parsed"]

Condition = Callable[[Mapping[str, float]], bool]
"""Whether it holds of these numbers. Nothing holds of a number that is not defined yet (NaN)."""

Value = Callable[[Mapping[str, float]], float]

COMPARISONS: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
}
OPERATORS: Mapping[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
_LONGEST = 1_000


def parsed(text: str, names: tuple[str, ...]) -> Condition:
    """The condition that a text describes, over these names. ValueError that says what is wrong."""
    try:
        tree = ast.parse(text.strip(), mode="eval") if len(text) <= _LONGEST else None
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        tree = None
    if tree is None:
        raise ValueError(f"{text[:60]!r} is no condition; write for example rolling_mae > 2")
    return _condition(tree.body, names)


def _condition(node: ast.expr, names: tuple[str, ...]) -> Condition:
    if isinstance(node, ast.BoolOp):
        parts = [_condition(part, names) for part in node.values]
        together = all if isinstance(node.op, ast.And) else any
        return lambda given: together(part(given) for part in parts)
    if isinstance(node, ast.Compare) and all(type(op) in COMPARISONS for op in node.ops):
        values = [_value(part, names) for part in (node.left, *node.comparators)]
        compare = [COMPARISONS[type(op)] for op in node.ops]
        return lambda given: all(
            holds(left(given), right(given))
            for holds, left, right in zip(compare, values, values[1:], strict=False)
        )
    raise ValueError(
        f"{ast.unparse(node)[:40]!r} is no comparison; write > >= < <= between numbers, "
        "joined by `and` and `or`"
    )


def _value(node: ast.expr, names: tuple[str, ...]) -> Value:
    constant = node.value if isinstance(node, ast.Constant) else None
    if isinstance(constant, int | float) and not isinstance(constant, bool):
        number = float(constant)
        return lambda given: number
    if isinstance(node, ast.Name):
        name = node.id
        if name not in names:
            raise ValueError(f"no score named {name!r}; there are: {', '.join(names)}")
        return lambda given: given[name]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _value(node.operand, names)
        return lambda given: -inner(given)
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        left, right, compute = (
            _value(node.left, names),
            _value(node.right, names),
            OPERATORS[type(node.op)],
        )
        return lambda given: _computed(compute, left(given), right(given))
    raise ValueError(
        f"{ast.unparse(node)[:40]!r} has no place in a condition; write scores, numbers, "
        "+ - * / and brackets"
    )


def _computed(compute: Callable[[Any, Any], Any], left: float, right: float) -> float:
    try:
        return float(compute(left, right))
    except ZeroDivisionError:
        return float("nan")
