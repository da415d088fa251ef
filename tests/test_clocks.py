"""stream_processor.clocks: how far a device's clock is from ours."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor.clocks import RUN, RUNS, Clocks
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.batch import Batch, Features
from streamgauge.delivery import Delivery

T = 1_700_000_000_000_000
SECOND = 10**6
HOUR = 3_600 * SECOND


def watched(delays: list[int]) -> Clocks:
    """Readings of one device that came so many microseconds after their event time."""
    clocks, batch = Clocks(1), Batch(len(delays) + 1, 1)
    batch.n = len(delays)
    batch.received[: batch.n] = T + np.arange(batch.n) * SECOND
    batch.time[: batch.n] = batch.received[: batch.n] - np.array(delays, np.int64)
    clocks.call(batch, Features((), (), 0)).run(n=batch.n)
    return clocks


def test_nothing_is_said_before_enough_came() -> None:
    """One quick delivery among several is needed to tell a clock from a slow network."""
    assert watched([5] * (RUN - 1)).skew(0) is None
    assert watched([5] * RUN).skew(0) == -5e-6


@settings(deadline=None, derandomize=True)
@given(st.lists(st.integers(-HOUR, 48 * HOUR), min_size=RUN, max_size=200))
def test_agrees_with_a_plain_reference(delays: list[int]) -> None:
    """The median of the newest runs' least delays, with the sign turned."""
    runs = [delays[k : k + RUN] for k in range(0, len(delays) // RUN * RUN, RUN)]
    least = sorted(map(min, runs[-RUNS:]))
    assert watched(delays).skew(0) == pytest.approx(-least[(len(least) - 1) // 2] / 1e6, abs=1e-9)


def test_readings_in_arrears_and_single_wild_times_change_nothing() -> None:
    """A backlog of hours and now and then a time from the future leave a good clock good."""
    delays = [200_000] * 120
    for k in range(40, 46):
        delays[k] = 7 * HOUR
    for k in (64, 80):
        delays[k] = -30 * HOUR
    assert watched(delays).skew(0) == -0.2
    assert watched(delays).wrong(1, SECOND) == 0


def test_absurd_times_are_no_clock() -> None:
    """Event times at the ends of int64 neither overflow nor count."""
    clocks, batch = Clocks(1), Batch(RUN + 2, 1)
    batch.n = RUN + 2
    batch.received[:] = T
    batch.time[:] = [2**63 - 1, -(2**63), *([T] * RUN)]
    clocks.call(batch, Features((), (), 0)).run(n=batch.n)
    assert clocks.skew(0) == 0.0


CONFIG = """
[devices]
max_skew = "30s"
[[source]]
use = "mqtt"
topics = ["t"]
codec = "json"
[channels.a]
"""


def test_a_wrong_clock_is_shown_and_counted() -> None:
    """The device's page says by how much, and the counts how many devices there are of them."""
    pipeline = Pipeline(load_text(CONFIG, Path("p.toml"), {}))
    for k in range(20):
        for device, ahead in (("good", 0), ("behind", -45), ("ahead", 100)):
            payload = {"device": device, "time": T / 1e6 + k + ahead, "a": 1.0}
            received = T + k * SECOND
            pipeline.feed(Delivery(0, [json.dumps(payload).encode()], ["t"], [received]))
    views = {name: pipeline.board.device(name) for name in ("good", "behind", "ahead")}
    skews = {name: view and (view.clock_skew, view.clock_wrong) for name, view in views.items()}
    assert skews == {"good": (0.0, False), "behind": (-45.0, True), "ahead": (100.0, True)}
    assert pipeline.board.counts()["devices_clock_wrong"] == 2
