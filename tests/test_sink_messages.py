"""Results as the JSON objects that topics carry."""

import json
from dataclasses import replace

import numpy as np

from monitoring.sinks._messages import encoded
from streamgauge.events import Event, EventKind
from tests.outputs import LEVEL, START, output, predicted, told


def test_every_result_is_an_object_with_its_prediction_s_id() -> None:
    """Predictions, outcomes and events carry device, task and id; what is no number is null, and an
    outcome has the id of its prediction."""
    drift = Event(EventKind.DRIFT_UP, 0, 1, START, 0, 1.0, 2.0, 30.0)
    gone = Event(EventKind.EVICTED, 1, -1, START, -1, np.nan, np.nan, np.nan)
    rows = [predicted(1), told(1), predicted(2, 1, 2), told(3, expired=True)]
    quiet = Event(EventKind.SILENT, 1, -1, START, -1, np.nan, np.nan, 60.0)
    channel = Event(EventKind.SILENT, 1, -1, START, -1, np.nan, np.nan, 90.0, "flow")
    noise = replace(LEVEL, signal="noise", kind=EventKind.DRIFT_DOWN)
    found = list(encoded(output(rows, events=[drift, gone, quiet, channel, LEVEL, noise])))
    kinds = ["prediction", "outcome", "prediction", "outcome", *["event"] * 6]
    assert [kind for kind, *_ in found] == kinds
    content = [json.loads(text) for *_, text in found]
    for (_, device, task, name, _), data in zip(found, content, strict=True):
        assert (data["device"], data["task"], data["id"]) == (device, task, name)
    assert found[0][3] == found[1][3] == "power@10m/pump-1/1"
    assert content[1]["residual"] == content[1]["label"] - content[1]["prediction"]
    assert content[3]["label"] is None
    assert content[4]["kind"] == "drift_up"
    assert [(one["channel"], one["seconds"]) for one in content[6:8]] == [
        ("", 60.0),
        ("flow", 90.0),
    ]
    assert len({name for *_, name, _ in found[4:]}) == 6
    assert (content[8]["signal"], content[8]["channel"]) == ("level", "flow")
    assert content[8]["since"] < content[8]["time"]
    assert content[8]["text"].startswith("level of flow fell from 20.5 to 18 since ")
    assert content[5] | {"before": None, "after": None} == content[5]


def test_what_comes_again_is_the_same() -> None:
    """The same output gives the same bytes under the same ids, whichever pieces it came in."""
    rows = [predicted(k) for k in range(4)]
    whole = list(encoded(output(rows)))
    assert [*encoded(output(rows[:1])), *encoded(output(rows[1:]))] == whole
    assert len({name for *_, name, _ in whole}) == 4
