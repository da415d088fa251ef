"""stream_processor.features.scale"""

import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from river import preprocessing

from stream_processor.features import raw, scale
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from streamgauge.arrays import Floats
from streamgauge.batch import Batch, Features
from streamgauge.schema import Channel, Schema
from tests.recordings import recording

NAMES = ["a", "b"]
SCHEMA = Schema([Channel(name) for name in NAMES])
RIVER = {
    "standard": preprocessing.StandardScaler,
    "minmax": preprocessing.MinMaxScaler,
    "maxabs": preprocessing.MaxAbsScaler,
}
HOSTILE = [0.0, -0.0, 1e24, -1e24, 5e-324, 1e-12, 7.0, 7.0, 7.0, -3.5, 1e8, 1e8 + 1e-6]


def scaled(values: Floats, rows: Any, parts: int = 1, **options: Any) -> Floats:
    """float64[n, 2]: what becomes of both channels, in so many batches."""
    first = raw.build(SCHEMA, 9, 0, of=NAMES)
    earlier = dict(zip(first.names, first.channels, strict=True))
    second = scale.build(SCHEMA, 9, 2, earlier, of=["*"], **options)
    found = []
    for places in np.array_split(np.arange(len(values)), parts):
        batch = Batch(len(places), 2)
        batch.n = len(places)
        batch.values[:], batch.row[:] = values[places], rows[places]
        features = Features([*first.names, *second.names], [frozenset()] * 4, batch.n)
        for one in (first, second):
            one.call(batch, features).run(n=batch.n)
        found.append(features.x[: batch.n, 2:].copy())
    return np.concatenate(found)


def by_river(values: Floats, rows: Any, method: str, scope: str) -> Floats:
    """The same, one by one."""
    scalers: dict[int, Any] = {}
    wanted = np.full(values.shape, np.nan)
    for i, (row, reading) in enumerate(zip(rows, values, strict=True)):
        scaler = scalers.setdefault(0 if scope == "fleet" else int(row), RIVER[method]())
        x = {c: float(value) for c, value in enumerate(reading) if math.isfinite(value)}
        scaler.learn_one(x)
        for c, value in scaler.transform_one(x).items():
            wanted[i, c] = value
    return wanted


def hostile(seed: int) -> tuple[Floats, Any]:
    """Readings of nine devices with gaps, jumps over 30 magnitudes, and stretches that stand."""
    random = np.random.default_rng(seed)
    values = random.normal(20.0, 3.0, (700, 2))
    odd = random.random(values.shape) < 0.2
    values[odd] = random.choice(HOSTILE, int(odd.sum()))
    values[random.random(values.shape) < 0.2] = np.nan
    values[:40, 1] = 4.0
    return values, random.integers(0, 9, len(values))


def recorded() -> tuple[Floats, Any]:
    """Two channels of a valve's test bench, dealt to nine devices."""
    table = pd.read_csv(recording("skab_valve1.csv.gz")).head(3_000)
    chosen = table.select_dtypes("number").iloc[:, :2]
    return chosen.to_numpy(np.float64), np.arange(len(table)) % 9


@pytest.mark.parametrize("scope", ["device", "fleet"])
@pytest.mark.parametrize("method", RIVER)
@pytest.mark.parametrize("seed", [0, 1, 2, None], ids=["0", "1", "2", "recorded"])
def test_equals_river(method: str, scope: str, seed: int | None) -> None:
    """River's scaler that learns each reading and then transforms it, by device and by fleet."""
    values, rows = recorded() if seed is None else hostile(seed)
    found = scaled(values, rows, 7, method=method, scope=scope)
    wanted = by_river(values, rows, method, scope)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)
    assert np.isfinite(found).sum() == np.isfinite(values).sum()


@pytest.mark.parametrize("scope", ["device", "fleet"])
def test_robust_equals_numpy(scope: str) -> None:
    """Median and quartiles of the last values, this one included, as numpy has them."""
    values, rows = hostile(5)
    recent: dict[Any, list[float]] = {}
    wanted = np.full(values.shape, np.nan)
    for i, c in itertools.product(range(len(values)), range(2)):
        if math.isfinite(values[i, c]):
            seen = recent.setdefault((c, 0 if scope == "fleet" else int(rows[i])), [])
            seen.append(values[i, c])
            low, middle, high = np.quantile(seen[-20:], [0.25, 0.5, 0.75])
            wanted[i, c] = (values[i, c] - middle) / (high - low) if high > low else 0.0
    found = scaled(values, rows, 3, method="robust", scope=scope, window=20)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-9)


HEAD = """
[[source]]
use = "http"
[channels.power]
[channels.flow]
[features]
lags = { power = [1] }
"""
TASK = """
[tasks.t]
kind = "regression"
target = "power"
model = ["linear_model.LinearRegression"]
"""


def loaded(scaling: str, task: str = TASK) -> Any:
    """The settings with this entry."""
    return load_text(f"{HEAD}scale = {scaling}\n{task}", Path("pipeline.toml"), {})


def test_comes_behind_what_it_scales() -> None:
    """It may stand before the features that it names, and never scales what another one scaled;
    what is made of a target is no input for it."""
    later = '\ndifferences = { of = ["flow"] }'
    entries = '[{ of = ["*"] }, { of = ["flow*"], method = "minmax", scope = "fleet" }]'
    pipeline = Pipeline(loaded(entries + later))
    names = ["power", "flow", "power_lag1", "flow_diff1"]
    made = [f"{name}_standard" for name in names]
    fleet = ["flow_minmax_of_fleet", "flow_diff1_minmax_of_fleet"]
    walk = pipeline.walk
    assert list(walk.feature_names) == [*names, *made, *fleet]
    inputs = [walk.feature_names[k] for k in walk.stages.lanes[0].inputs]
    assert inputs == ["flow", "flow_diff1", "flow_standard", "flow_diff1_standard", *fleet]


@pytest.mark.parametrize(
    ("scaling", "said"),
    [
        ('{ of = ["pwr"] }', "there are: power, flow, power_lag1"),
        ("{ of = [] }", 'name features, for example ["*"]'),
        ('{ of = ["*"], window = 9 }', 'with method = "robust", or leave it out'),
        ('{ of = ["*"], method = "robust", window = 1 }', "give 2 to 4096"),
        ('{ of = ["*"], method = "z" }', "standard"),
        ('{ of = ["*"], scope = "site" }', "fleet"),
    ],
)
def test_refusals_say_what_to_do(scaling: str, said: str) -> None:
    """Each wrong option is refused with its remedy."""
    with pytest.raises(Problems, match=said.replace("*", r"\*").replace("[", r"\[")):
        loaded(scaling)
