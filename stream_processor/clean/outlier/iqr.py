"""Outliers by Tukey's fences around the quartiles of the recent values."""

from stream_processor.clean.outlier._policy import Action
from stream_processor.clean.outlier._windowed import IQR, watch_window
from stream_processor.operator import Operator
from streamgauge.schema import Schema

__all__ = ["build"]


def build(
    schema: Schema,
    capacity: int,
    channel: int,
    *,
    window: int = 50,
    limit: float = 3.0,
    action: Action = "replace",
    accept_after: int = 10,
    ready_after: int = 15,
    steps: float = 8.0,
) -> Operator:
    """Values far outside the quartiles of the recent usual ones are outliers.

    - `window`: usual values of the device that the band rests on
    - `limit`: interquartile ranges beyond the quartiles: 1.5 finds mild outliers, 3 extreme ones
    - `action`: flag | drop | clip (edge of the band) | winsorize (5 or 95 % quantile of the window)
      | replace (middle of the band)
    - `accept_after`: so many values in a row on one side are a new level, not outliers
    - `ready_after`: values before the first judgement
    - `steps`: usual steps from the last usual value within which nothing is an outlier, wherever
      the band is: a channel that climbs at its own pace is usual; 0 judges by the band alone

    Tukey (1977), "Exploratory Data Analysis".
    """
    return watch_window(
        capacity,
        channel,
        IQR,
        window=window,
        limit=limit,
        action=action,
        accept_after=accept_after,
        ready_after=ready_after,
        steps=steps,
    )
