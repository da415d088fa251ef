"""Compiled Hoeffding trees: River's own splits, thresholds and probabilities."""

import csv
import gzip
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import preprocessing, tree

from models.compiled import hoeffding_tree
from models.compiled._fleet import FULL, REFUSALS, Fleet
from models.compiled._tree import LEFT, RIGHT, SPLIT_ON, THRESHOLD
from streamgauge.schedule import MODEL, ROW, STEP, TARGET, Schedule
from streamgauge.state import Keys
from tests.compiled_fleets import FEATURES, SEEDS, by_river, chances, classes, hostile, scaled
from tests.recordings import recording

Classifier = tree.HoeffdingTreeClassifier


def compiled(make: Callable[[], Any], features: int, count: int) -> Fleet:
    """The compiled fleet of four devices."""
    names = [f"f{j}" for j in range(features)]
    fleet = hoeffding_tree.build(make(), 0, range(features), names, 4, Keys.DEVICE, classes=count)
    assert isinstance(fleet, Fleet), fleet
    fleet.block.open_device(np.arange(4))
    return fleet


def options(seed: int) -> dict[str, Any]:
    """Options under which a tree grows within some hundred labels."""
    return {
        "grace_period": (5, 20, 50)[seed % 3],
        "delta": (0.1, 1e-3, 1e-7)[seed % 4 % 3],
        "tau": (0.05, 0.5)[seed % 2],
        "leaf_prediction": ("nba", "nb", "mc")[seed % 5 % 3],
        "split_criterion": ("info_gain", "gini")[seed % 7 % 2],
        "max_depth": 2 if seed % 8 == 3 else None,
        "merit_preprune": seed % 9 != 0,
        "nb_threshold": seed % 10,
        "splitter": tree.splitter.GaussianSplitter(4) if seed % 11 == 0 else None,
        "max_share_to_split": 0.8 if seed % 6 == 0 else 0.99,
    }


@pytest.mark.parametrize("seeds", SEEDS)
def test_trees_answer_as_rivers_on_hostile_streams(seeds: range) -> None:
    """Every probability of up to four classes, over all options; and trees do grow."""
    asked = grown = 0
    for seed in seeds:
        count = 2 + seed % 3

        def make(seed: int = seed) -> Any:
            return scaled(Classifier(**options(seed)), seed)

        schedule = classes(hostile(seed, 2_000, parts=4), seed, count)
        fleet = compiled(make, FEATURES, count)
        fleet.run(schedule)
        expected = by_river(make, schedule, target=int, answer=chances(count), shape=(count,))
        np.testing.assert_allclose(schedule.parts[:, :count], expected, 1e-9, 1e-15)
        asked += int(np.isfinite(expected[:, 0]).sum())
        grown += int(fleet.block.view("nodes").sum())
    assert asked > 200 * len(seeds)
    assert grown > 4 * len(seeds)


def numbers(name: str, label: str, rows: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The numeric columns of a recording's complete rows, and the places of their labels."""
    with gzip.open(recording(name), "rt") as file:
        given = [row for row, _ in zip(csv.DictReader(file), range(rows), strict=False)]
    skipped = {"device", "time", label, "split"}
    columns = [name for name in given[0] if name not in skipped and _is_number(given[0][name])]
    x = np.array([[float(row[name] or "nan") for name in columns] for row in given])
    places: dict[str, int] = {}
    y = np.array([places.setdefault(row[label], len(places)) for row in given])
    return x, y


def _is_number(text: str) -> bool:
    try:
        float(text or "nan")
    except ValueError:
        return False
    return True


def lessons(x: NDArray[np.float64], y: NDArray[np.int64]) -> Schedule:
    """A prediction and then the label of every row, of one device."""
    n, features = x.shape
    made = Schedule(2 * n, features, int(y.max()) + 1)
    made.n = 2 * n
    made.x[:] = np.repeat(x, 2, axis=0)
    made.numbers[:, TARGET] = np.repeat(y, 2)
    made.codes[:, STEP] = np.arange(2 * n) % 2
    made.codes[:, ROW] = made.codes[:, MODEL] = 1
    return made


def rivers_splits(node: Any) -> list[Any]:
    """Feature and threshold of every branch, depth first."""
    if not hasattr(node, "threshold"):
        return ["leaf"]
    left, right = node.children
    own = (int(node.feature[1:]), node.threshold)
    return [own, *rivers_splits(left), *rivers_splits(right)]


def our_splits(nodes: NDArray[np.float64], k: int = 0) -> list[Any]:
    """The same, of one device's nodes."""
    node = nodes[k]
    if node[SPLIT_ON] == 0.0:
        return ["leaf"]
    own = (int(node[SPLIT_ON]) - 1, float(node[THRESHOLD]))
    return [own, *our_splits(nodes, int(node[LEFT])), *our_splits(nodes, int(node[RIGHT]))]


RECORDINGS = {
    "occupancy_detection.csv.gz": ("label", 10),
    "elec2.csv.gz": ("label", 10),
    "steel_energy.csv.gz": ("label", 5),
}


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize(
    "rows", [pytest.param(4_000, id="some"), pytest.param(40_000, marks=pytest.mark.slow, id="all")]
)
def test_trees_split_as_rivers_on_real_recordings(name: str, rows: int) -> None:
    """The same features at the very same thresholds; probabilities alike, missing values or not."""
    label, least = RECORDINGS[name]
    x, y = numbers(name, label, rows)

    def make() -> Any:
        return preprocessing.StandardScaler() | Classifier(grace_period=50, delta=1e-3, tau=0.1)

    schedule, river = lessons(x, y), []

    def keep() -> Any:
        river.append(make())
        return river[-1]

    count = schedule.parts.shape[1]
    fleet = compiled(make, x.shape[1], count)
    fleet.run(schedule)
    expected = by_river(
        keep, schedule, range(x.shape[1]), target=int, answer=chances(count), shape=(count,)
    )
    np.testing.assert_allclose(schedule.parts, expected, 1e-9, 1e-15)
    wanted = rivers_splits(river[0].steps["HoeffdingTreeClassifier"]._root)
    assert our_splits(fleet.blocks["nodes"].stack[:, 1]) == wanted
    assert len(wanted) > least


def test_a_tree_that_is_full_goes_on_without_splitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are bounded; what would have split is counted."""
    monkeypatch.setattr(hoeffding_tree, "NODES_MOST", 5)
    r = np.random.default_rng(0)
    x = r.normal(size=(4_000, 3))
    y = ((x[:, 0] > 0.0) ^ (x[:, 1] > 0.5) ^ (x[:, 2] > -0.5)).astype(np.int64)
    fleet = compiled(lambda: Classifier(grace_period=20, delta=0.1, tau=0.5), 3, 2)
    schedule = lessons(x, y)
    fleet.run(schedule)
    assert fleet.block.view("nodes")[1] == 5
    assert sum(fleet.failures.values()) > 0
    assert np.isfinite(schedule.answers[::2][1:]).all()
    assert list(fleet.failures) == [REFUSALS[FULL]]


REFUSED = [
    (lambda: Classifier(split_criterion="hellinger"), "hellinger"),
    (lambda: Classifier(splitter=tree.splitter.HistogramSplitter()), "HistogramSplitter"),
    (lambda: Classifier(nominal_attributes=["f0"]), "nominal_attributes"),
    (lambda: Classifier(remove_poor_attrs=True), "remove_poor_attrs"),
    (lambda: Classifier(max_size=0.1), "max_size"),
    (lambda: Classifier(stop_mem_management=True), "stop_mem_management"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_not_compiled_says_why(make: Callable[[], Any], words: str) -> None:
    """Options that have no compiled equivalent are named, and run as River."""
    reason = hoeffding_tree.build(make(), 0, (0,), ("f0",), 4, Keys.DEVICE)
    assert isinstance(reason, str)
    assert words in reason
