"""Scores of classes: River's own, beside two baselines; they go on when other tasks come and go."""

import json

import numpy as np
import pandas as pd
import pytest
from river import metrics

from serving.api.tasks import skill
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
    ]
    loss = metrics.LogLoss()
    for answer, label, text in zip(
        found["prediction"], found["label"], found["probabilities"], strict=True
    ):
        for metric in theirs:
            metric.update(label, answer)
        loss.update(label == "UP", json.loads(text)["UP"])
    names = ["accuracy", "balanced_accuracy", "f1_macro", "kappa"]
    for ours in scores(made):
        assert [ours[name] for name in names] == pytest.approx([m.get() for m in theirs], rel=1e-12)
        assert ours["log_loss"] == pytest.approx(loss.get(), rel=1e-9)
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
