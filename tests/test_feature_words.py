"""Encodings of categories and texts, each against pandas or plain counting."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.codecs._words import text
from stream_processor.features import frequency, hashing, onehot, ordinal, target_mean
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load_text
from streamgauge.schema import Channel, Kind, Schema
from tests.frames import batch_of, computed

WORDS = ("idle", "run", "fault")
SCHEMA = Schema(
    [
        Channel("mode", kind=Kind.CATEGORY, values=WORDS),
        Channel("gear", kind=Kind.CATEGORY, values=("low", "high")),
        Channel("note", kind=Kind.TEXT),
        Channel("load"),
    ]
)
calm = settings(deadline=None, max_examples=100, derandomize=True)
modes = st.lists(
    st.tuples(
        st.integers(0, 2),
        st.one_of(st.sampled_from([0.0, 1.0, 2.0, 3.0]), st.just(math.nan)),
        st.one_of(st.floats(-1e3, 1e3), st.just(math.nan)),
    ),
    min_size=1,
    max_size=60,
)


def features(plugin: Any, columns: dict[str, Any], rows: Any = None, **options: Any) -> Any:
    """Features of readings of some devices."""
    operator = plugin.build(SCHEMA, 3, 0, **options)
    n = len(next(iter(columns.values())))
    return computed(operator, batch_of(SCHEMA, list(range(n)), columns, rows))


def test_onehot_has_a_feature_per_word_and_one_for_the_unknown() -> None:
    """As pandas' dummies, but that what is absent is absent."""
    code = [0.0, 2.0, 3.0, math.nan, 1.0]
    got = features(onehot, {"mode": code, "gear": [1.0] * 5}, of=["mode", "gear"])
    names = [f"mode_{word}" for word in (*WORDS, "unknown")]
    assert list(got.columns) == [*names, "gear_low", "gear_high", "gear_unknown"]
    wanted = pd.get_dummies(pd.Categorical(code, [0.0, 1.0, 2.0, 3.0])).to_numpy(float).copy()
    wanted[3] = math.nan
    np.testing.assert_array_equal(got[names], wanted)
    np.testing.assert_array_equal(got["gear_high"], np.ones(5))


def test_ordinal_is_the_place_in_the_vocabulary() -> None:
    """The unknown has no place in any order."""
    got = features(ordinal, {"mode": [0.0, 2.0, 3.0, math.nan]}, of=["mode"])
    np.testing.assert_array_equal(got["mode_code"], [0.0, 2.0, math.nan, math.nan])


@calm
@given(modes)
def test_frequency_is_the_share_so_far(readings: list[tuple[int, float, float]]) -> None:
    """Of each device's own readings, this one included."""
    rows = [row for row, _, _ in readings]
    code = [mode for _, mode, _ in readings]
    got = features(frequency, {"mode": code}, rows, of=["mode"])["mode_share"]
    frame = pd.DataFrame({"row": rows, "code": code})
    same = frame.groupby(["row", "code"]).cumcount() + 1
    known = frame["code"].notna().groupby(frame["row"]).cumsum()
    np.testing.assert_allclose(got, (same / known).where(frame["code"].notna()), rtol=1e-12)


@calm
@given(modes, st.sampled_from([0.0, 1.0, 10.0]))
def test_target_mean_is_that_of_earlier_readings(
    readings: list[tuple[int, float, float]], weight: float
) -> None:
    """Drawn towards the mean over all categories by so many readings' weight."""
    rows, code, load = (list(column) for column in zip(*readings, strict=True))
    options = {"of": ["mode"], "target": "load", "weight": weight}
    got = features(target_mean, {"mode": code, "load": load}, rows, **options)["load_by_mode"]
    wanted = []
    for i, (row, mode, _) in enumerate(readings):
        past = [r for r in readings[:i] if r[0] == row and not math.isnan(r[1] + r[2])]
        own = [r[2] for r in past if r[1] == mode]
        if math.isnan(mode) or not past:
            wanted.append(math.nan)
            continue
        level = float(np.mean([r[2] for r in past]))
        total = len(own) + weight
        wanted.append((sum(own) + weight * level) / total if total else level)
    np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-9)


def test_target_mean_may_serve_the_prediction_of_its_target() -> None:
    """It holds nothing of the reading itself, so a regression is given it."""
    config = """
    [channels.mode]
    kind = "category"
    values = ["idle", "run"]
    [channels.load]
    [features]
    onehot = { of = ["mode"] }
    target_mean = { of = ["mode"], target = "load" }
    [tasks.now]
    kind = "regression"
    target = "load"
    model = ["linear_model.LinearRegression"]
    """
    made = Pipeline(load_text(config, Path("test.toml"), {}, for_replay=True))
    names = made.walk.feature_names
    inputs = [names[k] for k in made.walk.stages.lanes[0].inputs]
    assert inputs == ["mode_idle", "mode_run", "mode_unknown", "load_by_mode"]


def test_hashing_puts_each_text_into_one_bucket() -> None:
    """The same text always into the same, whatever its case; others elsewhere as a rule."""
    texts = [f"error {k}" for k in range(200)]
    codes = [text(one)[0] for one in [*texts, "ERROR  7", None]]
    got = features(hashing, {"note": codes}, of=["note"], buckets=8)
    assert list(got.columns) == [f"note_hash{k}" for k in range(8)]
    np.testing.assert_array_equal(got.iloc[:201].sum(axis=1), 1.0)
    np.testing.assert_array_equal(got.iloc[7], got.iloc[200])
    assert got.iloc[201].isna().all()
    assert got.iloc[:200].sum().between(10, 45).all()


@pytest.mark.parametrize(
    ("plugin", "options", "message"),
    [
        (onehot, {"of": []}, "name each channel once"),
        (onehot, {"of": ["load"]}, "'load', which is no category; there are: mode, gear"),
        (ordinal, {"of": ["nothing"]}, "not declared"),
        (hashing, {"of": ["mode"]}, "'mode', which is no text; there are: note"),
        (hashing, {"of": ["note"], "buckets": 1}, "give 2 to 1024"),
        (target_mean, {"of": ["mode"], "target": "x"}, "not declared"),
        (target_mean, {"of": ["mode"], "target": "load", "weight": -1.0}, "give 0 or more"),
    ],
)
def test_wrong_options_are_explained(plugin: Any, options: dict[str, Any], message: str) -> None:
    """Errors name what was found and what to write."""
    with pytest.raises(ValueError, match=message):
        plugin.build(SCHEMA, 1, 0, **options)


def test_a_word_named_unknown_is_refused() -> None:
    """Two features would have one name; the place in the file is told."""
    config = (
        '[channels.m]\nkind = "category"\nvalues = ["unknown"]\n[features.onehot]\nof = ["m"]\n'
    )
    with pytest.raises(Problems, match="two features one name"):
        load_text(config, Path("test.toml"), {}, for_replay=True)
