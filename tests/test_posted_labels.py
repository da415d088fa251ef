"""POST /v1/labels: a prediction is made, its label is posted by id, and it is learned once."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from httpx import Client

from ingest.labels import LabelCodec
from ingest.rejects import Rejects
from ingest.sources import http
from serving.api.intake import Intake
from stream_processor.settings.fields import PluginUse
from stream_processor.settings.tasks import LabelFields
from streamgauge.schema import Channel, Schema
from tests.services.ports import wait_for
from tests.services.service import Service
from tests.services.stand import Stand
from tests.streams import COMPILED

CHECKPOINTS = "streamgauge_checkpoints_total"
SCHEMA = Schema([Channel("load")])
CONFIG = f"""
[[source]]
use = "http"
time = "received"
[channels.load]
[tasks.quality]
kind = "regression"
ready_after = 0
model = {COMPILED}
label = {{ from = "http" }}
"""


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A service that can be killed and started again."""
    one = Service(tmp_path, CONFIG, every="50ms")
    try:
        one.start()
        yield one
    finally:
        one.kill()


def post(running: Service, path: str, body: Any) -> tuple[int, Any]:
    """What the service answers."""
    with Client(base_url=running.url) as client:
        answer = client.post(path, json=body)
        return answer.status_code, answer.json()


def score(running: Service) -> dict[str, Any]:
    """The scores of the task's only horizon."""
    found: dict[str, Any] = running.get("/v1/tasks/quality/scores")["items"][0]
    return found


def fates(running: Service) -> list[int]:
    """Labels that taught, came twice, and were for no prediction."""
    found = score(running)["labels"]
    return [int(found[name]) for name in ("taught", "duplicate", "unmatched")]


def newest(running: Service) -> dict[str, Any]:
    """The newest prediction of the device."""
    found: dict[str, Any] = running.get("/v1/devices/press/predictions")["items"][0]
    return found


def restart_after_checkpoint(running: Service) -> None:
    """Kill it once a checkpoint that began after now is written."""
    before = running.count(CHECKPOINTS)
    wait_for(lambda: running.count(CHECKPOINTS) >= before + 2, what="two checkpoints")
    running.kill()
    running.start()


@pytest.mark.slow
def test_predict_post_learn(service: Service) -> None:
    """A prediction that waits and a label that was posted both outlive a kill; the label is learned
    and scored once, and what it met is told."""
    for load in (1.0, 2.0):
        assert post(service, "/v1/readings", {"device": "press", "load": load})[0] == 202
    service.wait_admitted(2)
    waiting = newest(service)
    assert waiting["status"] == "pending"
    restart_after_checkpoint(service)

    told = {"id": waiting["id"], "label": 7.5}
    assert post(service, "/v1/labels", told) == (202, {"accepted": 1})
    service.kill()
    service.start()
    wait_for(lambda: fates(service) == [1, 0, 0], what=f"one label: {score(service)}")
    settled = newest(service)
    assert settled["id"] == waiting["id"]
    assert (settled["status"], settled["label"]) == ("labelled", 7.5)
    assert settled["residual"] == 7.5 - waiting["prediction"]

    twice = [{"id": waiting["id"], "label": 8}, {"id": "quality/press/99", "label": 1}]
    assert post(service, "/v1/labels", twice) == (202, {"accepted": 2})
    wait_for(lambda: fates(service) == [1, 1, 1], what=f"all fates: {score(service)}")
    assert newest(service) == settled
    assert post(service, "/v1/readings", {"device": "press", "load": 3.0})[0] == 202
    service.wait_admitted(3)
    assert newest(service)["model_version"] == 1
    restart_after_checkpoint(service)
    assert fates(service) == [1, 1, 1]


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ({"id": "quality/press/0"}, "bad_label"),
        ({"id": "quality/press/0", "label": "much"}, "bad_label"),
        ({"label": 1}, "no_prediction"),
        ({"device": "press", "time": "soon", "label": 1}, "bad_time"),
        ("quality/press/0", "malformed"),
    ],
)
def test_what_is_no_label(label: Any, reason: str) -> None:
    """It is told before anything is taken, with its place and the reason."""
    source = http.open(SCHEMA, 0, lambda: 1, Rejects())
    labels = [LabelCodec(asdict(LabelFields()), "UTC")]
    intake = Intake(source, PluginUse("json"), SCHEMA, lambda: 1, labels=labels)
    good = {"id": "quality/press/1", "label": 1}
    with Stand(intake=intake).served() as server, Client(base_url=server.url) as client:
        answer = client.post("/v1/labels", json=[good, label])
        assert answer.status_code == 422
        [error] = answer.json()["errors"]
        assert (error["index"], error["reason"]) == (1, reason)
        assert source.state()["queued"] == 0


def test_tasks_may_read_labels_by_fields_of_their_own() -> None:
    """A message that any of them can read is taken."""
    other = LabelFields(label="measured")
    labels = [LabelCodec(asdict(fields), "UTC") for fields in (LabelFields(), other)]
    source = http.open(SCHEMA, 0, lambda: 1, Rejects())
    intake = Intake(source, PluginUse("json"), SCHEMA, lambda: 1, labels=labels)
    for name in ("label", "measured"):
        assert not intake.faults([json.dumps({"id": "a/b/1", name: 1}).encode()], http.LABELS)
    [fault] = intake.faults([b'{"id": "a/b/1", "value": 1}'], http.LABELS)
    assert fault.reason == "bad_label"
