"""What all compiled Hoeffding trees share: a node's first columns, and the way down to a leaf."""

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel
from streamgauge.state import Field

__all__ = [
    "COLUMNS",
    "DEPTH",
    "INACTIVE",
    "LEFT",
    "NODES_MOST",
    "RIGHT",
    "SPLIT_ON",
    "THRESHOLD",
    "TRIED",
    "WHOLE",
    "fields",
    "leaf_of",
]

NODES_MOST = 1_023
"""Nodes of one tree: a full tree of ten levels. A leaf that would split beyond it goes on as a
leaf; River's own limit is in bytes of Python objects, first looked at after a million labels."""

# Columns of a node: the feature that it splits on, from 1, or 0 for a leaf; where; its children;
# how deep it is; 1 where it learns of features no more; the weight of its labels at the last try to
# split, and now.
SPLIT_ON, THRESHOLD, LEFT, RIGHT, DEPTH, INACTIVE, TRIED, WHOLE = range(8)
COLUMNS = 8


def fields() -> list[Field]:
    """These columns."""
    names = ("split_on", "threshold", "left", "right", "depth", "inactive", "tried", "whole")
    return [Field(name) for name in names]


@kernel
def _weight(nodes: Floats, row: int, k: int) -> float:
    """The labels of all leaves below a node."""
    node = nodes[k, row]
    if node[SPLIT_ON] == 0.0:
        return float(node[WHOLE])
    left = _weight(nodes, row, int(node[LEFT]))
    return left + _weight(nodes, row, int(node[RIGHT]))


@kernel
def leaf_of(nodes: Floats, row: int, root: int, z: Floats, has: Floats) -> tuple[int, bool]:
    """The leaf that an event falls into, and whether every feature asked for was there: where one
    is missing, the child that saw more labels counts."""
    k, known = root, True
    while nodes[k, row, SPLIT_ON] != 0.0:
        node = nodes[k, row]
        j = int(node[SPLIT_ON]) - 1
        left, right = int(node[LEFT]), int(node[RIGHT])
        if has[j] == 0.0:
            known = False
            k = right if _weight(nodes, row, left) < _weight(nodes, row, right) else left
        else:
            k = left if z[j] <= node[THRESHOLD] else right
    return k, known
