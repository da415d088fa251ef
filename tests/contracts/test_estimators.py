"""Every estimator of River: built by a configuration, run on a recording, restarted half-way."""

from pathlib import Path

import numpy as np
import pytest
from river import base

from tests.contracts.estimators import EXCLUDED, estimators, kind_of, model_of
from tests.kinds import assert_goes_on, channels, live, loaded, rows, toml

FOUND = estimators()
TAKEN = sorted(FOUND.keys() - EXCLUDED.keys())
MARKET = ("nswprice", "nswdemand", "period")
ROWS = 160
RAISES = {"cluster.STREAMKMeans": (1, "it cannot be asked before it has learned a reading")}
"""How often River itself raises, and why; counted, and no answer to anyone."""


def task(name: str) -> str:
    """A configuration with that estimator, which sees features between 0 and 1."""
    kind = kind_of(FOUND[name])
    targets = {"regression": "transfer", "forecast": "transfer", "classification": "label"}
    target = targets.get(str(kind), "")
    if kind == "anomaly" and issubclass(FOUND[name], base.SupervisedAnomalyDetector):
        target = "nswprice"
    wanted = f'target = "{target}"' if target else ""
    if kind == "forecast":
        wanted += "\nhorizons = [{ readings = 2 }]"
    return f"""{channels((*MARKET, "transfer"))}
[channels.label]
kind = "category"
values = ["DOWN", "UP"]
[tasks.t]
kind = "{kind}"
{wanted}
inputs = ["!*", {", ".join(f'"{name}"' for name in MARKET)}]
ready_after = 0
model = [{toml(model_of(name, FOUND[name]))}]
"""


def test_what_is_excluded_is_there() -> None:
    """An exclusion that names nothing of River any more is deleted."""
    assert EXCLUDED.keys() <= FOUND.keys()
    assert len(TAKEN) > 70


@pytest.mark.parametrize("name", TAKEN)
def test_every_estimator_is_a_model(name: str, tmp_path: Path) -> None:
    """It answers with numbers, raises nothing, and goes on from a checkpoint identically."""
    data = rows("elec2", ROWS)
    made = loaded(task(name))
    outputs = live(made, data)
    answers = np.concatenate([o.predictions.numbers[o.predictions.made, 0] for o in outputs])
    assert len(answers) == ROWS
    assert np.isfinite(answers[10:]).all()
    failures = sum(made.models[0].learner.failures.values())
    assert failures == RAISES.get(name, (0, ""))[0], made.models[0].learner.failures
    assert_goes_on(task(name), data, tmp_path)
