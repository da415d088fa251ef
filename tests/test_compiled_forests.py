"""Compiled adaptive random forests: River's own draws, splits, alarms and probabilities."""

import math
import random
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from river import drift, forest, metrics, preprocessing, tree
from river.utils.random import poisson

from models.compile import compile as compile_model
from models.compiled import _forest, _random
from models.compiled._fleet import FULL, REFUSALS, Fleet
from models.ways import Question
from streamgauge.classes import Classes
from streamgauge.schedule import TARGET, Schedule
from tests.compiled_fleets import SEEDS, by_river, chances, compiled, hostile, scaled
from tests.lessons import lessons, rows_of, told

Classifier = forest.ARFClassifier


def options(seed: int) -> dict[str, Any]:
    """Options under which trees grow and are replaced within some hundred labels."""
    return {
        "seed": seed,
        "n_models": (3, 5, 10)[seed % 3],
        "max_features": ("sqrt", "log2", 3, 0.7, None, -2)[seed % 6],
        "lambda_value": (6, 1)[seed % 4 // 3],
        "disable_weighted_vote": seed % 7 == 3,
        "drift_detector": drift.NoDrift() if seed % 5 == 4 else drift.ADWIN(0.05, clock=4),
        "warning_detector": drift.NoDrift() if seed % 7 == 6 else drift.ADWIN(0.3, clock=4),
        "grace_period": (5, 20, 50)[seed % 3],
        "delta": (0.1, 1e-3, 1e-7)[seed % 4 % 3],
        "tau": (0.05, 0.5)[seed % 2],
        "leaf_prediction": ("nba", "nb", "mc")[seed % 5 % 3],
        "split_criterion": ("info_gain", "gini")[seed % 7 % 2],
        "max_depth": 2 if seed % 8 == 3 else None,
        "merit_preprune": seed % 9 != 0,
        "nb_threshold": seed % 10,
        "splitter": tree.splitter.GaussianSplitter(4) if seed % 11 == 0 else None,
    }


def drifting(seed: int, count: int) -> Schedule:
    """A hostile stream whose classes change their meaning every 400 steps."""
    schedule = hostile(seed, 2_000, parts=4)
    first = schedule.x[:, 0]
    above = np.nan_to_num(first) > np.nanmedian(first)
    schedule.numbers[:, TARGET] = (above + np.arange(schedule.n) // 400) % count
    return schedule


def asked(count: int) -> Question:
    """Which of so many classes, that are their places."""
    return Question("classification", Classes.of(tuple(range(count)), range(count)))


@pytest.mark.parametrize("seed", range(8))
def test_chance_is_pythons(seed: int) -> None:
    """Uniform numbers, counts and samples, of populations small and large, in any order."""
    theirs, choices = random.Random(seed), random.Random(-seed)
    ours = _random.state_of(theirs)
    for _ in range(600):
        n = choices.randrange(1, 150)
        k = choices.choice([0, 1, min(n, 5), min(n, 6), n])
        chosen = np.zeros(k)
        _random.sample(ours, np.arange(n), n, k, chosen)
        assert theirs.sample(range(n), k) == chosen.tolist()
        assert theirs.random() == _random.uniform(ours)
        rate = choices.choice([1, 6, 60])
        assert poisson(rate, theirs) == _random.poisson(ours, math.exp(-rate))


@pytest.mark.parametrize("seeds", SEEDS)
def test_forests_answer_as_rivers_on_hostile_streams(seeds: range) -> None:
    """Every probability of up to four classes, over all options; trees grow and are replaced."""
    told_to = warned = drifted = grown = 0
    for seed in seeds:
        count = 2 + seed % 3
        river: list[Any] = []

        def make(seed: int = seed, river: list[Any] = river) -> Any:
            river.append(Classifier(**options(seed)))
            return scaled(river[-1], seed)

        schedule = drifting(seed, count)
        fleet = compiled(make, question=asked(count))
        fleet.run(schedule)
        river.clear()
        expected = by_river(make, schedule, target=int, answer=chances(count), shape=(count,))
        np.testing.assert_allclose(schedule.parts[:, :count], expected, 1e-9, 1e-15)
        told_to += int(np.isfinite(expected[:, 0]).sum())
        warned += sum(one.n_warnings_detected() for one in river)
        drifted += sum(one.n_drifts_detected() for one in river)
        grown += int(fleet.block.view("used").sum())
    assert told_to > 200 * len(seeds)
    assert warned > 2 * len(seeds)
    assert drifted > 2 * len(seeds)
    assert grown > 20 * len(seeds)


RECORDINGS = {"occupancy_detection.csv.gz": "label", "elec2.csv.gz": "label"}


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize(
    "rows", [pytest.param(1_200, id="some"), pytest.param(20_000, marks=pytest.mark.slow, id="all")]
)
def test_forests_answer_as_rivers_on_real_recordings(name: str, rows: int) -> None:
    """River's defaults: the same classes and the same probabilities, to the end."""
    x, y = told(rows_of(name, rows), RECORDINGS[name])
    count, columns = int(y.max()) + 1, range(x.shape[1])
    schedule = lessons(x, y, count)

    def make() -> Any:
        return preprocessing.StandardScaler() | Classifier(seed=7)

    fleet = compiled(make, columns, question=asked(count))
    fleet.run(schedule)
    expected = by_river(make, schedule, columns, target=int, answer=chances(count), shape=(count,))
    np.testing.assert_allclose(schedule.parts, expected, 1e-9, 1e-15)
    asks = np.isfinite(expected[:, 0])
    ahead = expected[asks].max(axis=1) > np.sort(expected[asks], axis=1)[:, -2]
    likely = expected[asks].argmax(axis=1)
    np.testing.assert_array_equal(schedule.answers[asks][ahead], likely[ahead])


def test_of_classes_that_are_alike_the_first_to_come_is_answered() -> None:
    """As River sums them: the first tree's classes by name, then those of others."""
    river: list[Any] = []

    def make() -> Any:
        river.append(Classifier(2, seed=3, lambda_value=1, leaf_prediction="mc"))
        return river[-1]

    schedule = lessons(np.ones((60, 1)), np.arange(60) % 2, 2)
    fleet = compiled(make, (0,), question=asked(2))
    fleet.run(schedule)
    expected = by_river(make, schedule, (0,), target=int)
    np.testing.assert_array_equal(schedule.answers, expected)


def test_nodes_of_a_tree_that_was_replaced_are_handed_out_again() -> None:
    """After any number of drifts no more nodes were taken than were in use at once."""
    r = np.random.default_rng(1)
    x = r.normal(size=(6_000, 2))
    y = ((x[:, 0] > 0) ^ (np.arange(6_000) // 500 % 2 > 0)).astype(np.int64)
    make = partial(Classifier, 3, seed=1, drift_detector=drift.ADWIN(0.05, clock=4))
    fleet = compiled(make, (0, 1), question=asked(2))
    most = 0
    for start in range(0, 6_000, 100):
        fleet.run(lessons(x[start : start + 100], y[start : start + 100], 2))
        most = max(most, int(fleet.block.view("used")[1]))
    assert fleet.block.view("nodes")[1] <= most + 12
    assert most < 200


def test_a_forest_that_is_full_goes_on_without_splitting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes are bounded, with a place kept for each root; what would have split is counted."""
    monkeypatch.setattr(_forest, "NODES_EACH", 4)
    r = np.random.default_rng(0)
    x = r.normal(size=(4_000, 3))
    y = ((x[:, 0] > 0.0) ^ (x[:, 1] > 0.5) ^ (np.arange(4_000) // 900 % 2 > 0)).astype(np.int64)
    fleet = compiled(lambda: Classifier(5, seed=1), (0, 1, 2), question=asked(2))
    schedule = lessons(x, y, 2)
    fleet.run(schedule)
    assert fleet.block.view("nodes")[1] <= 20
    assert np.isfinite(schedule.answers[::2][1:]).all()
    assert list(fleet.failures) == [REFUSALS[FULL]]


REFUSED = [
    (Classifier, "no seed"),
    (lambda: Classifier(seed=1, metric=metrics.CohenKappa()), "CohenKappa"),
    (lambda: Classifier(seed=1, drift_detector=drift.KSWIN(seed=1)), "neither ADWIN nor NoDrift"),
    (lambda: Classifier(seed=1, drift_detector=drift.ADWIN(max_buckets=7)), "max_buckets"),
    (lambda: Classifier(seed=1, max_features="all"), "max_features 'all'"),
    (lambda: Classifier(seed=1, split_criterion="hellinger"), "hellinger"),
    (lambda: Classifier(seed=1, nominal_attributes=["f0"]), "nominal_attributes"),
]


@pytest.mark.parametrize(("make", "words"), REFUSED, ids=[words for _, words in REFUSED])
def test_what_is_not_compiled_says_why(make: Callable[[], Any], words: str) -> None:
    """Options that have no compiled equivalent are named, and run as River."""
    chosen = compile_model(make, 0, (0,), ("f0",), 4, question=asked(2))
    assert not isinstance(chosen.learner, Fleet)
    assert words in chosen.why
