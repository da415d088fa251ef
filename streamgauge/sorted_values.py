"""One value of ascending ones replaced by another, in one pass without a branch.

What lies between the two values moves by a place, towards the one that leaves. A search would have
to guess its way, and a processor that guesses wrong waits longer than the pass takes for a hundred
values.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numba.types import float64, intp, void

from streamgauge.arrays import Floats
from streamgauge.kernels import inlined
from streamgauge.lanes import LANES, WIDTH, load_lanes, spread

__all__ = ["replace"]

_BEFORE = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), list(range(WIDTH - 1, 2 * WIDTH - 1)))


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _pass(context: Any, x: Any, begin: Any, n: Any, old: Any, new: Any) -> Any:
    def build(target: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        array, first, count, leaves, enters = given
        data = target.make_array(signature.args[0])(target, builder, array).data
        _write(builder, builder.gep(data, [first]), count, leaves, enters)
        return target.get_dummy_value()

    return void(x, intp, intp, float64, float64), build


def _write(builder: ir.IRBuilder, data: Any, n: Any, old: Any, new: Any) -> None:
    """The last value has none behind it, and is left to the end."""
    lowest, highest = (ir.Constant(ir.DoubleType(), word) for word in ("-inf", "inf"))
    up = builder.fcmp_ordered(">", new, old)
    rules = [
        up,
        builder.select(up, old, new),
        builder.select(up, new, old),
        builder.select(up, new, highest),
        builder.select(up, lowest, new),
    ]
    one, last = n.type(1), builder.sub(n, n.type(1))
    whole = builder.and_(last, n.type(-WIDTH))
    before = cgutils.alloca_once_value(builder, spread(builder, lowest))
    everywhere = [spread(builder, rule) for rule in rules]
    with cgutils.for_range_slice(builder, n.type(0), whole, n.type(WIDTH), n.type) as (k, _):
        own, after = load_lanes(builder, data, k), load_lanes(builder, data, builder.add(k, one))
        left = builder.shuffle_vector(builder.load(before), own, _BEFORE)
        builder.store(own, before)
        moved = _moved(builder, left, own, after, everywhere)
        builder.store(moved, builder.bitcast(builder.gep(data, [k]), LANES.as_pointer()), align=8)
    final = builder.extract_element(builder.load(before), ir.Constant(ir.IntType(32), WIDTH - 1))
    left_of = cgutils.alloca_once_value(builder, final)
    with cgutils.for_range_slice(builder, whole, last, one, n.type) as (k, _):
        place = builder.gep(data, [k])
        own, after = builder.load(place), builder.load(builder.gep(data, [builder.add(k, one)]))
        builder.store(_moved(builder, builder.load(left_of), own, after, rules), place)
        builder.store(own, left_of)
    place = builder.gep(data, [last])
    own = builder.load(place)
    builder.store(_moved(builder, builder.load(left_of), own, highest, rules), place)


def _moved(builder: ir.IRBuilder, left: Any, own: Any, right: Any, rules: Sequence[Any]) -> Any:
    """What takes the place of `own`, between `left` and `right`; numbers or vectors of them."""
    up, low, high, most, least = rules
    inside = builder.and_(
        builder.fcmp_ordered(">=", own, low), builder.fcmp_ordered("<=", own, high)
    )
    other = builder.select(up, right, left)
    other = builder.select(builder.fcmp_ordered("<", other, most), other, most)
    other = builder.select(builder.fcmp_ordered(">", other, least), other, least)
    return builder.select(inside, other, own)


@inlined
def replace(values: Floats, begin: int, n: int, old: float, new: float) -> None:
    """Let `new` enter the n ascending values from the `begin`-th on, and `old`, which is one of
    them, leave. All are finite."""
    _pass(values, begin, n, old, new)
