"""The whole walk: any cut gives the same results and state, nothing is learned before its time."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.pipeline import Pipeline
from stream_processor.table import Table
from streamgauge.delivery import Delivery, Readings
from streamgauge.events import ACTIONS, EventKind
from streamgauge.output import Output
from streamgauge.state import Keys, take_rows
from tests.streams import COMPILED, RIVER, pipeline, stream

N = 1_500


def run(made: Pipeline, readings: Readings, cuts: list[int]) -> list[Output]:
    """Feed the readings cut at the given places; all outputs."""
    edges = [0, *sorted(cuts), len(readings)]
    pieces = [readings.part(a, b) for a, b in pairwise(edges) if b > a]
    return [output for piece in pieces for output in made.record(piece)]


def told(outputs: list[Output]) -> tuple[bytes, bytes, list[object], bytes]:
    """Everything that was put out, as bits: records and events, whatever pieces they came in."""
    codes = np.concatenate([output.predictions.codes for output in outputs])
    numbers = np.concatenate([output.predictions.numbers for output in outputs])
    events = [
        (e.kind, o.device(e.row), e.lane, e.time, e.before, e.after, e.size, e.channel)
        for o in outputs
        for e in o.events
    ]
    parts = np.concatenate([output.predictions.parts for output in outputs])
    return codes.tobytes(), numbers.tobytes(), [repr(event) for event in events], parts.tobytes()


def state(made: Pipeline) -> dict[str, bytes]:
    """Every state array, as bits."""
    rows = np.arange(len(made.walk.stages.devices))
    return {name: a.tobytes() for name, a in take_rows(made.walk.blocks, rows).items()}


@given(st.integers(0, 50), st.lists(st.integers(1, N - 1), max_size=30))
@settings(max_examples=25, deadline=None)
def test_any_cut_gives_the_same_results_and_state(seed: int, cuts: list[int]) -> None:
    """Records, events and every state array are the same bits as without any cut."""
    readings = stream(N, seed)
    whole, pieces = pipeline(), pipeline()
    assert told(run(whole, readings, [])) == told(run(pieces, readings, cuts))
    assert state(whole) == state(pieces)
    assert whole.walk.stages.devices.snapshot() == pieces.walk.stages.devices.snapshot()


@pytest.mark.parametrize("model", [COMPILED, RIVER])
def test_one_reading_at_a_time_is_the_same_as_all_at_once(model: str) -> None:
    """The hardest cut, for a compiled model and for one that runs as River."""
    readings = stream(600, 3)
    whole, single = pipeline(model), pipeline(model)
    assert told(run(whole, readings, [])) == told(run(single, readings, list(range(1, 600))))
    assert state(whole) == state(single)
    assert whole.board.counts() == single.board.counts()


def test_the_streams_reach_every_outcome() -> None:
    """Each verdict, flag, event and limit occurs, else the tests above would prove little."""
    made = pipeline(limit=4)
    outputs = run(made, stream(6_000, 1, devices=6), [])
    counts = made.board.counts()
    # What is recorded was never retained.
    words = {name: n for name, n in counts["readings"].items() if name != "retained"}
    assert all(words.values()), words
    # Recorded numbers have no type or unit; what cleaning does, its own suite brings about.
    flags = {name: counts["flags"][name] for name in ("non_finite", "out_of_range", "extreme")}
    assert all(flags.values()), flags
    for name in ("predictions", "labels", "expired", "overflowed", "devices_refused"):
        assert counts[name], name
    # Errors rise and fall; what else drifts, the suite of detectors brings about, new clusters
    # test_tasks_cluster.py, anomalies test_alarms.py, and actions test_actions.py.
    kinds = {event.kind for output in outputs for event in output.events}
    elsewhere = {EventKind.DRIFT, EventKind.NEW_CLUSTER, EventKind.RECOVERED, EventKind.ANOMALY}
    assert kinds == set(EventKind) - elsewhere - set(ACTIONS)


@pytest.mark.parametrize("task", ["load_soon", "heat_now"])
@pytest.mark.parametrize("model", [COMPILED, RIVER])
def test_labels_reach_no_prediction_made_before_they_came(task: str, model: str) -> None:
    """Noise in place of all labels after a moment changes nothing that was predicted before."""
    readings = stream(N, 8)
    clean = run(pipeline(model), readings, [])
    moment = 900
    noisy = Readings(readings.devices, readings.time, readings.received, readings.values.copy())
    target = {"load_soon": 0, "heat_now": 1}[task]
    noise = np.random.default_rng(0).normal(size=N - moment) * 10
    noisy.values[moment:, target] = noise
    changed = run(pipeline(model), noisy, [])
    before, after = (predicted(outputs, readings, moment, task) for outputs in (clean, changed))
    pd.testing.assert_frame_equal(before, after, check_exact=True)
    assert len(before) > 300
    assert not equal_after(clean, changed, len(before))


def predicted(outputs: list[Output], readings: Readings, moment: int, task: str) -> pd.DataFrame:
    """Predictions of a task in the order they were made, as far as readings before the moment."""
    made = pipeline()
    count = sum(int(o.predictions.made.sum()) for o in run(made, readings.part(0, moment), []))
    lanes = [k for k, lane in enumerate(made.walk.stages.lanes) if lane.task == task]
    codes = np.concatenate([o.predictions.codes[o.predictions.made] for o in outputs])[:count]
    numbers = np.concatenate([o.predictions.numbers[o.predictions.made] for o in outputs])[:count]
    mine = np.isin(codes[:, 1], lanes)
    return pd.DataFrame(np.hstack([codes[mine], numbers[mine, :2]]))


def equal_after(clean: list[Output], changed: list[Output], count: int) -> bool:
    """Whether the noise had no effect at all, which would make the test above empty."""
    return told(clean)[1] == told(changed)[1]


def test_a_regression_sees_nothing_that_was_computed_from_its_target() -> None:
    """Neither the target's current value nor a window that holds it is an input."""
    made = pipeline()
    names = made.walk.feature_names
    lane = next(lane for lane in made.walk.stages.lanes if lane.task == "heat_now")
    used = {names[column] for column in lane.inputs}
    assert used
    assert not any("heat" in name for name in used)


def test_a_batch_larger_than_the_scratch_is_walked_in_parts() -> None:
    """Verdicts come back for every reading of a batch that is larger than one part."""
    readings = stream(5_000, 2)
    made = pipeline()
    table = Table(made.walk.stages.lanes)
    for output in run(made, readings, []):
        table.add(output)
    frame = table.frame()
    admitted = made.board.counts()["readings"]["admitted"]
    assert admitted > 3_000
    assert frame["id"].is_unique
    assert set(frame["status"]) >= {"labelled", "expired"}
    assert frame[["made_at", "id"]].apply(tuple, axis=1).is_monotonic_increasing


def test_reading_recorded_data_needs_no_file(tmp_path: Path) -> None:
    """The Python API takes and gives data frames, and can go on where it stopped."""
    readings = stream(800, 4)
    data = pd.DataFrame(
        {
            "device": readings.devices,
            "time": pd.to_datetime(readings.time, unit="us", utc=True),
            "load": readings.values[:, 0],
            "heat": readings.values[:, 1],
        }
    )
    data = data[(readings.time > 10**15) & (readings.time <= readings.received)]
    path = tmp_path / "pipeline.toml"
    path.write_text(
        '[channels.load]\n[channels.heat]\n[tasks.t]\nkind = "forecast"\ntarget = "load"\n'
        f'horizons = ["5s"]\nmodel = {COMPILED}\n'
    )
    whole = Pipeline.from_toml(path).replay(data)
    made = Pipeline.from_toml(path)
    parts = [made.replay(data[:300]), made.replay(data[300:])]
    both = pd.concat(parts)
    assert len(whole) == len(both) > 500
    np.testing.assert_array_equal(
        whole["prediction"], both.sort_values(["made_at", "id"])["prediction"]
    )


def test_an_evicted_device_leaves_nothing_behind() -> None:
    """Every block of devices is as it was before the first one came, in every layer."""
    made, fresh = pipeline(), pipeline()
    run(made, stream(1_500, 3), [])
    rows = np.arange(len(made.walk.stages.devices))
    made.walk.evict(rows)
    for name, block in made.walk.blocks.items():
        fresh.walk.blocks[name].open_device(rows)
        if block.keys is Keys.DEVICE:
            assert (block.stack[:, rows] == fresh.walk.blocks[name].stack[:, rows]).all(), name


def test_devices_of_which_nothing_was_admitted_use_up_no_room() -> None:
    """A flood of names with readings from the future is forgotten at the next tick."""
    made = pipeline(limit=5)
    good = stream(50, 1, devices=2)
    run(made, good, [])
    clock = int(good.received[-1])
    n = 20
    flood = Readings(
        [f"junk{k}" for k in range(n)],
        np.full(n, clock + 10**12),
        np.full(n, clock),
        np.ones((n, 2)),
    )
    for _ in range(3):
        made.feed(Delivery(readings=flood))
        assert made.walk.stages.devices.known == 5
        made.feed(Delivery(clock=clock))
        assert sorted(made.walk.stages.devices.row_of) == ["d0", "d1"]
    assert made.board.counts()["devices_refused"] == 3 * (n - 3)
    assert len(made.walk.stages.devices) == 5
