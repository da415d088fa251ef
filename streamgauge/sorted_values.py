"""One value of ascending ones replaced by another, in one pass without a branch.

What lies between the two values moves by a place, towards the one that leaves. A search would have
to guess its way, and a processor that guesses wrong waits longer than the pass takes for a hundred
values.

The pass looks at pairs of neighbours. Where the pair is between the two values, what comes of it is
the middle one of its values and the new one; elsewhere it is the value that stays. Going up that
takes the place of the left one of the pair, going down that of the right one.
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


@intrinsic  # type: ignore[untyped-decorator] # numba has no types
def _pass(context: Any, x: Any, begin: Any, n: Any, old: Any, new: Any) -> Any:
    def build(target: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
        array, first, count, leaves, enters = given
        data = target.make_array(signature.args[0])(target, builder, array).data
        _write(builder, builder.gep(data, [first]), count, leaves, enters)
        return target.get_dummy_value()

    return void(x, intp, intp, float64, float64), build


def _write(builder: ir.IRBuilder, data: Any, n: Any, old: Any, new: Any) -> None:
    """The value at the end towards which others move has no pair, and is told by itself."""
    lowest, highest = (ir.Constant(ir.DoubleType(), word) for word in ("-inf", "inf"))
    up = builder.fcmp_ordered(">", new, old)
    rules = (old, builder.select(up, new, highest), builder.select(up, lowest, new))
    pairs = builder.sub(n, n.type(1))
    to = builder.gep(data, [builder.zext(builder.not_(up), n.type)])
    end = builder.gep(data, [builder.select(up, pairs, n.type(0))])
    last = builder.load(end)
    larger = builder.fcmp_ordered(">", last, new)
    at_end = builder.select(builder.xor(larger, up), new, last)
    with builder.if_else(builder.icmp_signed("<", pairs, n.type(WIDTH))) as (few, many):
        with few:
            _one_by_one(builder, data, to, pairs, rules)
        with many:
            _in_lanes(builder, data, to, pairs, rules)
    builder.store(at_end, end)


def _one_by_one(
    builder: ir.IRBuilder, data: Any, to: Any, pairs: Any, rules: Sequence[Any]
) -> None:
    left = cgutils.alloca_once_value(builder, builder.load(data))
    with cgutils.for_range(builder, pairs, intp=pairs.type) as loop:
        right = builder.load(builder.gep(data, [builder.add(loop.index, pairs.type(1))]))
        found = _between(builder, builder.load(left), right, rules)
        builder.store(right, left)
        builder.store(found, builder.gep(to, [loop.index]))


def _in_lanes(builder: ir.IRBuilder, data: Any, to: Any, pairs: Any, rules: Sequence[Any]) -> None:
    """A vector is written once the next has been read, which it overlaps; the last one, which may
    overlap those before, is read first of all."""
    one, step = pairs.type(1), pairs.type(WIDTH)
    everywhere = [spread(builder, rule) for rule in rules]

    def found(k: Any) -> Any:
        left, right = (load_lanes(builder, data, at) for at in (k, builder.add(k, one)))
        return _between(builder, left, right, everywhere)

    def put(lanes: Any, k: Any) -> None:
        place = builder.bitcast(builder.gep(to, [k]), LANES.as_pointer())
        builder.store(lanes, place, align=8)

    final = builder.sub(pairs, step)
    at_final = found(final)
    waiting = cgutils.alloca_once_value(builder, found(pairs.type(0)))
    at = cgutils.alloca_once_value(builder, pairs.type(0))
    with cgutils.for_range_slice(builder, step, final, step, pairs.type) as (k, _):
        following = found(k)
        put(builder.load(waiting), builder.load(at))
        builder.store(following, waiting)
        builder.store(k, at)
    put(builder.load(waiting), builder.load(at))
    put(at_final, final)


def _between(builder: ir.IRBuilder, left: Any, right: Any, rules: Sequence[Any]) -> Any:
    """What comes of a pair of neighbours; numbers or vectors of them."""
    old, above, below = rules
    other = builder.select(builder.fcmp_ordered(">=", left, old), above, below)
    other = builder.select(builder.fcmp_ordered("<", right, other), right, other)
    return builder.select(builder.fcmp_ordered(">", left, other), left, other)


@inlined
def replace(values: Floats, begin: int, n: int, old: float, new: float) -> None:
    """Let `new` enter the n ascending values from the `begin`-th on, and `old`, which is one of
    them, leave. All are finite."""
    _pass(values, begin, n, old, new)
