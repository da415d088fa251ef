"""Sums over arrays in eight lanes: an addition waits for the one before, eight need not wait.

Lane k sums every eighth value from the k-th on; what is left of them follows. The order of
additions depends on their number alone: the same values give the same bits, however many lanes a
processor works off at a time. LLVM is told of the lanes, because numba leaves finding them off.
"""

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba.core import cgutils
from numba.extending import intrinsic
from numba.types import UniTuple, float64, intp

from streamgauge.arrays import Floats
from streamgauge.kernels import inlined
from streamgauge.lanes import LANES, WIDTH, load_lanes, spread

__all__ = ["centred", "distances", "products", "total"]

_VALUE = ir.DoubleType()
Addends = Callable[[ir.IRBuilder, Sequence[Any], Sequence[Any]], Sequence[Any]]
"""From a value of either array and the three numbers what is added to the sums; values are numbers
or vectors of them."""


def _in_lanes(count: int, addends: Addends) -> Any:
    """An intrinsic `(x, i, y, j, n, a, b, c)`: `count` sums over n values of `x` from the i-th on,
    and beside them those of `y` from the j-th on.

    Places, not slices: to hand a part of an array on costs as much as to sum it.
    """

    @intrinsic  # type: ignore[untyped-decorator] # numba has no types
    def sums(context: Any, x: Any, i: Any, y: Any, j: Any, n: Any, a: Any, b: Any, c: Any) -> Any:
        if x.layout != "C" or y.layout != "C":
            raise TypeError("sums in lanes are of arrays without gaps")

        def build(target: Any, builder: ir.IRBuilder, signature: Any, given: Any) -> Any:
            begins = [
                builder.gep(target.make_array(kind)(target, builder, array).data, [begin])
                for kind, array, begin in (
                    (signature.args[0], given[0], given[1]),
                    (signature.args[2], given[2], given[3]),
                )
            ]
            found = _sums(builder, begins, given[4], given[5:], count, addends)
            return target.make_tuple(builder, signature.return_type, found)

        numbers = (float64, float64, float64)
        return UniTuple(float64, count)(x, intp, y, intp, intp, *numbers), build

    return sums


def _sums(
    builder: ir.IRBuilder,
    data: Sequence[Any],
    n: Any,
    numbers: Sequence[Any],
    count: int,
    addends: Addends,
) -> list[Any]:
    sums = [_zero(builder, _VALUE) for _ in range(count)]
    near, far = ([_zero(builder, LANES) for _ in range(count)] for _ in range(2))
    whole = builder.and_(n, n.type(-2 * WIDTH))
    with builder.if_then(builder.icmp_signed(">", whole, n.type(0))):
        everywhere = [spread(builder, number) for number in numbers]
        step = n.type(2 * WIDTH)
        with cgutils.for_range_slice(builder, n.type(0), whole, step, n.type) as (k, _):
            for lanes, at in ((near, k), (far, builder.add(k, n.type(WIDTH)))):
                values = [load_lanes(builder, pointer, at) for pointer in data]
                _add(builder, lanes, addends(builder, values, everywhere))
        for place, a, b in zip(sums, near, far, strict=True):
            both = builder.fadd(builder.load(a), builder.load(b))
            builder.store(_folded(builder, both), place)
    with cgutils.for_range_slice(builder, whole, n, n.type(1), n.type) as (k, _):
        values = [builder.load(builder.gep(pointer, [k])) for pointer in data]
        _add(builder, sums, addends(builder, values, numbers))
    return [builder.load(place) for place in sums]


def _zero(builder: ir.IRBuilder, kind: Any) -> Any:
    return cgutils.alloca_once_value(builder, ir.Constant(kind, None))


def _folded(builder: ir.IRBuilder, lanes: Any) -> Any:
    """Their sum: the far half is added to the near one until one is left."""
    half = WIDTH // 2
    while half:
        near, far = (
            ir.Constant(ir.VectorType(ir.IntType(32), half), list(range(begin, begin + half)))
            for begin in (0, half)
        )
        lanes = builder.fadd(
            builder.shuffle_vector(lanes, lanes, near), builder.shuffle_vector(lanes, lanes, far)
        )
        half //= 2
    return builder.extract_element(lanes, ir.Constant(ir.IntType(32), 0))


def _add(builder: ir.IRBuilder, sums: Sequence[Any], addends: Sequence[Any]) -> None:
    for place, addend in zip(sums, addends, strict=True):
        builder.store(builder.fadd(builder.load(place), addend), place)


def _values(_: ir.IRBuilder, values: Sequence[Any], __: Sequence[Any]) -> Sequence[Any]:
    return values[:1]


def _away(builder: ir.IRBuilder, values: Sequence[Any], numbers: Sequence[Any]) -> Sequence[Any]:
    return (builder.fsub(values[0], numbers[0]),)


def _powers(builder: ir.IRBuilder, values: Sequence[Any], numbers: Sequence[Any]) -> Sequence[Any]:
    away = builder.fsub(values[0], numbers[0])
    square = builder.fmul(away, away)
    return square, builder.fmul(square, away), builder.fmul(square, square)


def _pairs(builder: ir.IRBuilder, values: Sequence[Any], numbers: Sequence[Any]) -> Sequence[Any]:
    left = builder.fsub(values[0], numbers[0])
    right = builder.fsub(builder.fsub(values[1], numbers[1]), numbers[2])
    return builder.fmul(left, right), builder.fmul(right, right)


_total = _in_lanes(1, _values)
_distances = _in_lanes(1, _away)
_centred = _in_lanes(3, _powers)
_products = _in_lanes(2, _pairs)


@inlined
def total(values: Floats, begin: int, n: int) -> float:
    """Sum of n values from the `begin`-th on; so are all of these."""
    return float(_total(values, begin, values, begin, n, 0.0, 0.0, 0.0)[0])


@inlined
def distances(values: Floats, begin: int, n: int, start: float) -> float:
    """Sum of the distances from `start`; the same in any order where all are whole numbers."""
    return float(_distances(values, begin, values, begin, n, start, 0.0, 0.0)[0])


@inlined
def centred(values: Floats, begin: int, n: int, mean: float) -> tuple[float, float, float]:
    """Sums of squares, cubes and fourth powers of the distances from `mean`."""
    a, b, c = _centred(values, begin, values, begin, n, mean, 0.0, 0.0)
    return a, b, c


@inlined
def products(
    values: Floats, x: int, y: int, n: int, middle: float, start: float, centre: float
) -> tuple[float, float]:
    """Sums of `v * w` and of `w * w` over n pairs of the values from the x-th and the y-th on:
    v is the distance of the one from `middle`, w that of the other from `start`, less `centre`."""
    a, b = _products(values, x, values, y, n, middle, start, centre)
    return a, b
