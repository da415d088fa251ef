"""What a compiled pipeline may consist of: a scaler, then a clip, then the model."""

from typing import Any

from river import compose, preprocessing

from models.clip import Clip
from models.compiled import _scaler

__all__ = ["last", "parts", "words"]

SCALERS = (
    preprocessing.StandardScaler,
    preprocessing.MinMaxScaler,
    preprocessing.MaxAbsScaler,
    preprocessing.RobustScaler,
)
WINDOWED = preprocessing.StandardScaler


def _steps(estimator: Any) -> list[Any]:
    return list(estimator.steps.values()) if type(estimator) is compose.Pipeline else [estimator]


def last(estimator: Any) -> Any:
    """The model at the end of a pipeline."""
    return _steps(estimator)[-1]


def words(estimator: Any) -> str:
    """The steps by name, as a pipeline is written."""
    return " | ".join(type(step).__name__ for step in _steps(estimator))


def parts(estimator: Any, *, real: bool = False) -> tuple[Any, Clip | None, Any] | str:
    """(scaler or None, clip or None, model) of a pipeline, or why it has no compiled equivalent.

    A variance over a window that rounding leaves below 0 has a complex root in Python. Such a
    number is refused by a clip, and by River's linear models; of others, `real` ones, it would
    become the weights.
    """
    *steps, model = _steps(estimator)
    scaler = clip = None
    if steps and type(steps[0]) in SCALERS:
        scaler = steps.pop(0)
    if steps and type(steps[0]) is Clip:
        clip = steps.pop(0)
    if steps:
        names = ", ".join(type(step).__name__ for step in steps)
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
