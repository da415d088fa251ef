"""Microseconds per event of each feature, at batches of 1,000 over 1,000 devices, beside River or
plain Python with an object per device, and beside pandas with a window per device; the default
chain; the start of a process."""

import math
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from river import preprocessing, stats, utils
from river.feature_extraction import TFIDF

from benchmarks._pandas import series
from benchmarks._per_device import (
    CHANNELS,
    DEVICES,
    Beside,
    Case,
    Events,
    Fleet,
    batches,
    chained,
    compared,
    each,
    loop,
)
from ingest.codecs._tokens import tokens
from stream_processor.admit import Admit
from stream_processor.features import lags, raw, rolling, tfidf
from stream_processor.operator import Operator
from streamgauge.batch import Batch, Features
from streamgauge.calls import Chain, Now
from streamgauge.schema import Channel, Kind, Schema

CONSTANT, WINDOW = 0.15, 1.0
"""Bars, microseconds per event and feature."""
FEATURES = "stream_processor.features"
OF = (CHANNELS[0],)
LAST = {"readings": 50}
SINGLES = 20_000
ROUNDS_OF_LINES = 30
CONFIG = Path(__file__).parent / "by_hand.toml"


def run() -> list[dict[str, Any]]:
    """Each feature alone, then the chain, then the start."""
    rows = [*compared(CASES), _words()]
    chain = [
        ("chain, batches of 1,000", _chain(DEVICES), 0.8),
        ("chain, one by one", _chain(1), 6.0),
    ]
    chain.append(("start, seconds", _start(), 2.0))
    rows += [
        {
            "what": what, "options": "", "us per event": took, "bar": bar,
            "holds": "yes" if took <= bar else "NO", "beside": "", "its us": "", "times": "",
            "pandas us": "", "times pandas": "",
        }
        for what, took, bar in chain
    ]  # fmt: skip
    return rows


def _chain(size: int) -> float:
    """Admission and 20 features of 4 channels: values, 2 lags of each, mean and variance of 10."""
    schema = Schema(map(Channel, CHANNELS))
    operators: list[Operator] = [
        Admit(schema, DEVICES, max_ahead_us=10**9),
        raw.build(schema, DEVICES, 0, of=CHANNELS),
        lags.build(schema, DEVICES, 4, lags={name: [1, 2] for name in CHANNELS}),
        rolling.build(
            schema, DEVICES, 12, of=CHANNELS, window={"readings": 10}, stats=["mean", "var"]
        ),
    ]
    count = 200 if size > 1 else SINGLES * 2
    data = batches(count, size)
    walk = chained(operators, 20, size)
    half = count // 2
    for batch in data[:half]:
        walk(batch)
    began = time.process_time()
    for batch in data[half:]:
        walk(batch)
    return (time.process_time() - began) / (half * size) * 1e6


def _start() -> float:
    """Seconds until a new process has a configuration ready to walk; the second time, so that
    everything is in the compile cache."""
    script = (
        "from pathlib import Path\n"
        "from stream_processor.pipeline import Pipeline\n"
        "from stream_processor.settings import load\n"
        f"Pipeline(load(Path({str(CONFIG)!r}), {{}}))"
    )
    for _ in range(2):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", script], check=True)
    return time.perf_counter() - began


def _words() -> dict[str, Any]:
    """Lines of 8 words, each device's weighed by itself; beside a River TFIDF for each."""
    channel = Channel("log", kind=Kind.TEXT, words=30)
    schema, read = Schema([channel]), tokens(channel)
    feature = tfidf.build(schema, DEVICES, 0, of=["log"])
    columns = Features(feature.names, feature.channels, DEVICES)
    own, now = Batch(DEVICES, schema.width), np.zeros(len(Now), np.int64)
    own.row[:], own.values[:, 0], now[Now.N] = np.arange(DEVICES), 1.0, DEVICES
    chain = Chain([feature.call(own, columns)], now)
    models = [TFIDF() for _ in range(DEVICES)]
    spent = [0.0, 0.0]
    for k in range(ROUNDS_OF_LINES):
        lines = [_line(k * DEVICES + row) for row in range(DEVICES)]
        own.values[:, 1:] = [read(line) for line in lines]
        began = time.process_time()
        chain.run()
        between = time.process_time()
        for model, line in zip(models, lines, strict=True):
            model.learn_one(line)
            model.transform_one(line)
        if k:
            spent[0] += between - began
            spent[1] += time.process_time() - between
    ours, theirs = (one / ((ROUNDS_OF_LINES - 1) * DEVICES) * 1e6 for one in spent)
    return {
        "what": "features.tfidf", "options": "lines of 8 words", "us per event": ours,
        "bar": WINDOW, "holds": "yes" if ours <= WINDOW else "NO", "beside": "River TFIDF",
        "its us": theirs, "times": theirs / max(ours, 1e-9), "pandas us": "", "times pandas": "",
    }  # fmt: skip


def _line(k: int) -> str:
    level = ("info", "warning", "error")[k % 3]
    return f"{level} pump {k % 89 + 10} pressure {k % 211 + 10} code e{k % 13 + 10} retry"


def _river(made: Callable[[], Any]) -> Beside:
    """A statistic of River's per device: updated, and asked, with each value."""

    def run(fleet: Fleet, events: Events) -> None:
        for event in events:
            value = event["temperature"]
            if value == value:
                stat = fleet[event["device"]]
                stat.update(value)
                _ = {"feature": stat.get()}

    return loop(made, run)


def _scaler(made: Callable[[], Any]) -> Beside:
    def run(fleet: Fleet, events: Events) -> None:
        for event in events:
            value = event["temperature"]
            if value == value:
                scaler, x = fleet[event["device"]], {"temperature": value}
                scaler.learn_one(x)
                _ = scaler.transform_one(x)

    return loop(made, run)


def _raw(fleet: Fleet, events: Events) -> None:
    for event in events:
        value = event["temperature"]
        if value == value:
            _ = {"feature": value}


def _difference(fleet: Fleet, events: Events) -> None:
    for event in events:
        value = event["temperature"]
        if value == value:
            stat = fleet[event["device"]]
            stat.update(value)
            before = stat.get()
            if before is not None:
                _ = {"feature": value - before}


def _since(fleet: Fleet, events: Events) -> None:
    for event in events:
        device, time = event["device"], event["time"]
        last = fleet[device]
        _ = {"feature": (time - last) / 1e6 if last is not None else None}
        fleet[device] = time


def _count(fleet: Fleet, events: Events) -> None:
    for event in events:
        value = event["temperature"]
        if value == value:
            recent = fleet[event["device"]]
            recent.append(value)
            _ = {"feature": len(recent)}


def _formula(fleet: Fleet, events: Events) -> None:
    for event in events:
        value, other = event["temperature"], event["humidity"]
        if value == value and other == other and other:
            _ = {"feature": value / other}


def _deque(size: int, of: Callable[[Any], Any]) -> Beside:
    """The last values, and a function of all of them at each one."""

    def one() -> Callable[[float, int], Any]:
        recent: deque[float] = deque(maxlen=size)

        def look(value: float, at: int) -> Any:
            recent.append(value)
            return of(recent)

        return look

    return each(one)


def _over(made: Callable[[], Any]) -> Beside:
    return _river(lambda: utils.Rolling(made(), 50))


def _hour() -> Callable[[float, int], Any]:
    def look(value: float, at: int) -> Any:
        angle = 2 * math.pi * datetime.fromtimestamp(at / 1e6, UTC).hour / 24
        return math.sin(angle), math.cos(angle)

    return look


def _slope(recent: Any) -> Any:
    return np.polyfit(np.arange(len(recent)), np.array(recent), 1)[0] if len(recent) > 2 else 0.0


def _kurtosis(recent: Any) -> Any:
    values = np.array(recent)
    around = values - values.mean()
    return (around**4).mean() / max((around**2).mean() ** 2, 1e-12)


def _power(recent: Any) -> Any:
    return (np.abs(np.fft.rfft(np.array(recent)))[5:10] ** 2).sum()


def _series(stat: str) -> Beside | None:
    made = series(stat, 50)
    return each(made) if made else None


def _rolling(stat: str, beside: Any, what: str) -> Case:
    options = {"of": OF, "window": LAST, "stats": [stat]}
    return Case(FEATURES, "rolling", options, CONSTANT, beside, what, _series(stat))


def _robust() -> Callable[[float, int], Any]:
    middle, spread = stats.RollingQuantile(0.5, 50), stats.RollingIQR(50)

    def look(value: float, at: int) -> Any:
        middle.update(value)
        spread.update(value)
        width = spread.get()
        return (value - middle.get()) / width if width else 0.0

    return look


def _scale(method: str, bar: float, made: Callable[[], Any]) -> Case:
    options = {"of": OF, "method": method}
    return Case(FEATURES, "scale", options, bar, _scaler(made), f"River {made.__name__}")


def _shape(stat: str, bar: float, beside: Any, what: str) -> Case:
    options = {"of": OF, "window": LAST, "stats": [stat]}
    return Case(FEATURES, "shape", options, bar, beside, what, _series(stat))


def _rank(stat: str, beside: Any, what: str) -> Case:
    options = {"of": OF, "window": LAST, "stats": [stat]}
    return Case(FEATURES, "quantiles", options, WINDOW, beside, what, _series(stat))


def _three() -> list[Any]:
    return [stats.RollingQuantile(0.5, 50), stats.RollingQuantile(0.9, 50), stats.RollingIQR(50)]


def _ranks(fleet: Fleet, events: Events) -> None:
    for event in events:
        value = event["temperature"]
        if value == value:
            middle, high, spread = fleet[event["device"]]
            middle.update(value)
            high.update(value)
            spread.update(value)
            _ = {"median": middle.get(), "q90": high.get(), "iqr": spread.get()}


def _rms(recent: Any) -> Any:
    return math.sqrt(sum(value * value for value in recent) / len(recent))


def _crossings(recent: Any) -> Any:
    return np.count_nonzero(np.diff(np.signbit(np.array(recent))))


CASES = (
    Case(FEATURES, "raw", {"of": OF}, CONSTANT, loop(lambda: None, _raw), "Python"),
    Case(FEATURES, "lags", {"lags": {OF[0]: [1]}}, CONSTANT, _river(lambda: stats.Shift(1)),
         "River Shift"),
    Case(FEATURES, "differences", {"of": OF}, CONSTANT, loop(lambda: stats.Shift(1), _difference),
         "River Shift"),
    Case(FEATURES, "weighted", {"of": OF, "half_lives": [20]}, CONSTANT,
         _river(lambda: stats.EWMean(0.034)), "River EWMean"),
    Case(FEATURES, "weighted", {"of": OF, "half_lives": [20], "stats": ["var"]}, CONSTANT,
         _river(lambda: stats.EWVar(0.034)), "River EWVar"),
    Case(FEATURES, "since", {"value": OF, "reading": False}, CONSTANT,
         loop(lambda: None, _since), "Python"),
    Case(FEATURES, "formula", {"of": {"f": f"{OF[0]} / {CHANNELS[1]}"}}, CONSTANT,
         loop(lambda: None, _formula), "Python"),
    Case(FEATURES, "calendar", {"of": ["hour"], "as_": "cyclic", "zone": "UTC"}, CONSTANT,
         each(_hour), "Python datetime"),
    _rolling("mean", _over(stats.Mean), "River Rolling Mean"),
    _rolling("var", _over(stats.Var), "River Rolling Var"),
    _rolling("max", _river(lambda: stats.RollingMax(50)), "River RollingMax"),
    _shape("count", CONSTANT, loop(lambda: deque(maxlen=50), _count), "Python deque"),
    _shape("sum", CONSTANT, _over(stats.Sum), "River Rolling Sum"),
    _shape("range", CONSTANT, _river(lambda: stats.RollingPeakToPeak(50)),
           "River RollingPeakToPeak"),
    _shape("rms", CONSTANT, _deque(50, _rms), "Python deque"),
    _shape("crest", CONSTANT, _deque(50, lambda r: max(map(abs, r)) / _rms(r)), "Python deque"),
    _shape("slope", CONSTANT, _deque(50, _slope), "numpy polyfit"),
    _shape("zero_crossings", CONSTANT, _deque(50, _crossings), "numpy"),
    _shape("kurtosis", CONSTANT, _deque(50, _kurtosis), "numpy"),
    _shape("autocorrelation", WINDOW, _over(lambda: stats.AutoCorr(1))
           if hasattr(stats.AutoCorr, "revert") else _river(lambda: stats.AutoCorr(1)),
           "River AutoCorr, no window"),
    _rank("median", _river(lambda: stats.RollingQuantile(0.5, 50)), "River RollingQuantile"),
    _rank("q90", _river(lambda: stats.RollingQuantile(0.9, 50)), "River RollingQuantile"),
    _rank("iqr", _river(lambda: stats.RollingIQR(50)), "River RollingIQR"),
    Case(FEATURES, "quantiles", {"of": OF, "window": LAST, "stats": ["median", "q90", "iqr"]},
         WINDOW, loop(_three, _ranks), "River, one of each"),
    _rank("mad", _deque(50, lambda r: np.median(np.abs(np.array(r) - np.median(r)))), "numpy"),
    _scale("standard", CONSTANT, preprocessing.StandardScaler),
    _scale("minmax", CONSTANT, preprocessing.MinMaxScaler),
    _scale("maxabs", CONSTANT, preprocessing.MaxAbsScaler),
    Case(FEATURES, "scale", {"of": OF, "method": "robust", "window": 50}, WINDOW, each(_robust),
         "River RollingQuantile, RollingIQR", _series("robust")),
    Case(FEATURES, "spectrum", {"of": OF, "bands": {"b": [5, 10]}, "rate": 64.0}, WINDOW,
         _deque(64, _power), "numpy rfft"),
)  # fmt: skip
