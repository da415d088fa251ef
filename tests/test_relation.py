"""How channels lie to each other: the distance is the definition's, and a lost relation is told."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from monitoring.relation import Relation
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from stream_processor.settings.problems import Problems
from streamgauge.delivery import Readings
from streamgauge.events import Event, EventKind
from streamgauge.signal import PART, ROW, SEEN, SOURCE, VALUE, Kind, Signal
from tests.drifting import MINUTE, START
from tests.test_changes import moved

Floats = NDArray[np.float64]
CONFIG = """
[devices]
limit = 30
[channels]
a = {}
b = {}
c = {}
[drift]
detector = "none"
level = "cusum"
noise = "cusum"
shape = "none"
relation = "cusum"
"""


def residuals(values: Floats, rows: NDArray[np.int64]) -> Signal:
    """Of channels 0 and 2 of three, of devices in turn; of some readings only one."""
    n = len(values)
    signal = Signal(Kind.LEVEL, "channels", ["a", "b", "c"], 2 * n)
    codes = np.zeros((2 * n, 4), np.int64)
    codes[:, ROW], codes[:, SOURCE] = np.repeat(rows, 2), np.repeat(np.arange(n), 2)
    codes[:, PART] = np.tile([0, 2], n)
    kept = np.arange(2 * n) % 14 != 3
    many = signal.count[0] = kept.sum()
    signal.codes[:many], signal.numbers[:many, VALUE] = codes[kept], values.ravel()[kept]
    return signal


def test_the_distance_is_that_of_mahalanobis() -> None:
    """Of each reading that has all of them, by numpy's inverse of the covariance until then."""
    rng = np.random.default_rng(1)
    values = np.clip(rng.multivariate_normal([0, 0], [[1.0, 0.8], [0.8, 1.0]], 3_000), -4, 4)
    rows = np.arange(3_000) % 2
    level = residuals(values, rows)
    found = Relation(level, [0, 2], 2, part=3_000)
    found.call().run()
    whole = [i for i in range(3_000) if (2 * i) % 14 != 3 and (2 * i + 1) % 14 != 3]
    known, wanted = {0: (np.zeros((2, 2)), 0), 1: (np.zeros((2, 2)), 0)}, []
    for i in whole:
        covariance, seen = known[rows[i] % 2]
        v = values[i]
        if seen >= 400:
            inverse = np.linalg.inv(covariance + 0.01 * np.eye(2))
            wanted.append((i, float(np.sqrt(v @ inverse @ v / 2))))
        gain = max(1 / (seen + 1), 1 / 5_000)
        known[rows[i] % 2] = covariance + (np.outer(v, v) - covariance) * gain, seen + 1
    n = len(found.signal)
    assert found.signal.codes[:n, SOURCE].tolist() == [i for i, _ in wanted]
    seen_as = found.signal.numbers[:n, SEEN]
    np.testing.assert_allclose(seen_as, [distance for _, distance in wanted], rtol=1e-9)
    assert abs(found.signal.numbers[:n, VALUE].mean()) < 0.1
    assert found.signal.numbers[:n, VALUE].std() == pytest.approx(1.0, abs=0.1)


def recorded(n: int, devices: int, change: int, seed: int) -> Readings:
    """Three channels of which two move together; from a moment on, on odd devices, no longer,
    though each of them goes on as it did."""
    rng = np.random.default_rng(seed)
    a, b, c = rng.normal(size=(3, n, devices))
    together = np.full((n, devices), 0.9)
    together[change:, 1::2] = 0.0
    b = together * a + np.sqrt(1.0 - together**2) * b
    values = 20.0 + np.stack([x.ravel() for x in (a, b, c)], axis=1)
    time = START + np.repeat(np.arange(n), devices) * MINUTE
    return Readings([f"d{k}" for k in range(devices)] * n, time, time.copy(), values)


def told(readings: Readings, text: str = CONFIG) -> list[Event]:
    """What detectors said."""
    made = Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))
    return [e for output in made.record(readings) for e in output.events if e.signal]


def test_a_relation_that_is_lost_is_told_by_no_other_signal() -> None:
    """Of nine in ten devices within 200 readings; by name, since when, and how far."""
    events = told(recorded(12_000, 20, 9_000, 1))
    alone = [e for e in events if e.signal == "relation"]
    changed = START + 9_000 * MINUTE
    soon = [e for e in alone if changed <= e.time < changed + 200 * MINUTE]
    assert len({e.row for e in soon}) >= 9
    assert {e.row % 2 for e in soon} == {1}
    first = soon[0]
    assert (first.kind, first.channel) == (EventKind.DRIFT_UP, "a, b, c")
    assert abs(first.since - changed) < 60 * MINUTE
    assert first.before == pytest.approx(1.0, abs=0.2)
    assert first.after > 1.3
    assert len(events) - len(alone) <= 2


def test_few_false_alarms() -> None:
    """In 200,000 readings on which nothing changes."""
    events = [e for e in told(recorded(15_000, 20, 15_000, 2)) if e.signal == "relation"]
    assert len(events) <= 4


def test_a_relation_of_other_channels_begins_anew() -> None:
    """What is known of each channel stays; of the same channels the relation does too."""
    old = Pipeline(load_text(CONFIG, Path("test.toml"), {}, for_replay=True))
    for _ in old.record(recorded(6_000, 2, 6_000, 3)):
        pass
    for text, stays in ((CONFIG, True), (CONFIG.replace("c = {}", "c = {}\nd = {}"), False)):
        new = Pipeline(load_text(text, Path("test.toml"), {}, for_replay=True))
        moved(old, new)
        for name in ("drift.relation.covariance", "drift.relation.state"):
            block = new.walk.blocks[name]
            assert bool(block.array.any()) is stays
            if stays:
                assert block.array.tobytes() == old.walk.blocks[name].array.tobytes()
        before, after = (made.walk.blocks["drift.level.state"] for made in (old, new))
        assert np.array_equal(before.view("state")[:2, :3], after.view("state")[:2, :3])


def test_one_channel_has_no_relation() -> None:
    """It is refused by key, with what to do."""
    text = CONFIG.replace("b = {}\nc = {}\n", "")
    with pytest.raises(Problems, match=r"drift.relation.*two channels of numbers"):
        load_text(text, Path("test.toml"), {}, for_replay=True)
