"""Vectors of numbers in code for LLVM: numba leaves it to others to find them."""

from typing import Any

from llvmlite import ir

__all__ = ["LANES", "WIDTH", "load_lanes", "spread"]

WIDTH = 4
"""Numbers in a vector: what most processors have, and half a line of the cache."""
LANES = ir.VectorType(ir.DoubleType(), WIDTH)


def load_lanes(builder: ir.IRBuilder, data: Any, k: Any) -> Any:
    """The vector that begins at the k-th number."""
    place = builder.bitcast(builder.gep(data, [k]), LANES.as_pointer())
    return builder.load(place, align=8)


def spread(builder: ir.IRBuilder, number: Any) -> Any:
    """A number, or a truth, in every lane."""
    found = ir.Constant(ir.VectorType(number.type, WIDTH), ir.Undefined)
    for k in range(WIDTH):
        found = builder.insert_element(found, number, ir.Constant(ir.IntType(32), k))
    return found
