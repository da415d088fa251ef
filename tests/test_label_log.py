"""Labels from elsewhere through the whole pipeline: messages, cuts, restarts."""

from pathlib import Path
from typing import Any, cast

import pytest
from httpx import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from stream_processor import checkpoint as files
from stream_processor.pipeline import Pipeline
from stream_processor.settings import load
from stream_processor.snapshot import capture, restore
from streamgauge.delivery import Delivery
from tests.label_logs import CONFIG, deliveries, log, pipeline, run, views
from tests.services.stand import Stand
from tests.streams import BEGIN, SECOND, share_evicted
from tests.test_walk import state, told

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "labels.toml"


@given(st.integers(0, 60), st.lists(st.integers(1, 599), max_size=40), st.sampled_from([3, 1024]))
@settings(max_examples=12, deadline=None)
def test_any_cut_gives_the_same_results_and_state(seed: int, cuts: list[int], pending: int) -> None:
    """Readings and labels in one delivery or in many: the same records, state and counts."""
    messages = log(600, seed)
    whole, pieces = pipeline(pending=pending), pipeline(pending=pending)
    assert told(run(whole, deliveries(messages, []))) == told(
        run(pieces, deliveries(messages, cuts))
    )
    assert state(whole) == state(pieces)
    assert whole.rejects.counts == pieces.rejects.counts
    assert views(whole) == views(pieces)


def test_one_message_at_a_time_and_a_restart_are_the_same_as_all_at_once(tmp_path: Path) -> None:
    """The hardest cut, with checkpoints on disk and fresh pipelines in between: models that all
    devices share, compiled and River, and labels that wait, go on as if nothing happened."""
    messages = log(900, 5)
    whole = pipeline()
    expected = run(whole, deliveries(messages, []))
    made, outputs = pipeline(), []
    share_evicted(tmp_path, made)
    for k, delivery in enumerate(deliveries(messages, list(range(1, 900)))):
        outputs += run(made, [delivery])
        if k % 200 == 199:
            saved = capture(made.walk, {"d": 1}, {})
            files.write(tmp_path / "c", saved.facts, saved.parts, b"k" * 32)
            made = pipeline()
            share_evicted(tmp_path, made)
            restore(made.walk, files.read(tmp_path / "c", b"k" * 32))
    assert told(outputs) == told(expected)
    assert state(made) == state(whole)
    assert views(made) == views(whole)


def test_the_logs_reach_every_outcome() -> None:
    """Labels of every fate in every task, rejects of every reason, evictions."""
    made = pipeline()
    outputs = run(made, deliveries(log(6_000, 1), []))
    for task in ("named", "timed", "shared"):
        labels = made.board.scores(task)[0].labels
        fates = {name: labels[name] for name in ("taught", "duplicate", "late", "unmatched")}
        assert all(fates.values()), (task, fates)
        assert 0 < (labels["coverage"] or 0) < 1
        assert labels["lag_p50"] is not None
        assert labels["lag_p95"] is not None
        assert 0 < labels["lag_p50"] <= labels["lag_p95"]
        assert made.board.scores(task)[0].scores["labels"]
    assert made.board.scores("named")[0].labels["scored"]
    assert made.board.scores("ahead")[0].labels == {}
    assert set(made.rejects.counts) >= {"malformed", "bad_label", "no_prediction"}
    assert any(event.kind.name == "EVICTED" for output in outputs for event in output.events)


def test_the_fleet_model_learns_from_every_device_in_the_order_of_the_log() -> None:
    """One model: equal to a single estimator that gets every label as it comes; evicted devices
    leave it as it is."""
    text = CONFIG[: CONFIG.index("[tasks.named]")] + CONFIG[CONFIG.index("[tasks.timed]") :]
    made = pipeline(text)
    run(made, deliveries(log(3_000, 2), []))
    lanes = {lane.task: k for k, lane in enumerate(made.walk.stages.lanes)}
    compiled = made.walk.stages.learners[lanes["timed"]].blocks["model"]
    taught = made.board.scores("timed")[0].labels["taught"]
    assert taught is not None
    assert compiled.capacity == 1
    assert compiled.view("learned")[0] == taught
    assert taught > 100
    river: Any = made.walk.stages.learners[lanes["shared"]].blobs
    assert list(river.of) == [0]
    made.walk.tick(made.walk.clock + 10**10)
    assert made.walk.stages.devices.known == 0
    assert compiled.view("learned")[0] == taught
    assert list(river.of) == [0]


def test_the_sample_works(tmp_path: Path) -> None:
    """examples/labels.toml: readings, then labels by id and by time, meet their predictions."""
    made = Pipeline(load(EXAMPLE, {}))
    readings = [
        Delivery(
            payloads=[b'{"ts": %d, "force": %d, "heat": 200}' % (BEGIN // SECOND + k, 80 + k % 7)],
            topics=["presses/press-7/cycle"],
            received=[BEGIN + k * SECOND],
        )
        for k in range(100)
    ]
    run(made, readings)
    labels = b"\n".join(
        [b'{"id": "thickness/press-7/%d", "label": 2.5}' % k for k in range(0, 100, 2)]
        + [
            b'{"device": "press-7", "time": %d, "label": 14.8}' % (BEGIN // SECOND + k)
            for k in range(0, 100, 4)
        ]
    )
    run(made, [Delivery(payloads=[labels], topics=["labels/quality"], received=[BEGIN + 10**10])])
    assert made.board.scores("thickness")[0].labels["taught"] == 50
    assert made.board.scores("hardness")[0].labels["taught"] == 25
    assert made.board.scores("hardness")[0].labels["lag_p50"] == pytest.approx(9_950, rel=0.06)
    assert not made.rejects.counts
    assert made.board.tasks()[1].labels_from == "topic:labels/+"
    assert made.board.tasks()[1].scope == "fleet"


def test_a_retained_label_teaches_nothing() -> None:
    """The broker repeats something old; it is counted."""
    made = pipeline()
    text = b'{"id": "named/d1/0", "label": 1}'
    reading = b'{"time": %d, "force": 1}' % (BEGIN // SECOND)
    run(made, [Delivery(payloads=[reading], topics=["t/d1"], received=[BEGIN])])
    run(made, [Delivery(payloads=[text], topics=["labels/a"], received=[BEGIN], retained=True)])
    assert made.board.scores("named")[0].labels["taught"] == 0
    assert made.rejects.counts["retained_label"] == 1


def test_the_api_and_the_metrics_tell_what_became_of_labels() -> None:
    """/v1/tasks, /v1/tasks/{task}/scores and /metrics, over a pipeline that met labels."""
    made = pipeline()
    run(made, deliveries(log(2_000, 1), []))
    stand = Stand(board=cast(Any, made.board))
    with stand.served() as server, Client(base_url=server.url) as client:
        tasks = client.get("/v1/tasks").json()["items"]
        labels = client.get("/v1/tasks/timed/scores").json()["items"][0]["labels"]
        ahead = client.get("/v1/tasks/ahead/scores").json()["items"][0]["labels"]
        text = client.get("/metrics").text
    assert {(t["task"], t["scope"], t["labels_from"]) for t in tasks} >= {
        ("ahead", "device", ""),
        ("timed", "fleet", "topic:labels/+"),
    }
    assert ahead == {}
    assert labels == made.board.scores("timed")[0].labels
    told = 'streamgauge_task_told_total{fate="duplicate",horizon="",task="timed"}'
    assert f"{told} {labels['duplicate']}" in text
    assert f'label_coverage_ratio{{horizon="",task="timed"}} {labels["coverage"]}' in text
    lag = f'label_lag_seconds{{horizon="",quantile="0.95",task="timed"}} {labels["lag_p95"]}'
    assert lag in text
