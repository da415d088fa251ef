"""k-means: compiled, with River's clusters of features whose names have an order."""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import pytest
from river import cluster

from models.compile import compile as compile_model
from models.river_fleet import RiverFleet
from models.ways import Question, way_of
from streamgauge.schedule import STEP, Schedule
from streamgauge.words import Step
from tests.compiled_fleets import FEATURES, SEEDS, compiled, hostile, scaled

QUESTION = Question("clustering")
NUMBERED: Any = tuple(range(FEATURES))
"""Names that a set of River's has in order, as it has no words."""


def centres(seed: int) -> Any:
    """Behind a scaler of any kind or bare, few centres and many, near and far."""
    model = cluster.KMeans(
        n_clusters=1 + seed % 6, halflife=[0.5, 0.1, 0.9][seed % 3],
        mu=seed % 2, sigma=[1, 3.0][seed % 2], p=[2, 1, 3, 1.5][seed % 4], seed=seed,
    )  # fmt: skip
    return scaled(model, seed)


@pytest.mark.parametrize("seeds", SEEDS)
def test_clusters_are_rivers(seeds: range) -> None:
    """The cluster of each reading, and the distances of its centre and of the nearest other one, on
    hostile streams."""
    told = others = 0
    for seed in seeds:
        ours, theirs = (hostile(seed, 2000, parts=2) for _ in range(2))
        make = partial(centres, seed)
        RiverFleet(make, 0, NUMBERED, NUMBERED, way=way_of(QUESTION, make)).run(theirs)
        compiled(make, question=QUESTION).run(ours)
        asked = ours.codes[:, STEP] == Step.PREDICT
        np.testing.assert_array_equal(ours.answers[asked], theirs.answers[asked])
        np.testing.assert_allclose(ours.parts[asked], theirs.parts[asked], 1e-9, 1e-300)
        answers = theirs.answers[asked]
        others += int(np.isfinite(theirs.parts[asked][:, 1]).sum())
        told += len(np.unique(answers[np.isfinite(answers)]))
    assert told > 2 * len(seeds)
    assert others > 100 * len(seeds)


def test_a_second_run_finds_the_same_clusters() -> None:
    """Words for names change nothing: the order is that of the inputs, whatever the process."""
    first, second = (hostile(2, 500, parts=2) for _ in range(2))
    for schedule, names in ((first, "abcdef"), (second, "uvwxyz")):
        chosen = compile_model(partial(centres, 2), 0, range(6), tuple(names), 6)
        chosen.learner.run(schedule)
    np.testing.assert_array_equal(first.answers, second.answers)
    assert len(np.unique(first.answers[np.isfinite(first.answers)])) > 1


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (cluster.KMeans, "no seed"),
    (partial(cluster.KMeans, 0, seed=1), "n_clusters 0"),
    (partial(cluster.KMeans, p=0, seed=1), "p 0"),
    (lambda: _taught(cluster.KMeans(seed=1)), "learned already"),
]


def _taught(model: Any) -> Any:
    model.learn_one({0: 0.5})
    return model


@pytest.mark.parametrize(("make", "reason"), REFUSED, ids=[reason for _, reason in REFUSED])
def test_refuses_what_it_would_not_cluster_alike(make: Callable[[], Any], reason: str) -> None:
    """Such a model runs as River, and the reason is told."""
    chosen = compile_model(make, 0, (0, 1), ("f0", "f1"), 4, question=QUESTION)
    assert not chosen.compiled
    assert reason in chosen.why


def test_a_reading_without_features_has_a_cluster_and_no_distance() -> None:
    """The first of all centres, as none is known to be closer; River says the same."""
    schedule = Schedule(1, FEATURES, 2)
    schedule.n = 1
    schedule.x[:] = np.nan
    compiled(partial(centres, 2), question=QUESTION).run(schedule)
    assert schedule.answers[0] == 0.0
    assert np.isnan(schedule.parts[0]).all()
