"""Compiled Hoeffding trees: River's own splits, thresholds, probabilities and predictions."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import linear_model, optim, preprocessing, tree

from models.compile import compile as compile_model
from models.compiled import _places, hoeffding_tree, hoeffding_tree_regressor
from models.compiled._fleet import FULL, REFUSALS, Fleet
from models.compiled._tree import LEFT, RIGHT, SPLIT_ON, THRESHOLD
from models.ways import Question
from streamgauge.classes import Classes
from streamgauge.state import Keys
from tests.compiled_fleets import FEATURES, SEEDS, by_river, chances, classes, hostile, scaled
from tests.lessons import lessons, numbers, rows_of, told

Classifier, Regressor = tree.HoeffdingTreeClassifier, tree.HoeffdingTreeRegressor


def compiled(make: Callable[[], Any], features: int, count: int = 0) -> Fleet:
    """The compiled fleet of four devices; of a regressor without a count of classes."""
    given = (make(), 0, range(features), [f"f{j}" for j in range(features)], 4, Keys.DEVICE)
    fleet = (
        hoeffding_tree.build(*given, classes=count)
        if count
        else hoeffding_tree_regressor.build(*given)
    )
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


def numeric_options(seed: int) -> dict[str, Any]:
    """The same for trees of numbers."""
    splitters = (None, tree.splitter.EBSTSplitter(), tree.splitter.TEBSTSplitter(2))
    leaf = linear_model.LinearRegression(optim.SGD(0.02), l2=0.1, intercept_init=1.0)
    return {
        "grace_period": (5, 20, 50)[seed % 3],
        "delta": (0.1, 1e-3, 1e-7)[seed % 4 % 3],
        "tau": (0.05, 0.5)[seed % 2],
        "leaf_prediction": ("adaptive", "mean", "model")[seed % 5 % 3],
        "leaf_model": leaf if seed % 10 == 0 else None,
        "model_selector_decay": (0.95, 0.5)[seed % 4 // 2],
        "max_depth": 2 if seed % 8 == 3 else None,
        "merit_preprune": seed % 9 != 0,
        "min_samples_split": (5, 1)[seed % 2],
        "splitter": splitters[seed % 7 % 3],
    }


@pytest.mark.parametrize("seeds", SEEDS)
def test_trees_of_numbers_answer_as_rivers_on_hostile_streams(seeds: range) -> None:
    """Every prediction, over all options; and trees do grow."""
    asked = grown = 0
    for seed in seeds:

        def make(seed: int = seed) -> Any:
            return scaled(Regressor(**numeric_options(seed)), seed)

        schedule = hostile(seed, 2_000)
        fleet = compiled(make, FEATURES)
        fleet.run(schedule)
        asked += assert_alike(schedule.answers, by_river(make, schedule))
        grown += int(fleet.block.view("nodes").sum())
    assert asked > 200 * len(seeds)
    assert grown > 8 * len(seeds)


def assert_alike(answers: NDArray[np.float64], expected: NDArray[np.float64]) -> int:
    """Within 1e-9 wherever River's answer is a number, and no number elsewhere; how many."""
    finite = np.isfinite(expected)
    assert not np.isfinite(answers[~finite]).any(), "an answer where River has none"
    np.testing.assert_allclose(answers[finite], expected[finite], 1e-9, 1e-300)
    return int(finite.sum())


@pytest.mark.parametrize("digits", [0, 1, 2, 3, 6, 12])
def test_values_are_rounded_as_python_rounds(digits: int) -> None:
    """The exact decimal value decides, half to even, whatever the size of the number."""
    r = np.random.default_rng(digits)
    values = [
        *r.normal(size=500),
        *(r.normal(size=500) * 10.0 ** r.integers(-8, 17, 500)),
        *np.round(r.normal(size=500), digits + 1),
        *((2 * r.integers(-9_999, 9_999, 500) + 1) / 2 / 10.0**digits),
        *(0.0, -0.0, 0.25, 0.35, -0.05, 0.15, 2.675, 1e16, 1e200, -np.inf),
    ]
    ours = [_places.rounded(v, 10.0**digits) for v in values]
    assert [repr(v) for v in ours] == [repr(round(float(v), digits)) for v in values]


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
    x, y = told(rows_of(name, rows), label)
    count = int(y.max()) + 1
    schedule, river = lessons(x, y, count), []

    def make() -> Any:
        kind = Classifier(grace_period=50, delta=1e-3, tau=0.1)
        river.append(preprocessing.StandardScaler() | kind)
        return river[-1]

    fleet = compiled(make, x.shape[1], count)
    fleet.run(schedule)
    expected = by_river(
        make, schedule, range(x.shape[1]), target=int, answer=chances(count), shape=(count,)
    )
    np.testing.assert_allclose(schedule.parts, expected, 1e-9, 1e-15)
    wanted = rivers_splits(river[-1].steps["HoeffdingTreeClassifier"]._root)
    assert our_splits(fleet.blocks["nodes"].stack[:, 1]) == wanted
    assert len(wanted) > least


FORECASTS = {
    "beijing_air.csv.gz": "PM2.5",
    "vic_electricity.csv.gz": "demand",
}


@pytest.mark.parametrize("name", FORECASTS)
@pytest.mark.parametrize(
    "rows", [pytest.param(3_000, id="some"), pytest.param(15_000, marks=pytest.mark.slow, id="all")]
)
def test_trees_of_numbers_split_as_rivers_on_real_recordings(name: str, rows: int) -> None:
    """The same features at the very same values; predictions alike, missing values or not."""
    names, x = numbers(rows_of(name, rows))
    y = x[1:, names.index(FORECASTS[name])]
    there = np.isfinite(y)
    schedule, river = lessons(x[:-1][there], y[there]), []

    def make() -> Any:
        kind = Regressor(grace_period=100, delta=1e-3, tau=0.1)
        river.append(preprocessing.StandardScaler() | kind)
        return river[-1]

    fleet = compiled(make, x.shape[1])
    fleet.run(schedule)
    expected = by_river(make, schedule, range(x.shape[1]))
    assert assert_alike(schedule.answers, expected) > 2_000
    wanted = rivers_splits(river[-1].steps["HoeffdingTreeRegressor"]._root)
    assert our_splits(fleet.blocks["nodes"].stack[:, 1]) == wanted
    assert len(wanted) > 10


def test_a_tree_that_is_full_goes_on_without_splitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are bounded; what would have split is counted."""
    monkeypatch.setattr(hoeffding_tree, "NODES_MOST", 5)
    r = np.random.default_rng(0)
    x = r.normal(size=(4_000, 3))
    y = ((x[:, 0] > 0.0) ^ (x[:, 1] > 0.5) ^ (x[:, 2] > -0.5)).astype(np.int64)
    fleet = compiled(lambda: Classifier(grace_period=20, delta=0.1, tau=0.5), 3, 2)
    schedule = lessons(x, y, 2)
    fleet.run(schedule)
    assert fleet.block.view("nodes")[1] == 5
    assert sum(fleet.failures.values()) > 0
    assert np.isfinite(schedule.answers[::2][1:]).all()
    assert list(fleet.failures) == [REFUSALS[FULL]]


@pytest.mark.parametrize(
    ("declared", "learned", "first"),
    [((), [], 0), (("UP", "DOWN"), [], 1), ((), [3.0, 1.0], 1), ((False, True), [], 0)],
)
def test_of_classes_that_are_alike_the_first_by_name_is_answered(
    declared: tuple[str, ...], learned: list[float], first: int
) -> None:
    """As River sorts them, in whatever order they were declared or came."""
    classes_there = Classes.of(declared, range(len(declared)), 2)
    classes_there.learned[: 1 + len(learned)] = [len(learned), *learned]
    question = Question("classification", classes_there) if declared or learned else Question()
    chosen = compile_model(
        lambda: Classifier(leaf_prediction="mc"), 0, (0,), ("f0",), 4, question=question
    )
    schedule = lessons(np.ones((3, 1)), np.array([0, 1, 0]), 2)
    chosen.learner.run(schedule)
    assert schedule.parts[4].tolist() == [0.5, 0.5]
    assert schedule.answers[4] == first


REFUSED = [
    (lambda: Classifier(split_criterion="hellinger"), "hellinger"),
    (lambda: Classifier(splitter=tree.splitter.HistogramSplitter()), "HistogramSplitter"),
    (lambda: Classifier(nominal_attributes=["f0"]), "nominal_attributes"),
    (lambda: Classifier(remove_poor_attrs=True), "remove_poor_attrs"),
    (lambda: Classifier(max_size=0.1), "max_size"),
    (lambda: Classifier(stop_mem_management=True), "stop_mem_management"),
    (lambda: Regressor(splitter=tree.splitter.QOSplitter()), "QOSplitter"),
    (lambda: Regressor(splitter=tree.splitter.TEBSTSplitter(-1)), "-1 digits"),
    (lambda: Regressor(leaf_model=linear_model.PARegressor()), "PARegressor"),
    (lambda: Regressor(leaf_model=linear_model.LinearRegression(optim.Adam())), "Adam"),
    (lambda: Regressor(max_size=3), "max_size"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_not_compiled_says_why(make: Callable[[], Any], words: str) -> None:
    """Options that have no compiled equivalent are named, and run as River."""
    chosen = compile_model(make, 0, (0,), ("f0",), 4)
    assert not chosen.compiled
    assert words in chosen.why
