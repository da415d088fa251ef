"""Microseconds per event of each cleaner, at batches of 1,000 over 1,000 devices, beside River or
plain Python with an object per device in the same run."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any

from river import linear_model, preprocessing, stats, utils

from benchmarks._per_device import Case, compared, each

BAR = 0.1
CLEAN = "stream_processor.clean"


def run() -> list[dict[str, Any]]:
    """Every cleaner with its defaults, or with the least it needs."""
    return compared(CASES)


def _rate() -> Callable[[float, int], Any]:
    state: dict[str, float] = {}

    def look(value: float, time: int) -> bool:
        last = state.get("value", value)
        fast = abs(value - last) > 5.0 * (time - state.get("time", time)) / 1e6
        if not fast:
            state["value"], state["time"] = value, time
        return fast

    return look


def _spike() -> Callable[[float, int], Any]:
    step, last = stats.EWMean(0.05), [0.0]

    def look(value: float, time: int) -> bool:
        size = abs(value - last[0])
        far = size > 10.0 * step.get()
        step.update(size)
        last[0] = value
        return far

    return look


def _stuck() -> Callable[[float, int], Any]:
    state = {"value": 0.0, "count": 0.0}

    def look(value: float, time: int) -> bool:
        state["count"] = state["count"] + 1.0 if value == state["value"] else 1.0
        state["value"] = value
        return state["count"] >= 30

    return look


def _zscore() -> Callable[[float, int], Any]:
    mean, var = utils.Rolling(stats.Mean(), 50), utils.Rolling(stats.Var(), 50)

    def look(value: float, time: int) -> bool:
        far = abs(value - mean.get()) > 5.0 * math.sqrt(max(0.0, var.get()))
        mean.update(value)
        var.update(value)
        return far

    return look


def _ewma() -> Callable[[float, int], Any]:
    var, mean = stats.EWVar(0.034), stats.EWMean(0.034)

    def look(value: float, time: int) -> bool:
        far = abs(value - mean.get()) > 5.0 * math.sqrt(max(0.0, var.get()))
        mean.update(value)
        var.update(value)
        return far

    return look


def _iqr() -> Callable[[float, int], Any]:
    low, high = stats.RollingQuantile(0.25, 50), stats.RollingQuantile(0.75, 50)

    def look(value: float, time: int) -> bool:
        bottom, top = low.get() or value, high.get() or value
        far = not bottom - 3.0 * (top - bottom) <= value <= top + 3.0 * (top - bottom)
        low.update(value)
        high.update(value)
        return far

    return look


def _hampel() -> Callable[[float, int], Any]:
    middle, deviation = stats.RollingQuantile(0.5, 31), stats.RollingQuantile(0.5, 31)

    def look(value: float, time: int) -> None:
        middle.update(value)
        # River has no median deviation in a window; this one is about medians of the past.
        deviation.update(abs(value - middle.get()))

    return look


def _imputer(made: Callable[[], Any]) -> Callable[[], Callable[[float, int], Any]]:
    def one() -> Callable[[float, int], Any]:
        imputer = preprocessing.StatImputer(("a", made()))

        def fill(value: float, time: int) -> Any:
            imputer.learn_one({"a": value})
            return imputer.transform_one({"a": value})

        return fill

    return one


def _seasonal() -> Callable[[float, int], Any]:
    means: dict[int, stats.EWMean] = {}

    def fill(value: float, time: int) -> None:
        slot = time // 3_600_000_000 % 24
        means.setdefault(slot, stats.EWMean(0.2)).update(value)

    return fill


def _predict() -> Callable[[float, int], Any]:
    model = preprocessing.StandardScaler() | linear_model.LinearRegression()

    def fill(value: float, time: int) -> Any:
        x = {"b": value, "c": 1.0, "d": 2.0}
        model.learn_one(x, value)
        return model.predict_one(x)

    return fill


def _mode() -> Callable[[float, int], Any]:
    recent: deque[float] = deque(maxlen=25)

    def fill(value: float, time: int) -> float:
        recent.append(value)
        return max(recent, key=recent.count)

    return fill


def _hold() -> Callable[[float, int], Any]:
    imputer = preprocessing.PreviousImputer()

    def fill(value: float, time: int) -> Any:
        imputer.learn_one({"a": value})
        return imputer.transform_one({"a": value})

    return fill


def _log() -> Callable[[float, int], Any]:
    return lambda value, time: {"a": math.log(max(value, 1e-9))}


CASES = (
    Case(CLEAN, "rate", {"per_second": 5.0}, BAR, each(_rate), "Python"),
    Case(CLEAN, "spike", {}, BAR, each(_spike), "River EWMean"),
    Case(CLEAN, "stuck", {"readings": 30}, BAR, each(_stuck), "Python"),
    Case(CLEAN, "transform", {"kind": "log"}, BAR, each(_log), "Python"),
    Case(f"{CLEAN}.outlier", "ewma", {}, BAR, each(_ewma), "River EWMean, EWVar"),
    Case(f"{CLEAN}.outlier", "zscore", {}, BAR, each(_zscore), "River Rolling Mean, Var"),
    Case(f"{CLEAN}.outlier", "iqr", {}, BAR, each(_iqr), "River RollingQuantile, 2"),
    Case(f"{CLEAN}.outlier", "hampel", {}, BAR, each(_hampel), "River RollingQuantile, 2"),
    Case(f"{CLEAN}.missing", "hold", {}, BAR, each(_hold), "River PreviousImputer"),
    Case(f"{CLEAN}.missing", "mean", {}, BAR, each(_imputer(stats.Mean)), "River StatImputer"),
    Case(
        f"{CLEAN}.missing", "median", {}, BAR,
        each(_imputer(lambda: stats.RollingQuantile(0.5, 25))), "River StatImputer",
    ),
    Case(f"{CLEAN}.missing", "mode", {}, BAR, each(_mode), "Python deque"),
    Case(f"{CLEAN}.missing", "seasonal", {}, BAR, each(_seasonal), "River EWMean by hour"),
    Case(f"{CLEAN}.missing", "predict", {}, BAR, each(_predict), "River scaler, linear"),
)  # fmt: skip
