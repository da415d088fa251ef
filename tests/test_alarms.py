"""Alarms of anomaly scores: as many as the budget says, on any scores and on recordings."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from monitoring.alarms import FEWEST, NUMBERS, PARTS, exceeds
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from streamgauge.events import Event, EventKind
from tests.kinds import (
    assert_any_cut_is_the_same,
    assert_goes_on,
    channels,
    loaded,
    recorded,
)
from tests.recordings import large_are_slow, recording

DAY = 86_400 * 10**6
WEEK = 7 * DAY
BEGIN = pd.Timestamp("2026-03-02", tz="UTC")


def text(more: str = "", alarms: str = "2 per device per week") -> str:
    """An anomaly task with a budget."""
    return f'[tasks.t]\nkind = "anomaly"\nalarms = "{alarms}"\n{more}[drift]\ndetector = "none"\n'


def alarms_of(scores: np.ndarray, every: int, time: float) -> np.ndarray:
    """bool[n]: which of a device's scores, one each `every` microseconds, are alarms."""
    own, begin = np.zeros(NUMBERS), 1_772_366_400 * 10**6
    return np.array([exceeds(own, s, begin + k * every, time) for k, s in enumerate(scores)])


SHAPES: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "uniform": lambda rng, n: rng.random(n),
    "heavy tail": lambda rng, n: rng.pareto(1.5, n),
    "few values": lambda rng, n: rng.integers(0, 4, n) + rng.random(n) * 1e-9,
    "in runs": lambda rng, n: np.abs(np.convolve(rng.normal(size=n + 49), np.ones(50), "valid")),
    "ever smaller": lambda rng, n: rng.exponential(size=n) / (1.0 + np.arange(n) / 500.0),
    "ever larger": lambda rng, n: rng.exponential(size=n) * (1.0 + np.arange(n) / 500.0),
    "by day": lambda rng, n: rng.exponential(size=n) * (1.5 + np.sin(np.arange(n) / 144 * 6.2832)),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("budget", [0.5, 2.0, 7.0])
def test_the_budget_is_kept(shape: str, budget: float) -> None:
    """Forty weeks of a reading every ten minutes, whatever scores look like."""
    scores = SHAPES[shape](np.random.default_rng(11), 40 * 1_008)
    found = alarms_of(scores, 600 * 10**6, WEEK / budget)
    assert 0.7 < found.sum() / (40 * budget) < 1.3
    late = found[len(found) // 2 :]
    assert 0.6 < late.sum() / (20 * budget) < 1.4


def test_alarms_are_the_largest_scores() -> None:
    """Those that stand out are among them: a hundred times the usual, once in two weeks."""
    rng = np.random.default_rng(12)
    scores = rng.exponential(size=40 * 1_008)
    wild = np.arange(2_500, len(scores), 2_016)
    scores[wild] = 1_000.0
    found = alarms_of(scores, 600 * 10**6, WEEK / 2)
    assert found[wild].mean() > 0.85


def test_there_is_none_while_it_is_calibrated() -> None:
    """Three eighths of the time for one alarm; two near each other are one."""
    scores = np.random.default_rng(13).exponential(size=3_000)
    time = WEEK / 2
    found = alarms_of(scores, 600 * 10**6, time)
    first = np.flatnonzero(found)[0]
    assert first * 600e6 >= FEWEST * time / PARTS
    scores[2_000:2_040] = 1e6
    found = alarms_of(scores, 600 * 10**6, time)
    assert found[2_000]
    assert found[2_000:2_040].sum() <= 2


def anomalies(pipeline: Pipeline, data: pd.DataFrame) -> list[Event]:
    """The alarms of a recording."""
    told = [event for output in recorded(pipeline, data) for event in output.events]
    return [one for one in told if one.kind is EventKind.ANOMALY]


def read(name: str) -> tuple[str, pd.DataFrame]:
    """The channels of a recording, and its rows."""
    data = pd.read_csv(recording(f"{name}.csv.gz"), dtype={"device": str})
    numbers = data.drop(columns=["label"], errors="ignore").select_dtypes("number")
    return channels(tuple(numbers.columns)), data


LONG = ("beijing_air", "appliances_energy", "air_quality_uci", "steel_energy")


@pytest.mark.parametrize("name", large_are_slow(LONG))
def test_recordings_of_months(name: str) -> None:
    """Over all devices the number of alarms is within .8 and 1.2 of the budget."""
    numbers, data = read(name)
    found = anomalies(loaded(numbers + text()), data)
    assert 0.8 < len(found) / weeks(data) / 2 < 1.2
    assert {one.channel for one in found} <= set(data.columns)
    assert all(one.after > one.before for one in found)


def weeks(data: pd.DataFrame) -> float:
    """Of all devices together."""
    times = pd.to_datetime(data["time"], utc=True).groupby(data["device"])
    return float(((times.max() - times.min()) / pd.Timedelta(weeks=1)).sum())


@pytest.mark.slow
def test_the_numenta_benchmark() -> None:
    """Of weeks each, with budgets of one to seven a week: half to one and a half times it. Beside
    it the share of the windows that an alarm was in."""
    numbers, data = read("nab")
    recalls = {}
    for budget in (1, 2, 7):
        found = anomalies(loaded(numbers + text(alarms=f"{budget} per device per week")), data)
        assert 0.5 < len(found) / weeks(data) / budget < 1.5
        recalls[budget] = recall(data, found)
    assert recalls[1] > 0.2
    assert recalls[7] > 0.4


def recall(data: pd.DataFrame, found: list[Event]) -> float:
    """The share of windows that an alarm is in."""
    names = list(dict.fromkeys(data["device"]))
    when = {(names[one.row], one.time) for one in found}
    stamps = pd.to_datetime(data["time"], utc=True).astype("datetime64[us, UTC]").astype("int64")
    inside = data["label"].astype(bool)
    begins = inside & ~inside.groupby(data["device"]).shift(fill_value=False)
    window = begins.groupby(data["device"]).cumsum()
    hit = [key in when for key in zip(data["device"], stamps, strict=True)]
    table = pd.DataFrame({"device": data["device"], "window": window, "hit": hit})[inside]
    return float(table.groupby(["device", "window"])["hit"].any().mean())


def days(n: int, seed: int) -> pd.DataFrame:
    """A device with a reading an hour, and a channel that jumps at times."""
    rng = np.random.default_rng(seed)
    values = rng.normal(size=n) + np.where(rng.random(n) < 0.01, 15.0 * rng.normal(size=n), 0.0)
    time = (BEGIN + pd.to_timedelta(np.arange(n), unit="h")).strftime("%Y-%m-%dT%H:%M:%SZ")
    return pd.DataFrame({"device": "d", "time": time, "a": values, "b": rng.normal(size=n)})


CHANNELS = "[channels]\na = {}\nb = {}\n"


def test_any_cut_gives_the_same(tmp_path: Path) -> None:
    """Pieces of any size, and going on after a restart, give the same alarms."""
    data = days(1_500, 20)
    whole = anomalies(loaded(CHANNELS + text()), data)
    assert len(whole) > 5
    pipeline = loaded(CHANNELS + text())
    parts = [one for k in range(0, 1_500, 77) for one in anomalies(pipeline, data[k : k + 77])]
    assert [replace(one, source=0) for one in whole] == [replace(one, source=0) for one in parts]
    assert_any_cut_is_the_same(CHANNELS + text(), data, [1, 76, 500])
    assert_goes_on(CHANNELS + text(), data, tmp_path)


def test_the_strangest_channel_is_named() -> None:
    """What jumps is a; and the threshold is where the API finds it."""
    pipeline = loaded(CHANNELS + text())
    found = anomalies(pipeline, days(1_500, 21))
    large = [one for one in found if one.after > 3.0]
    assert large
    assert {one.channel for one in large} == {"a"}
    [view] = pipeline.board.predictions("d") or []
    assert view.threshold is not None
    assert view.threshold > 0.0
    assert [one.size for one in found] == list(range(1, len(found) + 1))


def test_a_named_model_has_the_budget_too() -> None:
    """River's Gaussian scorer on one channel; its cause is not known."""
    model = 'model = "anomaly.GaussianScorer"\ntarget = "a"\n'
    found = anomalies(loaded(CHANNELS + text(model)), days(4_000, 22))
    assert 0.6 < len(found) / (4_000 / 168 * 2) < 1.4
    assert {one.channel for one in found} == {""}


def test_none_where_none_is_wanted() -> None:
    """`alarms = "none"`; scores are there as ever."""
    pipeline = loaded(CHANNELS + text(alarms="none"))
    assert not anomalies(pipeline, days(1_500, 20))
    [view] = pipeline.board.predictions("d") or []
    assert view.threshold is None
    assert view.score is not None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ('alarms = "often"', r"no budget of alarms; write for example \"2 per device per week\""),
        ('alarms = "0 per device per day"', r"no budget of alarms"),
        ('alarms = "1 per device per day"\nkind = "clustering"', r"kind anomaly.*remove it"),
    ],
)
def test_mistakes_have_a_remedy(more: str, said: str) -> None:
    """Words that are no budget, and one for another kind of task."""
    toml = f'{CHANNELS}[tasks.t]\nkind = "anomaly"\n{more}\n'
    if "clustering" in more:
        toml = toml.replace('kind = "anomaly"\n', "").replace("\n[tasks", "\n[tasks")
        toml += 'model = "cluster.KMeans"\n'
    with pytest.raises(Problems, match=said):
        load_text(toml, Path("pipeline.toml"), {}, for_replay=True)
