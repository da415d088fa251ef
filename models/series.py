"""River's time series models: they learn each value of the target at once and continue the series.

A forecast's horizon becomes a number of steps, see `models/sampling.py`. A value that is missing
from the series is replaced by what the model itself forecasts for it, which leaves its seasons in
their places; before it can forecast, by what lies on the line between its neighbours. After
`MOST_MISSING` steps without a value the model begins anew. A value that comes before half a step
has passed is not learned.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from river import time_series

from models.last_step import last_step
from models.sampling import (
    AGAIN,
    LAST,
    MOST_AHEAD,
    SETTINGS,
    TOO_FAR,
    WIDTH,
    arrive,
    steps_ahead,
)
from streamgauge.arrays import Floats
from streamgauge.schedule import BASE, MADE, SEQUENCE, TARGET, Schedule

__all__ = ["Ahead", "Series", "asking", "is_series"]

Features = dict[Any, Any]


class Ahead(NamedTuple):
    """How far a series is continued: microseconds, or readings where these are not 0."""

    delay: int
    readings: int = 0
    step: int = 0
    """Microseconds between two values; 0 = as the values come."""
    change: bool = False
    """What is answered is the change from the last value."""

    @property
    def settings(self) -> Floats:
        """float64[SETTINGS]: what `models.sampling` wants to know."""
        told = (1, self.readings, 1) if self.readings else (self.step, self.delay, 0)
        settings = np.array([*told, self.change], np.float64)
        assert len(settings) == SETTINGS
        return settings


class Series:
    """One device's model, and where in its series it is."""

    def __init__(self, model: Any) -> None:
        self.row = np.zeros(WIDTH)
        self.begin(model)

    def begin(self, model: Any) -> None:
        """From now on it is this model's series."""
        self.model = model
        last = last_step(model)
        # Holt-Winters raises IndexError before it has one.
        self._level = last.level if isinstance(last, time_series.HoltWinters) else True

    def learn_one(self, x: Features, y: Any) -> None:
        """Nothing: it has learned when the value came."""

    def predict_one(self, x: Features) -> Any:
        """What the model forecasts for the next step; None before it can."""
        return self.forecast(1, x)

    def forecast(self, steps: int, x: Features) -> Any:
        """So many steps ahead, with features as they are now; None before the model can."""
        if not self._level:
            return None
        return self.model.forecast(horizon=steps, xs=[x] * steps if x else None)[-1]

    def take(self, steps: int, y: float, x: Features) -> None:
        """Learn a value that comes so many steps after the last one, and those between."""
        before, self.row[LAST] = float(self.row[LAST]), y
        for k in range(1, steps):
            missing = self.forecast(1, x)
            if missing is None:
                missing = before + (y - before) * (k / steps)
            self.model.learn_one(x=x, y=missing)
        self.model.learn_one(x=x, y=y)


def is_series(estimator: Any) -> bool:
    """Whether it continues a series, by `learn_one(y, x)` and `forecast(horizon, xs)`."""
    return isinstance(last_step(estimator), time_series.base.Forecaster)


def asking(ahead: Ahead, make: Callable[[], Any]) -> Callable[..., None]:
    """`ask(series, x, schedule, i)` of predict step i: learns the value of its reading, if there is
    one, and answers; `make` gives the model of a series that begins anew."""
    settings, place = ahead.settings, SEQUENCE if ahead.readings else MADE

    def ask(series: Series, x: Features, schedule: Schedule, i: int) -> None:
        schedule.answers[i] = np.nan
        position = float(schedule.codes.item(i, place))
        y = schedule.numbers.item(i, TARGET)
        if y == y:
            steps = arrive(series.row, position, settings)
            if steps == AGAIN:
                series.begin(make())
            if steps != 0:
                series.take(abs(steps), y, x)
        steps = steps_ahead(series.row, position, settings)
        if steps == TOO_FAR:
            raise ValueError(f"a forecast of more than {MOST_AHEAD:,} steps")
        answer = series.forecast(steps, x) if steps else None
        if answer is not None:
            schedule.answers[i] = answer - schedule.numbers[i, BASE] if ahead.change else answer

    return ask
