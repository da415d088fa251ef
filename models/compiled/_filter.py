"""River's filters around an anomaly detector: what looks strange may not be learned."""

import math
from typing import Any, NamedTuple

from river import anomaly, base, compose

from models.clip import Clip
from models.compiled import _pipeline
from models.compiled._quantile import WIDTH, estimate, learn_value
from streamgauge.arrays import Floats
from streamgauge.kernels import lean
from streamgauge.state import Field

__all__ = [
    "INSIDE",
    "KIND",
    "NONE",
    "SIZE",
    "Filtered",
    "fields_of",
    "lets_pass",
    "parts",
    "remember",
    "settings_of",
]

# Columns of the settings: which filter; its threshold or level; 1 where it protects the detector;
# 1 where the scaler is within it, and learns only what the detector does; at which column of the
# row the markers of its quantile begin.
KIND, LEVEL, PROTECTS, INSIDE, AT, SIZE = range(6)
NONE, THRESHOLD, QUANTILE = range(3)
FILTERS = {anomaly.ThresholdFilter: THRESHOLD, anomaly.QuantileFilter: QUANTILE}


@lean
def lets_pass(settings: Floats, row: Floats, score: float) -> bool:
    """Whether the detector learns a reading with this score."""
    kind, level, protects = int(settings[KIND]), settings[LEVEL], settings[PROTECTS] != 0.0
    if kind == NONE:
        return True
    if kind == THRESHOLD:
        # One that protects nothing teaches nothing either.
        return protects and not score >= level
    if not protects:
        return True
    markers = row[int(settings[AT]) :]
    quantile = estimate(markers, level) if markers[0] != 0.0 else 0.0
    # River takes a quantile of 0 for one that is not known yet.
    return not score >= (quantile if quantile != 0.0 else math.inf)


@lean
def remember(settings: Floats, row: Floats, score: float) -> None:
    """Take the score of what came into the quantile, if there is one.

    A score that is no number is left out: River's quantile ends the whole process over it.
    """
    if settings[KIND] == QUANTILE and score == score:
        learn_value(row[int(settings[AT]) :], settings[LEVEL], score)


class Filtered(NamedTuple):
    """A detector, what stands before it, and the filter around it (each None where there is none).

    `inside`: the filter has the whole pipeline within it.
    """

    rule: Any
    inside: bool
    scaler: Any
    clip: Clip | None
    model: Any


def parts(estimator: Any) -> Filtered | str:
    """The parts of a detector's pipeline, or why it has no compiled equivalent."""
    *before, last = _pipeline.steps(estimator)
    rule = last if isinstance(last, base.AnomalyFilter) else None
    inner = estimator if rule is None else rule.anomaly_detector
    if rule is not None and before:
        if type(inner) is compose.Pipeline:
            return "it has steps both before and within its filter"
        inner = compose.Pipeline(*before, inner)
    if isinstance(_pipeline.steps(inner)[-1], base.AnomalyFilter):
        return "it has a filter within a filter"
    inside = rule is not None and not before
    reason = _refusal(rule)
    if reason:
        return f"it has {reason}"
    found = _pipeline.parts(inner, real=True)
    return found if isinstance(found, str) else Filtered(rule, inside, *found)


def _refusal(rule: Any) -> str:
    """Why this filter, or None, has no compiled equivalent; empty if it has one."""
    if rule is not None and type(rule) not in FILTERS:
        return f"filter {type(rule).__name__}"
    seen = type(rule) is anomaly.QuantileFilter and rule.quantile.get() is not None
    return "a filter that has learned already" if seen else ""


def settings_of(rule: Any, at: int, *, inside: bool = False) -> list[float]:
    """Settings of a filter, or of None, whose part of the row begins at column `at`."""
    kind = FILTERS.get(type(rule), NONE)
    level = rule.q if kind == QUANTILE else rule.threshold if kind == THRESHOLD else 0.0
    return [kind, level, bool(getattr(rule, "protect_anomaly_detector", False)), inside, at]


def fields_of(rule: Any) -> list[Field]:
    """The filter's part of a model's row."""
    return [Field("quantile", (WIDTH,))] if FILTERS.get(type(rule)) == QUANTILE else []
