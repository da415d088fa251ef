"""What compiled Hoeffding trees of classes share: how a leaf answers and learns, their options."""

from typing import Any

from river.tree.splitter import GaussianSplitter

from models.compiled._class_leaf import (
    BAYES,
    CLASSES,
    GRACE,
    HEADER,
    LEAF,
    MAJORITY,
    MAX_DEPTH,
    NB_FROM,
    VOTES,
    bayes,
    forget,
    learn,
    majority,
)
from models.compiled._class_split import attempt
from models.compiled._python import COMPENSATED as SUMS
from models.compiled._tree import DEPTH, INACTIVE, TRIED, WHOLE
from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["RAISED", "best_of", "chances_of", "options", "refusal", "teach"]

RAISED = -2
"""Instead of a feature to split on: River raises."""
LEAVES = {"mc": 0.0, "nb": 1.0, "nba": 2.0}


@kernel
def chances_of(
    node: Floats, z: Floats, has: Floats, o: Floats, chances: Floats, votes: Floats,
    running: Floats,
) -> bool:  # fmt: skip
    """A leaf's probabilities of all classes; False where River raises."""
    by_bayes = node[INACTIVE] == 0.0 and (
        (o[LEAF] == 2.0 and node[BAYES] >= node[MAJORITY])
        or (o[LEAF] == 1.0 and node[WHOLE] >= o[NB_FROM])
    )
    n = bayes(node, z, has, o, votes, running) if by_bayes else majority(node, o, votes)
    chances[:] = 0.0
    for place in range(n):
        chances[int(node[HEADER + place])] = votes[place]
    return n >= 0


@kernel
def best_of(chances: Floats, seen: Floats, order: Floats, classes: int) -> int:
    """The most probable class that was seen, of those that are alike the first by name; or -1."""
    best = -1
    for c in range(classes):
        if seen[c] != 0.0:
            alike = best >= 0 and chances[c] == chances[best] and order[c] < order[best]
            if best < 0 or chances[c] > chances[best] or alike:
                best = c
    return best


@kernel
def teach(
    node: Floats, z: Floats, has: Floats, known: bool, c: int, w: float, o: Floats, work: Floats,
    running: Floats,
) -> tuple[int, float]:  # fmt: skip
    """A leaf learns a label of weight w. The feature that it should split on then, and where; -1
    where it should not, RAISED where River raises.

    `known` says whether every feature asked for on the way was there; else River does not try.
    """
    if not learn(node, z, has, c, w, o, work[VOTES], running):
        return RAISED, 0.0
    if not known or node[INACTIVE] != 0.0:
        return -1, 0.0
    if node[DEPTH] >= o[MAX_DEPTH]:
        node[INACTIVE] = 1.0
        forget(node, len(z), int(o[CLASSES]))
        return -1, 0.0
    if node[WHOLE] - node[TRIED] < o[GRACE]:
        return -1, 0.0
    j, cut = attempt(node, len(z), o, work, running)
    node[TRIED] = node[WHOLE]
    return j, cut


def options(model: Any, classes: int) -> list[float]:
    """A tree's options, in the order of the columns of `_class_leaf`."""
    return [
        classes,
        model.grace_period,
        model.max_depth,
        model.delta,
        model.tau,
        LEAVES[model.leaf_prediction],
        model.nb_threshold,
        model.splitter.n_splits,
        model.min_branch_fraction,
        model.max_share_to_split,
        model.merit_preprune,
        model.split_criterion == "gini",
        SUMS,
        0.5,
    ]


def refusal(model: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    if model.classes:
        return "a model that has learned already"
    if model.split_criterion == "hellinger":
        return "split_criterion hellinger, which asks for classes named 0 and 1"
    if type(model.splitter) is not GaussianSplitter:
        return f"splitter {type(model.splitter).__name__}"
    if model.nominal_attributes:
        return "nominal_attributes"
    if model.remove_poor_attrs:
        return "remove_poor_attrs"
    if model.stop_mem_management or model.max_size != 100.0:
        return "a limit in bytes of Python objects (max_size, stop_mem_management)"
    return ""
