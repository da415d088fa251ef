"""Anomaly detectors, alone and within filters: compiled, with the scores of River."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from river import anomaly, optim, preprocessing, stats

from models.compile import compile as compile_model
from models.compiled import _half_space
from models.ways import Question
from streamgauge.schedule import STEP, Schedule
from streamgauge.words import Step
from tests.compiled_fleets import FEATURES, SEEDS, by_river, compiled, hostile, scaled

WATCHED = "f1"


def score(model: Any, x: dict[str, float]) -> float:
    """A detector's score of a reading, which it learns after that."""
    try:
        return float(model.score_one(x))
    finally:
        model.learn_one(x)


def score_watched(model: Any, x: dict[str, float]) -> float:
    """The same of one that scores a single channel."""
    y = x.pop(WATCHED, None)
    if y is None:
        return np.nan
    try:
        return float(model.score_one(x, y))
    finally:
        model.learn_one(x, y)


def river_scores(make: Callable[[], Any], schedule: Schedule, watched: str) -> Any:
    """What River answers to a stream."""
    ask = score_watched if watched else score
    return by_river(make, schedule, answer=ask, by_itself=True)


def assert_scores(
    answers: NDArray[np.float64], expected: NDArray[np.float64], asked: NDArray[np.bool_]
) -> int:
    """Scores are River's; how many say something."""
    finite = np.isfinite(expected)
    assert not np.isfinite(answers[asked & ~finite]).any(), "a score where River has none"
    np.testing.assert_allclose(answers[finite], expected[finite], 1e-9, 1e-300)
    return len(np.unique(expected[finite]))


def trees(seed: int, **options: Any) -> Any:
    """Half-space trees of many sizes, small enough that every stream has several windows."""
    limits = {f"f{j}": (-2.0, 3.0) for j in range(FEATURES - seed % 3)}
    sizes = {"n_trees": 1 + seed % 4, "height": 1 + seed % 6, "window_size": 3 + seed % 5 * 6}
    return anomaly.HalfSpaceTrees(**sizes, limits=limits, seed=seed, **options)


def vectors(seed: int) -> Any:
    """One-class support vector machines with many optimisers."""
    rates = (optim.SGD(0.1), optim.Adam(), optim.AdaGrad(), optim.Momentum(), optim.RMSProp())
    first = optim.initializers.Normal(seed=seed) if seed % 3 == 1 else None
    return anomaly.OneClassSVM(
        nu=[0.1, 0.5, 0.9][seed % 3],
        optimizer=rates[seed % 5],
        intercept_lr=[0.01, 0.3][seed % 2],
        clip_gradient=[1e12, 0.5][seed % 2],
        initializer=first,
    )


def within(model: Any, seed: int) -> Any:
    """A scaler, and a filter around the model or around both."""
    pipeline = preprocessing.StandardScaler() | model
    protects = seed % 5 > 0
    # Beyond 1e154 a score is no number, and River's quantile ends the process over one.
    quantile = partial(anomaly.QuantileFilter, q=[0.7, 0.95][seed % 2])
    threshold = partial(anomaly.ThresholdFilter, threshold=[0.5, 0.95][seed % 2])
    make = quantile if seed % 3 and seed % 13 else threshold
    if seed % 4 < 2:
        return make(pipeline, protect_anomaly_detector=protects)
    return preprocessing.StandardScaler() | make(model, protect_anomaly_detector=protects)


GAUSSIAN = partial(anomaly.GaussianScorer, grace_period=5)
ALL: dict[str, tuple[Callable[[int], Any], str]] = {
    "half-space trees": (lambda seed: scaled(trees(seed), seed), ""),
    "half-space trees, filtered": (lambda seed: within(trees(seed), seed), ""),
    "one-class SVM": (lambda seed: scaled(vectors(seed), seed), ""),
    "one-class SVM, filtered": (lambda seed: within(vectors(seed), seed), ""),
    "Gaussian": (lambda seed: GAUSSIAN(), WATCHED),
    "Gaussian in a window": (
        lambda seed: anomaly.GaussianScorer(window_size=1 + seed % 9, grace_period=seed % 3),
        WATCHED,
    ),
    "Gaussian, filtered": (
        lambda seed: anomaly.QuantileFilter(GAUSSIAN(), q=[0.8, 0.95][seed % 2]),
        WATCHED,
    ),
    "from the mean": (lambda seed: anomaly.StandardAbsoluteDeviation(), WATCHED),
    "from the median": (
        lambda seed: anomaly.StandardAbsoluteDeviation(stats.Quantile(0.5)),
        WATCHED,
    ),
    "from the mean, filtered": (
        lambda seed: anomaly.ThresholdFilter(anomaly.StandardAbsoluteDeviation(), threshold=3.0),
        WATCHED,
    ),
}


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("seeds", SEEDS)
def test_detectors_score_as_river(kind: str, seeds: range) -> None:
    """On hostile streams, at most 1e-9 apart; scores that are all alike would show nothing."""
    build, watched = ALL[kind]
    told = 0
    for seed in seeds:
        make, schedule = partial(build, seed), hostile(seed, 2000)
        expected = river_scores(make, schedule, watched)
        compiled(make, question=Question("anomaly", watched=watched)).run(schedule)
        asked = schedule.codes[:, STEP] == Step.PREDICT
        told += assert_scores(schedule.answers, expected, asked)
    assert told > 30 * len(seeds)


def test_trees_of_more_first_features_than_are_kept_are_drawn_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Devices begin with readings of their own features; what is shared is no state of theirs."""
    monkeypatch.setattr(_half_space, "ROOM", 2)
    schedule = hostile(12, 2000)
    r = np.random.default_rng(1)
    schedule.codes[:, [2, 8]] = r.integers(0, 6, (2000, 1))
    schedule.x[:] = np.where(r.random((2000, FEATURES)) < 0.4, np.nan, r.random((2000, FEATURES)))
    schedule.codes[:, STEP] = Step.PREDICT
    make = partial(anomaly.HalfSpaceTrees, n_trees=4, height=5, window_size=20, seed=3)
    expected = river_scores(make, schedule, "")
    compiled(make).run(schedule)
    np.testing.assert_array_equal(schedule.answers, expected)
    assert len(np.unique(expected)) > 100


def test_features_are_drawn_in_the_order_of_their_names() -> None:
    """River sorts names, and "f10" comes before "f2": so do trees here, in whatever columns."""
    inputs = (11, 2, 10, 1, 0, 3, 9)
    schedule = hostile(8, 1000, 12)
    schedule.x[:] = np.random.default_rng(2).random((1000, 12))
    make = partial(anomaly.HalfSpaceTrees, n_trees=5, height=4, window_size=25, seed=9)
    expected = by_river(make, schedule, inputs, answer=score, by_itself=True)
    compiled(make, inputs).run(schedule)
    np.testing.assert_array_equal(schedule.answers, expected)
    assert len(np.unique(expected[np.isfinite(expected)])) > 50


@pytest.mark.parametrize("height", range(1, 16))
def test_every_node_has_a_place_of_its_own(height: int) -> None:
    """And a way down meets as few lines of eight numbers as there are blocks of three levels."""
    places = _half_space.places_of(height)
    assert len(places) == len(np.unique(places)) == 2 ** (height + 1) - 1
    for leaf in range(2**height - 1, 2 ** (height + 1) - 1, 7):
        way, k = [leaf], leaf
        while k:
            k = (k - 1) // 2
            way.append(k)
        assert len(np.unique(places[way] // 8)) == -(-(height + 1) // 3)


def test_a_score_that_is_no_number_leaves_the_quantile_alone() -> None:
    """River's quantile would end the process; here the next reading is scored as before."""
    schedule = Schedule(60, 1)
    schedule.n = 60
    schedule.x[:, 0] = np.random.default_rng(1).normal(size=60)
    schedule.x[20] = 1e308
    schedule.x[21] = -1e308
    make = partial(anomaly.QuantileFilter, anomaly.StandardAbsoluteDeviation(), q=0.5)
    fleet = compiled(make, (0,), question=Question("anomaly", watched="f0"))
    fleet.run(schedule)
    markers = fleet.block.view("quantile")[0]
    assert np.isfinite(markers).all()
    assert markers[0] > 5


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (anomaly.HalfSpaceTrees, "no seed"),
    (partial(anomaly.HalfSpaceTrees, seed=1, height=16), "a height above 15"),
    (partial(anomaly.HalfSpaceTrees, seed=1, n_trees=0), "no whole numbers above 0"),
    (partial(anomaly.HalfSpaceTrees, seed=1, window_size=2**26), "a window_size above"),
    (partial(anomaly.HalfSpaceTrees, seed=1, limits={"f0": (1.0, 1.0)}), "limits"),
    (partial(anomaly.HalfSpaceTrees, seed=1, limits={"f0": (1e16, 1e16 + 4)}), "limits"),
    (lambda: _taught(anomaly.HalfSpaceTrees(seed=1)), "learned already"),
    (lambda: _taught(anomaly.OneClassSVM()), "learned already"),
    (lambda: anomaly.ThresholdFilter(_filtered(), threshold=1.0), "a filter within a filter"),
    (
        lambda: (
            preprocessing.MinMaxScaler()
            | anomaly.QuantileFilter(preprocessing.MinMaxScaler() | anomaly.OneClassSVM(), q=0.5)
        ),
        "both before and within its filter",
    ),
    (
        lambda: preprocessing.MinMaxScaler() | anomaly.GaussianScorer(),
        "at the watched feature alone",
    ),
    (anomaly.GaussianScorer, "watched feature"),
]


def _taught(model: Any) -> Any:
    model.learn_one({"f0": 0.5})
    return model


def _filtered() -> Any:
    return anomaly.QuantileFilter(anomaly.OneClassSVM(), q=0.5)


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_refuses_what_it_would_not_score_alike(make: Callable[[], Any], reason: str) -> None:
    """Such a detector runs as River, and the reason is told."""
    chosen = compile_model(make, 0, (0, 1), ("f0", "f1"), 4, question=Question("anomaly"))
    assert not chosen.compiled
    assert reason in chosen.why


def test_what_is_within_a_filter_is_told() -> None:
    """The words of the choice name the filter and the detector."""
    make = partial(within, vectors(1), 2)
    chosen = compile_model(make, 0, (0,), ("f0",), 4, question=Question("anomaly"))
    assert chosen.why.endswith("StandardScaler | QuantileFilter(OneClassSVM)")
