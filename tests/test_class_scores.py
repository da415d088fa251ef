"""Scores of classes: River's own, beside two baselines; they go on when other tasks come and go."""

import json

import numpy as np
import pandas as pd
import pytest
from river import metrics

from monitoring import class_scores
from monitoring.skill import skill
from stream_processor.changes import Changes
from stream_processor.pipeline import Pipeline
from stream_processor.snapshot import capture, restore
from tests.kinds import live, loaded, rows, scores, table
from tests.test_changes import between, defined
from tests.test_tasks_classify import COLUMN, DELAY, MARKET, TOPIC, market


def test_scores_are_rivers() -> None:
    """Accuracy, balanced accuracy, macro F1, kappa and log loss, of the device and over all; both
    baselines as a plain count gives them."""
    data = rows("elec2", 3_000)
    made = loaded(market("LogisticRegression", COLUMN))
    found = made.replay(data)
    found = found[found["prediction"].notna() & found["label"].notna()]
    theirs = [
        metrics.Accuracy(),
        metrics.BalancedAccuracy(),
        metrics.MacroF1(),
        metrics.CohenKappa(),
        metrics.MacroPrecision(),
        metrics.MacroRecall(),
        metrics.WeightedF1(),
    ]
    loss, matthews = metrics.LogLoss(), metrics.MCC()
    for answer, label, text in zip(
        found["prediction"], found["label"], found["probabilities"], strict=True
    ):
        for metric in theirs:
            metric.update(label, answer)
        matthews.update(label == "UP", answer == "UP")
        loss.update(label == "UP", json.loads(text)["UP"])
    names = [
        "accuracy",
        "balanced_accuracy",
        "f1_macro",
        "kappa",
        "precision_macro",
        "recall_macro",
    ]
    names += ["f1_weighted"]
    chance = [json.loads(text)["UP"] for text in found["probabilities"]]
    brier = np.mean((np.array(chance) - (found["label"] == "UP").to_numpy()) ** 2)
    right = (found["label"] == found["prediction"]).astype(float)
    for ours in scores(made):
        assert [ours[name] for name in names] == pytest.approx([m.get() for m in theirs], rel=1e-12)
        assert ours["log_loss"] == pytest.approx(loss.get(), rel=1e-9)
        assert ours["mcc"] == pytest.approx(matthews.get(), rel=1e-9)
        assert ours["brier"] == pytest.approx(brier, rel=1e-9)
        assert ours["decayed_accuracy"] == pytest.approx(right.ewm(halflife=500).mean().iloc[-1])
        assert ours["labels"] == len(found) > 2_900
        assert ours["rolling_accuracy"] is not None
        assert ours["mae"] is None
    labels, best = list(data["label"][: len(found)]), 0
    for i, label in enumerate(labels):
        before = labels[:i]
        best += before.count(label) > before.count("UP" if label == "DOWN" else "DOWN") or (
            label == "DOWN" and i > 0 and 2 * before.count(label) == i
        )
    assert ours["majority_accuracy"] == pytest.approx(best / len(labels))
    last = [labels[i] == labels[i - DELAY] for i in range(DELAY, len(labels))]
    assert ours["persistence_accuracy"] == pytest.approx(np.mean(last))
    baseline = max(best / len(labels), float(np.mean(last)))
    avoided = 1.0 - (1.0 - theirs[0].get()) / (1.0 - baseline)
    assert skill(dict(ours)) == pytest.approx(avoided)


def test_each_class_has_its_own_scores() -> None:
    """Precision, recall and F1 of each class are River's; the confusion matrix is that of the
    device, and over all devices."""
    made = loaded(market("GaussianNB", COLUMN))
    found = made.replay(rows("elec2", 1_000))
    found = found[found["prediction"].notna() & found["label"].notna()]
    overall = made.board.scores("price")[0]
    device = made.board.scores("price", made.board.device_ids()[0])[0]
    assert list(overall.per_class) == ["DOWN", "UP"]
    for name, ours in overall.per_class.items():
        theirs = [metrics.Precision(), metrics.Recall(), metrics.F1()]
        for answer, label in zip(found["prediction"], found["label"], strict=True):
            for metric in theirs:
                metric.update(label == name, answer == name)
        assert ours["labels"] == (found["label"] == name).sum()
        told = [ours[key] for key in ("precision", "recall", "f1")]
        assert told == pytest.approx([metric.get() for metric in theirs], rel=1e-12)
    counted = pd.crosstab(found["label"], found["prediction"])
    assert overall.confusion == counted.loc[["DOWN", "UP"], ["DOWN", "UP"]].to_numpy().tolist()
    for name, ours in device.per_class.items():
        assert ours.keys() == overall.per_class[name].keys()
        assert {ours["rolling_roc_auc"] is None, ours["rolling_pr_auc"] is None} == {False}
        counts = ("labels", "precision", "recall", "f1")
        assert [ours[key] for key in counts] == [overall.per_class[name][key] for key in counts]
    assert device.confusion == overall.confusion


def test_scores_of_more_than_two_classes() -> None:
    """Of three classes, one of them never told and one never there, as River counts; Matthews'
    coefficient of perfect answers is 1, and of one class alone 0."""
    random = np.random.default_rng(3)
    labels, answers = random.integers(0, 3, 500), random.integers(0, 4, 500)
    answers[answers == 2] = 0
    counts = np.zeros((6, 5))
    theirs = [metrics.MacroPrecision(), metrics.MacroRecall(), metrics.WeightedF1()]
    for label, answer in zip(labels.tolist(), answers.tolist(), strict=True):
        counts[0, label] += 1
        counts[1, answer] += 1
        counts[2, label] += label == answer
        for metric in theirs:
            metric.update(label, answer)
    fields = np.zeros(len(class_scores.FIELDS))

    def found(counts: np.ndarray) -> dict[str, float]:
        told = class_scores.summary(fields, counts)
        return dict(zip(class_scores.COLUMNS, told, strict=False))

    ours = found(counts)
    told = [ours[name] for name in ("precision_macro", "recall_macro", "f1_weighted")]
    assert told == pytest.approx([metric.get() for metric in theirs], rel=1e-12)
    perfect = np.array([[4.0, 3.0, 2.0]] * 6)
    assert found(perfect)["mcc"] == pytest.approx(1.0)
    assert found(np.array([[4.0, 3.0], [7.0, 0.0], [4.0, 0.0]] * 2))["mcc"] == 0.0


MORE = """
[channels.label]
kind = "category"
values = ["DOWN", "UP", "SAME"]
[tasks.first]
kind = "classification"
target = "label"
model = ["naive_bayes.GaussianNB"]
[tasks.strange]
kind = "anomaly"
model = ["preprocessing.StandardScaler", "anomaly.OneClassSVM"]
"""


def taken_over(old: Pipeline, new: Pipeline) -> Changes:
    """Put the state of one into the other; what changed."""
    changes = between(old, new)
    restore(new.walk, capture(old.walk, defined(old), {"sources": [None]}), changes)
    return changes


def test_a_task_goes_on_when_others_come_and_go() -> None:
    """One with more classes before it, one that is no classification, and back: the same answers
    and scores; other classes begin anew."""
    named = f"inputs = {json.dumps(MARKET)}\nready_after"
    text, data = market("GaussianNB", TOPIC).replace("ready_after", named), rows("elec2", 360)
    whole = loaded(text)
    expected = table(whole, live(whole, data, "label", DELAY))
    older = loaded(text)
    begun: list[pd.DataFrame] = []
    for end, now in ((120, text), (240, MORE + text), (360, text)):
        made = loaded(now)
        if begun:
            assert "price" in taken_over(older, made).lane_names
        begun.append(table(made, live(made, data[:end], "label", DELAY, start=end - 120)))
        older = made
    for part in begun:
        own = part[(part["task"] == "price") & part["prediction"].notna()].set_index("id")
        same = expected.set_index("id").loc[own.index]
        pd.testing.assert_series_equal(own["prediction"], same["prediction"])
        pd.testing.assert_series_equal(own["probabilities"], same["probabilities"])
    assert scores(older) == scores(whole)
    turned = loaded(text.replace('["DOWN", "UP"]', '["UP", "DOWN"]'))
    assert "price" not in taken_over(whole, turned).lane_names
    assert [one["labels"] for one in scores(turned)] == [0.0, 0.0]
