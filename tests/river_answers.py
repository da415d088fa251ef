"""What River and numba say where they use SciPy, SQLAlchemy or BLAS."""

from collections.abc import Iterator
from typing import Any

import numba
import numpy as np
import pandas as pd
import sqlalchemy
from river import drift, linear_model, naive_bayes, preprocessing, proba, stream, tree

__all__ = ["answers"]

RNG = np.random.default_rng(1)
POINTS = [{"a": a, "b": b} for a, b in RNG.normal(0.0, 1.0, (300, 2)).tolist()]
LINES = ({"pump": 2, "on": 1}, {"pump": 1, "off": 1}, {"error": 3})


@numba.njit
def product(a: Any, b: Any) -> float:
    """By BLAS."""
    return float(np.dot(a, b))


def answers() -> Iterator[Any]:
    """An answer for each library."""
    joint = proba.MultivariateGaussian(seed=1)
    kswin = drift.KSWIN(seed=1)
    for k, x in enumerate(POINTS):
        joint.update(x)
        kswin.update(x["a"] + (k > 200))
    yield joint(POINTS[0]), joint.cdf(POINTS[1]), kswin.p_value
    signs = [x["a"] + 0.3 * x["b"] > 0 for x in POINTS]
    for model in (tree.SGTClassifier(grace_period=20), linear_model.LogisticRegression()):
        for x, sign in zip(POINTS, signs, strict=True):
            model.learn_one(x, sign)
        yield [model.predict_proba_one(x) for x in POINTS[:5]]
    counts = pd.DataFrame(RNG.integers(0, 5, (40, 3)), columns=list("abc"), dtype="Sparse[int64]")
    many = naive_bayes.MultinomialNB()
    many.learn_many(counts, pd.Series(RNG.random(40) < 0.5))
    yield many.predict_proba_many(counts[:3]).to_numpy().tolist()
    topics = preprocessing.LDA(n_components=2, number_of_documents=4, seed=1)
    for line in LINES:
        topics.learn_one(line)
        yield topics.transform_one(line)
    with sqlalchemy.create_engine("sqlite://").connect() as connection:
        yield list(stream.iter_sql("SELECT 1 AS a, 2 AS b", connection, target_name="b"))
    yield product(np.arange(3.0), np.arange(3.0))
