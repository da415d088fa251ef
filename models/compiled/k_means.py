"""Sequential k-means: each reading moves the centre that it is closest to.

River walks a set of feature names to sum distances and to draw where centres begin. The order of a
set of words is another one in each Python process, so River's own clusters differ from run to run,
seed or not. Here the order is that of the inputs, the one in which River takes features whose names
are small numbers: of those the clusters are equal, and a replay gives what the live run gave.
"""

import math
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
from river import cluster

from models.compiled import _pipeline, _scaler
from models.compiled._fleet import OVERFLOW, UNREAL, Fleet
from models.compiled._python import COMPENSATED, overflowed, plus, summed
from models.learner import Estimator
from streamgauge.arrays import Floats, Ints
from streamgauge.kernels import kernel
from streamgauge.schedule import LANE, MODEL, STEP
from streamgauge.state import Field, Keys
from streamgauge.words import Step

__all__ = ["MODELS", "build"]

MODELS = (cluster.KMeans,)
PREDICT = int(Step.PREDICT)
# Columns of a model's row: how many numbers were drawn, then the centres, then which of their
# features have a place.
DRAWN, CENTRES = range(2)
# Columns of the settings, behind those of the scaler.
CLUSTERS, HALFLIFE, POWER, TWO, SUMS = range(5)


@kernel
def _distance(
    row: Floats, o: Floats, draws: Floats, c: int, z: Floats, has: Floats, running: Floats
) -> tuple[float, bool]:
    """From a centre, to the power of p; whether River raises OverflowError.

    A feature that is new to the centre is drawn, one that is missing from the reading counts as 0.
    """
    f = len(z)
    centres = CENTRES + c * f
    known = CENTRES + int(o[CLUSTERS]) * f + c * f
    running[0] = running[1] = 0.0
    for j in range(f):
        if row[known + j] == 0.0:
            if has[j] == 0.0:
                continue
            row[known + j] = 1.0
            row[centres + j] = draws[int(row[DRAWN])]
            row[DRAWN] += 1.0
        apart = abs(row[centres + j] - (z[j] if has[j] != 0.0 else 0.0))
        power = apart ** o[POWER]
        if overflowed(apart, power):
            return math.nan, True
        plus(running, power, o[SUMS])
    return summed(running), False


@kernel
def _closest(row: Floats, o: Floats, draws: Floats, z: Floats, has: Floats, running: Floats) -> int:
    """The centre that is closest, the first of several; -1 where River raises."""
    found, least = 0, math.nan
    for c in range(int(o[CLUSTERS])):
        distance, too_large = _distance(row, o, draws, c, z, has, running)
        if too_large:
            return -1
        if c == 0 or distance < least:
            found, least = c, distance
    return found


@kernel
def _apart(
    row: Floats, o: Floats, c: int, z: Floats, at: Ints, m: int, running: Floats
) -> tuple[float, bool]:
    """How far the reading is from the centre, as we tell it; whether it is too far for Python."""
    f, known = len(z), 0.0
    for j in range(f):
        known += row[CENTRES + int(o[CLUSTERS]) * f + c * f + j]
    if known == 0.0:
        return math.nan, False
    running[0] = running[1] = 0.0
    for k in range(m):
        apart = z[at[k]] - row[CENTRES + c * f + at[k]]
        square = apart ** o[TWO]
        if overflowed(apart, square):
            return math.nan, True
        plus(running, square, o[SUMS])
    return math.sqrt(summed(running)), False


@kernel
def _other(row: Floats, o: Floats, c: int, z: Floats, at: Ints, m: int, running: Floats) -> float:
    """How far the reading is from the nearest centre that is not c; NaN where there is none."""
    found = math.nan
    for k in range(int(o[CLUSTERS])):
        if k != c:
            apart, _ = _apart(row, o, k, z, at, m, running)
            if apart == apart and not found <= apart:
                found = apart
    return found


@kernel
def _learn(row: Floats, o: Floats, c: int, z: Floats, at: Ints, m: int) -> None:
    centre = row[CENTRES + c * len(z) :]
    for k in range(m):
        centre[at[k]] += o[HALFLIFE] * (z[at[k]] - centre[at[k]])


@kernel
def _run(
    codes: Ints, numbers: Floats, x: Floats, answers: Floats, parts: Floats, state: Floats,
    draws: Floats, settings: Floats, refusals: Ints, lane: int, n: int,
) -> None:  # fmt: skip
    f = int(settings[_scaler.F])
    o = settings[_scaler.HEADER + f :]
    z, has, running, at = np.empty(f), np.empty(f), np.empty(2), np.empty(f + 1, np.int64)
    for i in range(n):
        if codes[i, LANE] != lane or codes[i, STEP] != PREDICT:
            continue
        row = state[codes[i, MODEL]]
        m = _scaler.scale(row, x[i], settings, False, z, at)
        has[:] = 0.0
        for k in range(m):
            has[at[k]] = 1.0
        group, unreal, too_large = -1, at[f] != 0, False
        distance = other = math.nan
        if not unreal:
            group = _closest(row, o, draws, z, has, running)
            too_large = group < 0
        if group >= 0:
            distance, too_large = _apart(row, o, group, z, at, m, running)
            other = _other(row, o, group, z, at, m, running)
        _scaler.scale(row, x[i], settings, True, z, at)
        own = _closest(row, o, draws, z, has, running) if at[f] == 0 else -1
        if own >= 0:
            _learn(row, o, own, z, at, m)
        unreal |= at[f] != 0
        told = own >= 0 and not (unreal or too_large)
        if not told:
            refusals[UNREAL if unreal else OVERFLOW] += 1
        answers[i] = group if told else math.nan
        for k in range(parts.shape[1]):
            parts[i, k] = math.nan
            if told and k < 2:
                parts[i, k] = distance if k == 0 else other


def build(
    estimator: Estimator,
    lane: int,
    inputs: Sequence[int],
    names: Sequence[str],
    capacity: int,
    keys: Keys,
) -> Fleet | str:
    """The compiled fleet of this pipeline, or why there is none; see `models.compile`."""
    parts = _pipeline.parts(estimator, real=True)
    if isinstance(parts, str):
        return parts
    scaler, clip, model = parts
    reason = _refusal(model)
    if reason:
        return f"it has {reason}"
    f, clusters = len(inputs), model.n_clusters
    fields = [Field("drawn"), Field("centre", (clusters, f)), Field("known", (clusters, f))]
    width = sum(field.size for field in fields)
    settings = [
        *_scaler.settings_of(scaler, clip, inputs, width),
        *(clusters, model.halflife, model.p, 2.0, COMPENSATED),
    ]
    fields += _scaler.fields_of(scaler, f)
    rng = random.Random(model.seed)
    draws = np.array([rng.gauss(model.mu, model.sigma) for _ in range(clusters * f)])
    return Fleet(_run, fields, settings, lane, capacity, keys, shared=(draws,))


def _refusal(model: Any) -> str:
    """The first option that has no compiled equivalent, in words; empty if all have one."""
    if any(model.centers.values()):
        return "a model that has learned already"
    if model.seed is None:
        return "no seed, so that no two models begin alike"
    if not (type(model.n_clusters) is int and model.n_clusters > 0):
        return f"n_clusters {model.n_clusters!r}"
    if not model.p > 0:
        return f"p {model.p!r}"
    return ""
