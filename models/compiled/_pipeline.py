"""What a compiled pipeline may consist of: a scaler, then a clip, then the model."""

from typing import Any

from river import base, compose, preprocessing

from models.clip import Clip
from models.compiled import _scaler

__all__ = ["last", "parts", "steps", "words"]

SCALERS = (
    preprocessing.StandardScaler,
    preprocessing.MinMaxScaler,
    preprocessing.MaxAbsScaler,
    preprocessing.RobustScaler,
)
WINDOWED = preprocessing.StandardScaler


def steps(estimator: Any) -> list[Any]:
    """The steps of a pipeline, or a model alone."""
    return list(estimator.steps.values()) if type(estimator) is compose.Pipeline else [estimator]


def last(estimator: Any) -> Any:
    """The model at the end of a pipeline; of a filter, what it filters."""
    model = steps(estimator)[-1]
    return last(model.anomaly_detector) if isinstance(model, base.AnomalyFilter) else model


def words(estimator: Any) -> str:
    """The steps by name, as a pipeline is written."""
    return " | ".join(map(_word, steps(estimator)))


def _word(step: Any) -> str:
    within = isinstance(step, base.AnomalyFilter)
    name = type(step).__name__
    return f"{name}({words(step.anomaly_detector)})" if within else name


def parts(estimator: Any, *, real: bool = False) -> tuple[Any, Clip | None, Any] | str:
    """(scaler or None, clip or None, model) of a pipeline, or why it has no compiled equivalent.

    A variance over a window that rounding leaves below 0 has a complex root in Python. Such a
    number is refused by a clip, and by River's linear models; of others, `real` ones, it would
    become the weights.
    """
    *before, model = steps(estimator)
    scaler = clip = None
    if before and type(before[0]) in SCALERS:
        scaler = before.pop(0)
    if before and type(before[0]) is Clip:
        clip = before.pop(0)
    if before:
        names = ", ".join(type(step).__name__ for step in before)
        there = ", ".join(scaler.__name__ for scaler in SCALERS)
        return f"only one of {there}, then Clip, may come before the model; found {names}"
    if scaler is not None:
        reason = _scaler.refusal(scaler)
        if reason:
            return f"it has {reason}"
        complex_roots = (
            scaler.window_size and scaler.with_std if type(scaler) is WINDOWED else False
        )
        if real and complex_roots and clip is None:
            return "it has a StandardScaler with a window and no Clip behind it"
    return scaler, clip, model
