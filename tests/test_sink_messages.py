"""Results as the JSON objects that topics carry."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from jsonschema import ValidationError

from monitoring.sinks._messages import encoded
from streamgauge.events import Event, EventKind
from streamgauge.signal import Kind
from streamgauge.words import Status
from tests.outputs import LEVEL, START, output, predicted, told
from tests.payloads import SCHEMA, checked


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
    content = [checked(text) for *_, text in found]
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


@pytest.mark.parametrize("kind", EventKind)
@pytest.mark.parametrize("signal", ["", *Kind])
def test_every_event_is_as_the_schema_says(kind: EventKind, signal: str) -> None:
    """Of a device or of all, with what is known and without."""
    known = replace(LEVEL, kind=kind, signal=signal)
    unknown = Event(kind, -1, 0, START, -1, np.nan, np.inf, np.nan, signal=signal)
    for one in encoded(output([], events=[known, unknown])):
        assert checked(one[4])["kind"] == kind.name.lower()


def test_the_schema_refuses_what_is_something_else() -> None:
    """A wrong type, a missing property, one that is not described, and a mixture."""
    [(*_, payload)] = encoded(output([told(1)]))
    content = checked(payload)
    wrong: list[dict[str, Any]] = [
        {"label": "12"}, {"made_at": "yesterday"}, {"more": 1}, {"status": "pending"},
        {"lower": 1.0},
    ]  # fmt: skip
    changed = [content | one for one in wrong]
    for one in [*changed, {k: v for k, v in content.items() if k != "residual"}]:
        with pytest.raises(ValidationError):
            checked(json.dumps(one).encode())


def test_the_schema_knows_every_word_and_explains_it() -> None:
    """Statuses, kinds of events and signals are those there are; each property is described."""
    forms = SCHEMA["$defs"]
    kinds = [
        form["properties"]["kind"]
        for form in forms.values()
        if "kind" in form.get("properties", {})
    ]
    named = [name for one in kinds for name in one.get("enum", [one.get("const")])]
    assert sorted(named) == sorted(kind.name.lower() for kind in EventKind)
    of = {form: forms[form]["properties"]["status"]["enum"] for form in ("prediction", "outcome")}
    assert sorted(of["prediction"] + of["outcome"]) == sorted(
        status.name.lower() for status in Status
    )
    assert forms["drift"]["properties"]["signal"]["enum"] == [kind.value for kind in Kind]
    for form in forms.values():
        assert all(one["description"] for one in form.get("properties", {}).values())


@pytest.mark.parametrize("page", ["kafka", "mqtt"])
def test_the_pages_show_messages_as_they_are(page: str) -> None:
    """Every message in them fits the schema, to which they lead."""
    folder = Path(__file__).resolve().parents[1] / "docs" / "how-to"
    text = (folder / f"{page}.md").read_text(encoding="utf-8")
    assert "(../messages.schema.json)" in text
    for shown in re.findall(r"```json\n(.*?)```", text, re.DOTALL):
        checked(shown.encode())
