"""Probabilities that come true: moved to how labels fall, and how far from that they are."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.calibration import EDGE, FIELDS, calibrate, learn
from stream_processor.pipeline import Pipeline
from tests.kinds import assert_any_cut_is_the_same, assert_goes_on, channels, loaded, problems, rows

INPUTS = ("nswprice", "nswdemand", "vicprice", "vicdemand", "transfer")
BAYES = 'model = "naive_bayes.GaussianNB"\n'
LABEL = 'label = { from = "column:label", delay = { readings = 48 } }\n'


def market(more: str, label: str = LABEL) -> str:
    """Whether prices of electricity rise."""
    return (
        f'{channels(INPUTS)}[tasks.price]\nkind = "classification"\nclasses = ["DOWN", "UP"]\n'
        f'{label}{more}[drift]\ndetector = "none"\n'
    )


def scores_of(made: Pipeline) -> dict[str, Any]:
    """Over all devices."""
    return dict(made.board.scores("price")[0].scores)


@pytest.mark.parametrize(("sharp", "wanted"), [(3.0, 1 / 3), (0.5, 2.0), (1.0, 1.0)])
def test_the_power_is_found(sharp: float, wanted: float) -> None:
    """Of three classes, told three times too sure, half as sure as they are, and rightly."""
    rng = np.random.default_rng(2)
    cell = np.zeros(len(FIELDS))
    for _ in range(20_000):
        true = rng.dirichlet(np.ones(3))
        label = int(rng.choice(3, p=true))
        told = true**sharp / (true**sharp).sum()
        power = calibrate(cell, 0, 1, told)
        assert told.sum() == pytest.approx(1.0)
        learn(cell, 0, 1, told, power, label)
    assert np.exp(cell[0]) == pytest.approx(wanted, rel=0.15)


def test_whatever_comes_the_power_stays_within_bounds() -> None:
    """Certainties that are always wrong, no probabilities at all, and classes never met."""
    for chances in ([1.0, 0.0], [np.nan, np.nan], [0.0, 0.0], [1e-300, 1.0], [0.5, np.nan]):
        cell = np.zeros(len(FIELDS))
        for k in range(2_000):
            told = np.array(chances)
            power = calibrate(cell, 0, 1, told)
            learn(cell, 0, 1, told, power, 1 if k % 3 else 0)
            assert np.isfinite(cell).all()
            assert abs(cell[0]) <= EDGE


@pytest.mark.slow
def test_naive_bayes_is_less_sure_of_itself() -> None:
    """Its answers stay what they are; their probabilities are nearer to how often it is right."""
    found = {}
    for wanted in ("false", "true"):
        made = loaded(market(f"{BAYES}calibrate = {wanted}\n"))
        table = made.replay(rows("elec2", 30_000))
        found[wanted] = scores_of(made), table["prediction"]
    (plain, answers), (moved, same) = found["false"], found["true"]
    assert list(answers) == list(same)
    for name in ("accuracy", "kappa", "f1_macro"):
        assert moved[name] == plain[name]
    for name, least in (("log_loss", 0.98), ("calibration_error", 0.9)):
        assert moved[name] < least * plain[name], name


def test_named_models_say_what_rivers_say_unless_asked() -> None:
    """Without a word only answers of tasks that name no model are moved."""
    tables = [
        loaded(market(more)).replay(rows("elec2", 2_000))["probabilities"]
        for more in (BAYES, f"{BAYES}calibrate = false\n", "calibrate = false\n", "")
    ]
    assert list(tables[0]) == list(tables[1])
    assert list(tables[2]) != list(tables[3])


def test_the_error_is_that_of_ten_bins() -> None:
    """As a plain computation finds it, and below .03 for the default on this recording."""
    made = loaded(market(""))
    table = made.replay(rows("elec2", 20_000))
    table = table[table["probabilities"].notna() & table["label"].notna()]
    told = pd.DataFrame(map(json.loads, table["probabilities"]))
    sure = told.max(axis=1).to_numpy()
    right = (table["prediction"] == table["label"]).to_numpy(float)
    bins = np.minimum((sure * 10).astype(int), 9)
    wanted = sum(abs((right - sure)[bins == k].sum()) for k in range(10)) / len(sure)
    error = scores_of(made)["calibration_error"]
    assert error == pytest.approx(wanted, rel=1e-9)
    assert error < 0.03


def test_any_cut_gives_the_same(tmp_path: Path) -> None:
    """Pieces of any size, and going on after a restart, are the same bits."""
    target = market(f"{BAYES}calibrate = true\n", 'target = "label"\n').replace(
        'classes = ["DOWN", "UP"]\n', ""
    )
    text = '[channels.label]\nkind = "category"\nvalues = ["DOWN", "UP"]\n' + target
    data = rows("elec2", 400)
    assert_any_cut_is_the_same(text, data, [1, 7, 200])
    assert_goes_on(text, data, tmp_path)


def test_other_kinds_have_no_probabilities() -> None:
    """Refused, with a remedy."""
    text = '[channels.a]\n[tasks.t]\nkind = "anomaly"\ncalibrate = true\n'
    assert "tasks.t.calibrate" in problems(text)
