"""Outliers by z-score: many standard deviations from the mean of the recent values."""

from stream_processor.clean.outlier._policy import Action
from stream_processor.clean.outlier._windowed import ZSCORE, watch_window
from stream_processor.operator import Operator
from streamgauge.schema import Schema

__all__ = ["build"]


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    window: int = 50,
    limit: float = 5.0,
    action: Action = "replace",
    accept_after: int = 10,
    ready_after: int = 15,
    steps: float = 8.0,
) -> Operator:
    """Values far from the mean of the recent usual ones are outliers.

    - `window`: usual values of the device that the band rests on
    - `limit`: standard deviations (with n - 1) from the mean
    - `action`: flag | drop | clip (edge of the band) | winsorize (5 or 95 % quantile of the window)
      | replace (middle of the band)
    - `accept_after`: so many values in a row on one side are a new level, not outliers
    - `ready_after`: values before the first judgement
    - `steps`: usual steps from the last usual value within which nothing is an outlier, wherever
      the band is: a channel that climbs at its own pace is usual; 0 judges by the band alone

    Grubbs (1969), "Procedures for detecting outlying observations in samples".
    """
    return watch_window(
        capacity,
        channel,
        ZSCORE,
        window=window,
        limit=limit,
        action=action,
        accept_after=accept_after,
        ready_after=ready_after,
        steps=steps,
    )
