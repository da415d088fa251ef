"""Scores against River's own metrics, and what is served while a model warms up."""

import math

import numpy as np
import pandas as pd
import pytest
from river import metrics

from monitoring.number_scores import FIELDS, combined
from monitoring.recent import CHUNK, FLEET_WINDOW
from monitoring.scores import Scorer
from streamgauge.output import SCORE_COLUMNS
from streamgauge.predictions import RESIDUAL as TOLD
from streamgauge.predictions import STATUS, VALUE, VERSION
from streamgauge.schedule import BASE, LABEL, LANE, ROW, SEQUENCE, SLOT, STEP, Lane, Schedule
from streamgauge.schedule import RESIDUAL as SIGNAL
from streamgauge.words import Status, Step


def lane(*, change: bool = False, ready_after: int = 0, before_ready: str = "last") -> Lane:
    """A lane that waits for the next reading."""
    return Lane("t", "1 reading", 0, 0, 1, 0, change, (0,), ready_after, before_ready)


class Harness:
    """Feeds predictions and labels of one lane to a scorer, one schedule for all."""

    def __init__(self, word: Lane, window: int = 50, half_life: int = 500) -> None:
        self.scorer = Scorer([word], 4, pending=2, window=window, half_life=half_life)
        self.schedule = Schedule(100_000, 1)
        self.count = 0

    def step(
        self, step: Step, row: int, *, answer: float = math.nan, base: float = math.nan,
        label: float = math.nan,
    ) -> None:  # fmt: skip
        i, s = self.schedule.n, self.schedule
        s.codes[i, [STEP, LANE, ROW, SLOT, SEQUENCE]] = (step, 0, row, 0, self.count)
        s.numbers[i, [BASE, LABEL]] = (base, label)
        s.answers[i] = answer
        s.n += 1

    def run(self) -> tuple[np.ndarray, np.ndarray]:
        codes, numbers = np.zeros((self.schedule.n, 8), np.int64), np.zeros((self.schedule.n, 5))
        call = self.scorer.call(self.schedule, codes, numbers)
        assert call.run(steps=self.schedule.n, at=0) == self.schedule.n
        return codes, numbers

    def scores(self, row: int) -> dict[str, float]:
        return dict(zip(SCORE_COLUMNS, self.scorer.numbers(row, 0).tolist(), strict=True))


def test_scores_equal_rivers_metrics() -> None:
    """MAE, RMSE, R² and bias, cumulative and rolling, per device and overall, are River's."""
    random = np.random.default_rng(5)
    work = Harness(lane())
    everyone = {"mae": metrics.MAE(), "rmse": metrics.RMSE(), "r2": metrics.R2()}
    one = {"mae": metrics.MAE(), "rmse": metrics.RMSE(), "r2": metrics.R2()}
    last: list[tuple[float, float]] = []
    for _ in range(3_000):
        row, answer, base, label = int(random.integers(0, 3)), *random.normal(size=3)
        work.step(Step.PREDICT, row, answer=answer, base=base)
        work.step(Step.LEARN, row, base=base, label=label)
        for metric in everyone.values():
            metric.update(label, answer)
        if row == 1:
            last.append((label, answer))
            for metric in one.values():
                metric.update(label, answer)
    work.run()
    for row, expected in ((-1, everyone), (1, one)):
        found = work.scores(row)
        for name, metric in expected.items():
            assert found[name] == pytest.approx(metric.get(), rel=1e-12)
    recent = np.array(last[-50:])
    residual = recent[:, 0] - recent[:, 1]
    found = work.scores(1)
    assert found["rolling_mae"] == pytest.approx(np.abs(residual).mean(), rel=1e-12)
    assert found["rolling_rmse"] == pytest.approx(np.sqrt((residual**2).mean()), rel=1e-12)
    assert found["rolling_bias"] == pytest.approx(residual.mean(), rel=1e-9)
    spread = ((recent[:, 0] - recent[:, 0].mean()) ** 2).sum()
    assert found["rolling_r2"] == pytest.approx(1 - (residual**2).sum() / spread, rel=1e-12)
    assert found["bias"] == pytest.approx(np.mean([a - b for a, b in last]), rel=1e-9)


def answered(work: Harness, count: int, seed: int = 7) -> list[tuple[int, float, float, float]]:
    """Row, label, answer and base of so many labels of three devices, zeros among them."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        row, shift = int(random.integers(0, 3)), random.normal(size=3)
        label = float(shift[0]) + row if random.random() < 0.9 else 0.0
        answer = float(shift[1]) if random.random() < 0.9 else 0.0
        base = float(shift[2]) if random.random() < 0.8 else math.nan
        work.step(Step.PREDICT, row, answer=answer, base=base)
        work.step(Step.LEARN, row, base=base, label=label)
        found.append((row, label, answer, base))
    work.run()
    return found


def test_percentages_are_rivers() -> None:
    """MAPE and sMAPE per device and overall, also with labels and answers of 0."""
    work = Harness(lane())
    told = answered(work, 2_000)
    for row in (-1, 0, 2):
        theirs = {"mape": metrics.MAPE(), "smape": metrics.SMAPE()}
        for at, label, answer, _ in told:
            for metric in theirs.values():
                if row in (-1, at):
                    metric.update(label, answer)
        found = work.scores(row)
        for name, metric in theirs.items():
            assert found[name] == pytest.approx(metric.get(), rel=1e-12)
        size = FLEET_WINDOW if row < 0 else 50
        recent = {"mape": metrics.MAPE(), "smape": metrics.SMAPE()}
        for _, label, answer, _ in [one for one in told if row in (-1, one[0])][-size:]:
            for metric in recent.values():
                metric.update(label, answer)
        for name, metric in recent.items():
            assert found[f"rolling_{name}"] == pytest.approx(metric.get(), rel=1e-9)


@pytest.mark.parametrize("half_life", [1, 20, 300])
def test_decayed_scores_halve_with_the_half_life(half_life: int) -> None:
    """Errors as pandas weighs them exponentially, per device and overall, and those of the last
    value; R² with the same weights."""
    work = Harness(lane(), half_life=half_life)
    told = answered(work, 1_500)
    for row in (-1, 1):
        residual = pd.Series([label - answer for at, label, answer, _ in told if row in (-1, at)])
        found = work.scores(row)
        for name, values in {
            "decayed_mae": residual.abs(), "decayed_bias": residual, "decayed_rmse": residual**2
        }.items():  # fmt: skip
            mean = values.ewm(halflife=half_life).mean().iloc[-1]
            expected = math.sqrt(mean) if name == "decayed_rmse" else mean
            assert found[name] == pytest.approx(expected, rel=1e-9)
        own = [(label, answer, base) for at, label, answer, base in told if row in (-1, at)]
        weights = 0.5 ** (np.arange(len(own))[::-1] / half_life)
        theirs = {"mape": metrics.MAPE(), "smape": metrics.SMAPE()}
        last = {"mae": metrics.MAE(), "rmse": metrics.RMSE()}
        for (label, answer, base), weight in zip(own, weights.tolist(), strict=True):
            if weight == 0.0:
                continue
            for metric in theirs.values():
                metric.update(label, answer, weight)
            for metric in last.values() if base == base else ():
                metric.update(label, base, weight)
        label, answer, _ = np.array(own).T
        around = np.average((label - np.average(label, weights=weights)) ** 2, weights=weights)
        r2 = 1.0 - np.average((label - answer) ** 2, weights=weights) / around
        assert found["decayed_r2"] == pytest.approx(r2, rel=1e-9)
        for name, metric in theirs.items():
            assert found[f"decayed_{name}"] == pytest.approx(metric.get(), rel=1e-9)
        for name, metric in last.items():
            assert found[f"decayed_persistence_{name}"] == pytest.approx(metric.get(), rel=1e-9)


def test_devices_together_score_as_one() -> None:
    """Of several devices together all but the decayed scores are those of a device that has had all
    their labels; of all devices they are the overall ones."""
    work, alone = Harness(lane(), window=1_000), Harness(lane(), window=1_000)
    for row, label, answer, base in answered(work, 900):
        if row != 1:
            alone.step(Step.PREDICT, 0, answer=answer, base=base)
            alone.step(Step.LEARN, 0, base=base, label=label)
    alone.run()
    plain = [not name.startswith("decayed") for name in SCORE_COLUMNS]
    for rows, expected in (([0, 2], alone.scorer.numbers(0, 0)),
                           ([0, 1, 2], work.scorer.numbers(-1, 0))):  # fmt: skip
        found = work.scorer.together(rows, 0)
        np.testing.assert_allclose(found[plain], expected[plain], rtol=1e-9)
    one = work.scorer.together([1], 0)
    np.testing.assert_allclose(one, work.scorer.numbers(1, 0), rtol=1e-12)
    np.testing.assert_array_equal(combined(np.zeros((len(FIELDS), 2))), np.zeros(len(FIELDS)))


def test_persistence_is_scored_on_the_very_same_labels() -> None:
    """The last value's MAE and RMSE stand beside the model's."""
    work = Harness(lane(change=True))
    for base, change, label in ((10.0, 1.0, 12.0), (12.0, -3.0, 8.0)):
        work.step(Step.PREDICT, 0, answer=change, base=base)
        work.step(Step.LEARN, 0, base=base, label=label)
    _, numbers = work.run()
    assert numbers[:, VALUE].tolist() == [11.0, 11.0, 9.0, 9.0]
    found = work.scores(0)
    assert (found["mae"], found["persistence_mae"]) == (1.0, 3.0)
    assert found["persistence_rmse"] == pytest.approx(math.sqrt((4 + 16) / 2))


@pytest.mark.parametrize(("before", "served"), [("last", 5.0), ("none", math.nan)])
def test_until_the_model_is_ready_what_was_declared_is_served(before: str, served: float) -> None:
    """Below `ready_after` labels the status says so, and drift detectors see nothing."""
    work = Harness(lane(ready_after=2, before_ready=before))
    for _ in range(3):
        work.step(Step.PREDICT, 0, answer=7.0, base=5.0)
        work.step(Step.LEARN, 0, base=5.0, label=6.0)
    codes, numbers = work.run()
    assert codes[::2, STATUS].tolist() == [Status.WARMING_UP, Status.WARMING_UP, Status.PENDING]
    assert codes[::2, VERSION].tolist() == [0, 1, 2]
    assert codes[1::2, VERSION].tolist() == [0, 1, 2]
    np.testing.assert_array_equal(numbers[::2, VALUE], [served, served, 7.0])
    np.testing.assert_array_equal(work.schedule.numbers[1:6:2, SIGNAL], [math.nan, math.nan, -1.0])


def test_an_answer_that_is_not_finite_is_never_served() -> None:
    """A diverged model's answer is counted; the last value stands in for it."""
    work = Harness(lane())
    work.step(Step.PREDICT, 0, answer=math.inf, base=5.0)
    work.step(Step.LEARN, 0, base=5.0, label=6.0)
    _, numbers = work.run()
    assert numbers[0, VALUE] == 5.0
    assert numbers[1, TOLD] == 1.0
    assert work.scorer.blocks["device"].view("not_finite")[0, 0] == 1.0


def test_expired_and_overflowed_are_counted_apart() -> None:
    """A label that never came counts as expired, one pushed out as overflowed too."""
    work = Harness(lane())
    for weight in (1.0, 2.0):
        work.step(Step.PREDICT, 0, answer=1.0, base=1.0)
        work.schedule.numbers[work.schedule.n, 3] = weight
        work.step(Step.EXPIRE, 0, base=1.0)
    codes, _ = work.run()
    assert codes[1::2, STATUS].tolist() == [Status.EXPIRED, Status.EXPIRED]
    found = work.scores(-1)
    assert (found["expired"], found["overflowed"], found["labels"]) == (2.0, 1.0, 0.0)
    assert math.isnan(found["mae"])


def test_windows_hold_only_the_last_labels() -> None:
    """The rolling window is the last `window` labels of a device and the last 1,000 overall."""
    work = Harness(lane(), window=2 * CHUNK)
    for k in range(FLEET_WINDOW + 30):
        work.step(Step.PREDICT, 0, answer=0.0, base=0.0)
        work.step(Step.LEARN, 0, base=0.0, label=float(k))
    work.run()
    newest = FLEET_WINDOW + 29
    assert sorted(work.scorer.recent(0, 0)[:, 1]) == list(range(newest - 19, newest + 1))
    assert sorted(work.scorer.recent(-1, 0)[:, 1]) == list(range(30, newest + 1))
