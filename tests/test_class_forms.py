"""Rolling and decayed scores of classes, rankings by their probabilities, and confusion matrices,
per device, over several devices and over all."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pytest
from river import metrics

from monitoring import answers
from monitoring.ranking import of_classes
from monitoring.scores import Scorer
from streamgauge.calls import Chain, Now
from streamgauge.output import SCORE_COLUMNS
from streamgauge.schedule import BASE, LABEL, LANE, ROW, SEQUENCE, SLOT, STEP, Lane, Schedule
from streamgauge.words import Step

CLASSES, DEVICES, WINDOW, HALF_LIFE = 3, 4, 40, 25
LANE_OF = Lane(
    "state", "1 reading", 0, 0, 1, 0, False, (0,), 0, "last", kind="classification", parts=CLASSES
)


class Label(NamedTuple):
    """One label of a device, what was answered, and the last known label."""

    row: int
    label: int
    answer: int
    chances: list[float]
    base: float


def made(count: int, seed: int = 3) -> list[Label]:
    """Labels of some devices; the third class is rare, some answers have no probabilities."""
    random = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        label = int(random.choice(CLASSES, p=(0.5, 0.4, 0.1)))
        weights = random.uniform(1.0, 6.0, CLASSES) + 3.0 * (np.arange(CLASSES) == label)
        chances = weights / weights.sum()
        if random.random() < 0.1:
            chances[:] = np.nan
        row, answer = int(random.integers(0, DEVICES)), int(random.integers(0, CLASSES))
        if np.isfinite(chances).all():
            answer = int(np.argmax(chances))
        base = float(random.integers(0, CLASSES)) if random.random() < 0.9 else math.nan
        found.append(Label(row, label, answer, chances.tolist(), base))
    return found


def scored(labels: Sequence[Label], lane: Lane = LANE_OF) -> Scorer:
    """All of them told, in batches of 97."""
    scorer = Scorer(
        [lane], DEVICES, pending=2, window=WINDOW, half_life=HALF_LIFE, room=2 * len(labels)
    )
    schedule, now = Schedule(200, 1, lane.parts), np.zeros(len(Now), np.int64)
    codes, numbers = np.zeros((200, 8), np.int64), np.zeros((200, 5))
    chain = Chain(scorer.calls(schedule, codes, numbers, np.zeros((200, lane.parts))), now)
    for begin in range(0, len(labels), 97):
        for k, one in enumerate(labels[begin : begin + 97]):
            for i, step in ((2 * k, Step.PREDICT), (2 * k + 1, Step.LEARN)):
                schedule.codes[i, [STEP, LANE, ROW, SLOT, SEQUENCE]] = (step, 0, one.row, 0, k)
                schedule.numbers[i, [BASE, LABEL]] = (one.base, one.label)
            schedule.answers[2 * k], schedule.parts[2 * k] = one.answer, one.chances
        schedule.n = 2 * len(labels[begin : begin + 97])
        now[Now.STEPS], now[Now.AT] = schedule.n, 0
        chain.run()
    return scorer


@pytest.fixture(scope="module")
def labels() -> list[Label]:
    """More than fit into any window."""
    return made(1_500)


@pytest.fixture(scope="module")
def scorer(labels: list[Label]) -> Scorer:
    """What they come to."""
    return scored(labels)


def of(labels: Sequence[Label], row: int) -> list[Label]:
    """Of one device, -1 of all."""
    return [one for one in labels if row in (-1, one.row)]


def named(scorer: Scorer, row: int) -> dict[str, float]:
    """The scores of one device, -1 over all."""
    return dict(zip(SCORE_COLUMNS, scorer.numbers(row, 0).tolist(), strict=True))


COUNTED: dict[str, Callable[[], metrics.base.MultiClassMetric]] = {
    "accuracy": metrics.Accuracy,
    "balanced_accuracy": metrics.BalancedAccuracy,
    "f1_macro": metrics.MacroF1,
    "kappa": metrics.CohenKappa,
    "precision_macro": metrics.MacroPrecision,
    "recall_macro": metrics.MacroRecall,
    "f1_weighted": metrics.WeightedF1,
}


def rivers(found: Sequence[tuple[int, int]], weights: Sequence[float]) -> dict[str, float]:
    """River's metrics of labels and answers."""
    own = {name: build() for name, build in COUNTED.items()}
    for (label, answer), weight in zip(found, weights, strict=True):
        for metric in own.values():
            metric.update(label, answer, weight)
    return {name: metric.get() for name, metric in own.items()}


def means(found: Sequence[Label], weights: Sequence[float]) -> dict[str, float]:
    """Log loss and Brier score of those with probabilities."""
    known = [
        (one, weight)
        for one, weight in zip(found, weights, strict=True)
        if not math.isnan(one.chances[0])
    ]
    own = [weight for _, weight in known]
    loss = [-math.log(one.chances[one.label]) for one, _ in known]
    brier = [
        sum((chance - (k == one.label)) ** 2 for k, chance in enumerate(one.chances))
        for one, _ in known
    ]
    return {
        "log_loss": float(np.average(loss, weights=own)),
        "brier": float(np.average(brier, weights=own)),
    }


def faded(count: int) -> list[float]:
    """Weights that halve with every HALF_LIFE labels."""
    return [0.5 ** ((count - 1 - k) / HALF_LIFE) for k in range(count)]


@pytest.mark.parametrize("row", [-1, 0, 3])
def test_decayed_scores_are_rivers_with_weights(
    row: int, labels: list[Label], scorer: Scorer
) -> None:
    """Every one, also those of the baselines, weighs a label half after so many others."""
    own = of(labels, row)
    weights = faded(len(own))
    pairs = [(one.label, one.answer) for one in own]
    wanted = rivers(pairs, weights) | means(own, weights)
    based = [(one, w) for one, w in zip(own, weights, strict=True) if not math.isnan(one.base)]
    hits = [(one.label == one.base) for one, _ in based]
    wanted["persistence_accuracy"] = float(np.average(hits, weights=[w for _, w in based]))
    counts, usual = [0] * CLASSES, []
    for one in own:
        usual.append(counts[one.label] > 0 and counts.index(max(counts)) == one.label)
        counts[one.label] += 1
    wanted["majority_accuracy"] = float(np.average(usual, weights=weights))
    found = named(scorer, row)
    told = {name: found[f"decayed_{name}"] for name in wanted}
    assert told == pytest.approx(wanted, rel=1e-9)
    whole = [1.0] * len(own)
    plain = rivers(pairs, whole) | means(own, whole)
    assert {name: found[name] for name in plain} == pytest.approx(plain, rel=1e-9)


@pytest.mark.parametrize(("row", "size"), [(-1, 1_000), (0, WINDOW), (3, WINDOW)])
def test_rolling_scores_are_rivers_on_the_window(
    row: int, size: int, labels: list[Label], scorer: Scorer
) -> None:
    """Of exactly the last labels."""
    own = of(labels, row)[-size:]
    wanted = rivers([(one.label, one.answer) for one in own], [1.0] * size)
    wanted |= means(own, [1.0] * size)
    found = named(scorer, row)
    told = {name: found[f"rolling_{name}"] for name in wanted}
    assert told == pytest.approx(wanted, rel=1e-9)


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """As scikit-learn defines it: the sum over thresholds of precision times the step of recall."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(scores.tolist()), reverse=True):
        above = scores >= threshold
        recall = truth[above].sum() / truth.sum()
        total += (recall - before) * truth[above].mean()
        before = recall
    return total


@pytest.mark.parametrize(("row", "size"), [(-1, 1_000), (1, WINDOW)])
def test_rankings_are_one_class_against_the_others(
    row: int, size: int, labels: list[Label], scorer: Scorer
) -> None:
    """ROC AUC of each class is River's on the window, PR AUC scikit-learn's by its definition; the
    task's are their means over classes."""
    own = [one for one in of(labels, row)[-size:] if not math.isnan(one.chances[0])]
    truth = np.array([one.label for one in own])
    chances = np.array([one.chances for one in own])
    roc, precision = [], []
    for k in range(CLASSES):
        metric = metrics.RollingROCAUC(window_size=len(own))
        for label, chance in zip(truth, chances[:, k], strict=True):
            metric.update(label == k, chance)
        roc.append(metric.get())
        precision.append(average_precision(truth == k, chances[:, k]))
    assert scorer.answers is not None
    ranked = scorer.answers.ranked([row], 0)
    assert ranked.tolist() == [pytest.approx(roc), pytest.approx(precision)]
    found = named(scorer, row)
    assert found["rolling_roc_auc"] == pytest.approx(np.mean(roc))
    assert found["rolling_pr_auc"] == pytest.approx(np.mean(precision))
    assert 0.6 < found["rolling_roc_auc"] < 1.0


def test_a_class_without_labels_has_no_ranking() -> None:
    """It is left out of the mean; so is one that all labels are of, and answers without
    probabilities."""
    truth = np.array([0.0, 0.0, 1.0, 1.0])
    chances = np.array([[0.9, 0.1, 0.0], [0.4, 0.6, np.nan], [0.3, 0.7, 0.0], [np.nan] * 3])
    ranked = of_classes(truth, chances)
    assert ranked[:, :2].tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert np.isnan(ranked[:, 2]).all()
    assert np.isnan(of_classes(truth[:2], chances[:2])).all()
    assert of_classes(truth[:0], chances[:0]).shape == (2, 3)


def test_equal_probabilities_count_half() -> None:
    """Of each pair of a reading of the class and one of another, as scikit-learn has it."""
    random = np.random.default_rng(5)
    truth, chances = random.integers(0, 2, 60).astype(float), random.integers(0, 4, (60, 2)) / 4.0
    ranked = of_classes(truth, chances)
    for k in range(2):
        own, others = chances[truth == k, k], chances[truth != k, k]
        pairs = own[:, None] - others
        wanted = (np.sum(pairs > 0) + np.sum(pairs == 0) / 2) / pairs.size
        assert ranked[0, k] == pytest.approx(wanted)
        assert ranked[1, k] == pytest.approx(average_precision(truth == k, chances[:, k]))


def crosstab(labels: Sequence[Label]) -> list[list[float]]:
    """Pairs of label and answer."""
    found = np.zeros((CLASSES, CLASSES))
    for one in labels:
        found[one.label, one.answer] += 1.0
    return found.tolist()


def test_who_was_told_as_whom(labels: list[Label], scorer: Scorer) -> None:
    """Of each device, of some together, and over all."""
    assert scorer.answers is not None
    for row in (-1, 0, 1, 2, 3):
        assert scorer.answers.confusion([row], 0).tolist() == crosstab(of(labels, row))
    some = [one for one in labels if one.row in (0, 2)]
    assert scorer.answers.confusion([0, 2], 0).tolist() == crosstab(some)


def test_many_classes_have_one_matrix(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond a number of classes no device has its own."""
    monkeypatch.setattr(answers, "MOST_PAIRED", CLASSES - 1)
    few = made(60)
    scorer = scored(few)
    assert scorer.answers is not None
    assert scorer.answers.confusion([-1], 0).tolist() == crosstab(few)
    assert scorer.answers.confusion([1], 0).size == 0
    assert not scorer.answers.blocks["confusion"].array.any()


def test_devices_together_score_as_one(labels: list[Label], scorer: Scorer) -> None:
    """All but what fades, and what depends on the order of devices, is that of one device that has
    had all their labels."""
    some = [one for one in labels if one.row in (0, 2)]
    alone = scored([one._replace(row=0) for one in some])
    found = dict(zip(SCORE_COLUMNS, scorer.together([0, 2], 0).tolist(), strict=True))
    expected = named(alone, 0)
    plain = {
        name: value for name, value in expected.items()
        if not name.startswith(("decayed_", "rolling_", "majority")) and not math.isnan(value)
    }  # fmt: skip
    assert {"mcc", "brier", "calibration_error", "persistence_accuracy"} < plain.keys()
    assert {name: found[name] for name in plain} == pytest.approx(plain, rel=1e-9)
    newest = [one for row in (0, 2) for one in of(labels, row)[-WINDOW:]]
    wanted = rivers([(one.label, one.answer) for one in newest], [1.0] * len(newest))
    assert found["rolling_kappa"] == pytest.approx(wanted["kappa"])
    assert found["rolling_log_loss"] == pytest.approx(
        means(newest, [1.0] * len(newest))["log_loss"]
    )
