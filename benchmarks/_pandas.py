"""What a user of pandas writes for each event: the device's last values as a Series, and asked."""

from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import pandas as pd

__all__ = ["series"]

SERIES: Mapping[str, Callable[[Any], Any]] = {
    "mean": lambda s: s.mean(),
    "var": lambda s: s.var(),
    "max": lambda s: s.max(),
    "sum": lambda s: s.sum(),
    "range": lambda s: s.max() - s.min(),
    "rms": lambda s: (s * s).mean() ** 0.5,
    "kurtosis": lambda s: s.kurt(),
    "autocorrelation": lambda s: s.autocorr(1) if len(s) > 3 else None,
    "median": lambda s: s.median(),
    "q90": lambda s: s.quantile(0.9),
    "iqr": lambda s: s.quantile(0.75) - s.quantile(0.25),
    "mad": lambda s: (s - s.median()).abs().median(),
    "robust": lambda s: (s.iloc[-1] - s.median()) / (s.quantile(0.75) - s.quantile(0.25)),
}


def series(stat: str, size: int) -> Callable[[], Callable[[float, int], Any]] | None:
    """A device's window of `size` values and the statistic at each; None where pandas has none."""
    if stat not in SERIES:
        return None

    def one() -> Callable[[float, int], Any]:
        recent: deque[float] = deque(maxlen=size)

        def look(value: float, at: int) -> Any:
            recent.append(value)
            return SERIES[stat](pd.Series(recent))

        return look

    return one
