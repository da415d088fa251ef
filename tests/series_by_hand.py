"""A time series model of River's on a series with gaps, in plain Python: what the product does."""

import math
from collections.abc import Callable
from typing import Any

from river import time_series

from models.series import Ahead

__all__ = ["ByHand"]


class ByHand:
    """One device: takes a value at a position and tells what is ahead of it; NaN where nothing is.

    What River raises comes out.
    """

    def __init__(self, make: Callable[[], Any], ahead: Ahead) -> None:
        self.make, self.model, self.ahead = make, make(), ahead
        self.intervals: list[float] = []
        self.seen: float | None = None
        self.due = self.last = 0.0

    @property
    def step(self) -> float | None:
        """Between two values, as declared or seen."""
        if self.ahead.readings or self.ahead.step:
            return 1 if self.ahead.readings else self.ahead.step
        if len(self.intervals) < 5:
            return None
        newest = sorted(self.intervals[-15:])
        return newest[len(newest) // 2]

    def forecast(self, steps: int, x: dict[str, float]) -> float | None:
        """What River says, once it can."""
        if isinstance(self.model, time_series.HoltWinters) and not self.model.level:
            return None
        return float(self.model.forecast(steps, [x] * steps)[-1])

    def ask(self, position: float, y: float, x: dict[str, float]) -> float:
        """Learn the value, if it is one, and those missing before it; then look ahead."""
        if y == y:
            self.take(position, y, x)
        if self.seen is None or self.step is None:
            return math.nan
        distance = self.ahead.readings or self.ahead.delay
        steps = math.floor((position - self.due + distance) / self.step + 0.5)
        if steps > 10_000:
            raise ValueError("too far")
        told = self.forecast(max(steps, 1), x)
        return math.nan if told is None else told

    def take(self, position: float, y: float, x: dict[str, float]) -> None:
        """The value at its step."""
        steps = 1
        if self.seen is not None and position > self.seen:
            self.intervals.append(position - self.seen)
        first, self.seen = self.seen is None, position
        if first or self.step is None:
            self.due = position
        else:
            steps = math.floor((position - self.due) / self.step + 0.5)
            if steps > 1_001:
                self.model, self.due, steps = self.make(), position, 1
            elif steps < 1:
                return
            else:
                self.due += steps * self.step
                self.due += (position - self.due) / 8
        before, self.last = self.last, y
        for k in range(1, steps):
            missing = self.forecast(1, x)
            line = before + (y - before) * (k / steps)
            self.model.learn_one(y=line if missing is None else missing, x=x)
        self.model.learn_one(y=y, x=x)
