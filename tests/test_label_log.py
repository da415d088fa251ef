"""Labels from elsewhere through the whole pipeline: messages, columns, cuts, restarts."""

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest
from httpx import Client
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.labels import LabelCodec, Told, matches
from ingest.rejects import Rejects
from stream_processor import checkpoint as files
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load, load_text
from stream_processor.snapshot import capture, restore
from streamgauge.brokers import meet
from streamgauge.delivery import Delivery
from streamgauge.output import Output
from tests.services.stand import Stand
from tests.streams import BEGIN, COMPILED, RIVER, SECOND, share_evicted
from tests.test_walk import state, told

EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "labels.toml"
HERE = Path("/somewhere/pipeline.toml")
CONFIG = """
[devices]
limit = 5
evict_after = "5m"
[[source]]
use = "mqtt"
topics = ["t/+", "labels/+"]
codec = "json"
device = "topic:1"
[channels.force]
[features]
lags = {{ force = [1] }}
[tasks.ahead]
kind = "forecast"
target = "force"
horizons = ["3s"]
ready_after = 0
model = {compiled}
[tasks.named]
kind = "regression"
ready_after = 2
model = {compiled}
label = {{ from = "topic:labels/+", expire_after = "90s", teach_until = "20s" }}
[tasks.timed]
kind = "regression"
ready_after = 2
scope = "fleet"
model = {compiled}
label = {{ from = "topic:labels/+", match = {{ time_within = "3s" }}, expire_after = "2m" }}
[tasks.shared]
kind = "forecast"
horizons = ["5s"]
ready_after = 2
scope = "fleet"
model = {river}
label = {{ from = "topic:labels/a", match = {{ time_within = "2s" }}, expire_after = "2m" }}
"""
"""Every way in which labels meet, compiled and River models, of devices and of the fleet."""


def pipeline(text: str = CONFIG, *, pending: int = 1024) -> Pipeline:
    """A pipeline of these settings."""
    text = text.format(compiled=COMPILED, river=RIVER)
    if pending != 1024:
        text = text.replace('kind = "regression"', f'kind = "regression"\npending = {pending}')
    return Pipeline(load_text(text, HERE, {}))


Message = tuple[str, bytes, int]


def log(n: int, seed: int) -> list[Message | int]:
    """Messages (topic, payload, received) and clock ticks: readings, labels, both dirty."""
    random = np.random.default_rng(seed)
    clock, count = BEGIN, dict.fromkeys(range(6), 0)
    found: list[Message | int] = []
    last = {0: BEGIN}
    for _ in range(n):
        clock += (
            int(random.choice([0, 1, 1, 2, 60, 400], p=[0.2, 0.4, 0.2, 0.17, 0.02, 0.01])) * SECOND
        )
        luck, device = random.random(), int(random.integers(6))
        if luck < 0.5:
            text = {"time": clock / 1e6, "force": float(random.normal())}
            found.append((f"t/d{device}", json.dumps(text).encode(), clock))
            count[device] += 1
            last[device] = clock
        elif luck < 0.55:
            found.append(clock)
        else:
            found.append(("labels/" + "ab"[luck > 0.8], _label(random, device, count, last), clock))
    return found


def _label(
    random: np.random.Generator, device: int, count: dict[int, int], last: dict[int, int]
) -> bytes:
    label = float(random.normal()) if random.random() < 0.95 else "high"
    if random.random() < 0.5:
        sequence = max(0, count[device] - int(random.integers(0, 6)))
        entry: Any = {"id": f"named/d{device}/{sequence}", "label": label}
    else:
        time = last.get(device, BEGIN) / 1e6 + int(random.integers(-8, 8))
        entry = {"device": f"d{device}", "time": time, "label": label}
    if random.random() < 0.1:
        entry = [entry, {"label": 1.0}, entry]
    return json.dumps(entry).encode() if random.random() < 0.97 else b"{nonsense"


def deliveries(messages: list[Message | int], cuts: list[int]) -> list[Delivery]:
    """The log as deliveries that are cut there, and around ticks."""
    found: list[Delivery] = []
    for start, stop in pairwise([0, *sorted(cuts), len(messages)]):
        waiting: list[Message] = []
        for entry in [*messages[start:stop], None]:
            if isinstance(entry, tuple):
                waiting.append(entry)
                continue
            if waiting:
                topics, payloads, received = (list(c) for c in zip(*waiting, strict=True))
                found.append(Delivery(payloads=payloads, topics=topics, received=received))
                waiting = []
            if isinstance(entry, int):
                found.append(Delivery(clock=entry))
    return found


def run(made: Pipeline, log: list[Delivery]) -> list[Output]:
    """Feed all of it; all outputs."""
    outputs = []
    for delivery in log:
        made.feed(delivery)
        outputs += made.sealed()
    return outputs


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


def views(made: Pipeline) -> list[Any]:
    """What the board says of all tasks."""
    return [made.board.scores(task) for task in made.settings.tasks]


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


REPLAYED = """
[channels.a]
[features]
lags = {{ a = [1] }}
[tasks.by_topic]
kind = "regression"
ready_after = 0
scope = "{scope}"
model = {model}
label = {{ from = {source} }}
"""


def recording(n: int, seed: int) -> pd.DataFrame:
    """Two devices, a label in three of four rows."""
    random = np.random.default_rng(seed)
    time = BEGIN + np.arange(n) * 30 * SECOND
    return pd.DataFrame(
        {
            "device": [f"d{k % 2}" for k in range(n)],
            "time": pd.to_datetime(time, unit="us", utc=True),
            "a": random.normal(size=n),
            "y": np.where(random.random(n) < 0.75, random.normal(size=n), np.nan),
        }
    )


@pytest.mark.parametrize("delay", [None, "5m", 3])
@pytest.mark.parametrize("scope", ["device", "fleet"])
def test_a_columns_labels_come_as_they_would_have_come_live(delay: Any, scope: str) -> None:
    """A replay with a delay is the live log in which each label is a message of its own, sent when
    the delay is over; a label that is missing expires."""
    data = recording(200, 3)
    written = {None: "", "5m": ', delay = "5m"', 3: ", delay = { readings = 3 }"}[delay]
    source = f'"column:y"{written}'
    made = Pipeline(
        load_text(
            REPLAYED.format(source=source, model=COMPILED, scope=scope), HERE, {}, for_replay=True
        )
    )
    frame = made.replay(data)
    live = REPLAYED.format(
        source='"http", match = { time_within = "1us" }, expire_after = "99d"',
        model=COMPILED,
        scope=scope,
    )
    live = '[[source]]\nuse = "mqtt"\ntopics = ["t"]\n' + live
    wanted = Pipeline(load_text(live, HERE, {}))
    predictions = run(wanted, list(live_log(data, delay)))
    values = np.concatenate([o.predictions.numbers[o.predictions.made, 0] for o in predictions])
    np.testing.assert_array_equal(frame["prediction"].to_numpy(), values)
    labels = wanted.board.scores("by_topic")[0].labels
    assert made.board.scores("by_topic")[0].labels["taught"] == labels["taught"] > 100  # type: ignore[operator]  # numbers both
    counts = frame["status"].value_counts()
    assert counts["expired"] > 20
    assert counts["labelled"] == labels["taught"]


def live_log(data: pd.DataFrame, delay: Any) -> Any:
    """Each reading, and each label behind the delay but before the reading that comes then."""
    times = (
        data["time"].astype("int64") // (1000 if "ns" in str(data["time"].dtype) else 1)
    ).tolist()
    waiting: list[tuple[Any, int]] = []
    seen = {"d0": 0, "d1": 0}
    for i, (device, time, a, y) in enumerate(
        zip(data["device"], times, data["a"], data["y"], strict=True)
    ):
        due = [
            w
            for w in waiting
            if (w[0] <= time if delay == "5m" else w[0] == (device, seen[device]))
        ]
        for entry in due:
            waiting.remove(entry)
            yield label_message(data, times, entry[1], time)
        text = json.dumps({"device": device, "time": time, "a": a}).encode()
        yield Delivery(payloads=[text], topics=["t"], received=[time])
        if y == y and delay is None:
            yield label_message(data, times, i, time)
        elif y == y:
            when = time + 300 * SECOND if delay == "5m" else (device, seen[device] + delay)
            waiting.append((when, i))
        seen[device] += 1


def label_message(data: pd.DataFrame, times: list[int], i: int, now: int) -> Delivery:
    """The label of row i as a message."""
    text = {"device": data["device"][i], "time": times[i], "label": data["y"][i]}
    return Delivery(payloads=[json.dumps(text).encode()], topics=["http/labels"], received=[now])


def test_a_replay_may_come_in_pieces() -> None:
    """Labels that wait for their delay wait from one piece of the recording to the next."""
    data = recording(300, 4)
    text = REPLAYED.format(source='"column:y", delay = "5m"', model=COMPILED, scope="device")
    whole, parts = (Pipeline(load_text(text, HERE, {}, for_replay=True)) for _ in range(2))
    whole.replay(data)
    for start in range(0, 300, 7):
        parts.replay(data[start : start + 7])
    assert state(whole) == state(parts)


def test_a_label_column_is_no_channel_where_none_are_declared() -> None:
    """The numeric columns become channels, but not the one that tells the answer."""
    text = REPLAYED.format(source='"column:y"', model=COMPILED, scope="device")
    text = text.replace("[channels.a]", "").replace("[features]\nlags = { a = [1] }", "")
    made = Pipeline(load_text(text, HERE, {}, for_replay=True))
    made.replay(recording(50, 1))
    assert made.walk.stages.schema.names == ("a",)


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        (('scope = "device"', 'scope = "tag:site"'), "scope", 'not possible yet.*write "fleet"'),
        (('scope = "device"', 'scope = "all"'), "scope", 'is no scope.*"device" or "fleet"'),
        (('"column:y"', '"colum:y"'), "label.from", "no place of labels.*topic:labels"),
        (('"column:y"', '"column:a"'), "label.from", "also a channel.*remove the channel"),
        (('"column:y"', '"http", delay = "1d"'), "label.delay", "only a column's labels"),
        (('"column:y"', '"http", match = "name"'), "label.match", "time_within"),
        (
            ('"column:y"', '"http", expire_after = "1d", teach_until = "2d"'),
            "label.teach_until",
            "later than expire_after",
        ),
        (('scope = "device"', 'target = "a"'), "target", "come from elsewhere.*inputs"),
        (('scope = "device"', 'predict = "change"'), "predict", 'write predict = "level"'),
        (('label = { from = "column:y" }', ""), "target", "missing; add target"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_a_remedy(
    change: tuple[str, str], key: str, said: str
) -> None:
    """Each mistake is one problem, at its key, that says what to write instead."""
    text = REPLAYED.format(source='"column:y"', model=COMPILED, scope="device").replace(*change)
    with pytest.raises(Problems) as raised:
        load_text(text, HERE, {}, for_replay=True)
    found = {problem.key: str(problem) for problem in raised.value.problems}
    assert re.search(said, found[f"tasks.by_topic.{key}"])


def test_labels_that_nobody_would_bring_are_noted() -> None:
    """`check` says which topic no source subscribes to."""
    text = CONFIG.replace('"labels/+"]', '"labs/+"]').format(compiled=COMPILED, river=RIVER)
    notes = "\n".join(load_text(text, HERE, {}).notes)
    assert "tasks.named: no [[source]] subscribes to labels/+" in notes
    plain = CONFIG.format(compiled=COMPILED, river=RIVER)
    posted = "its labels come over HTTP, but there is no"
    lonely = plain.replace('"topic:labels/+"', '"http"')
    assert any(posted in note for note in load_text(lonely, HERE, {}).notes)
    served = lonely + '\n[[source]]\nuse = "http"\n'
    assert not any(posted in note for note in load_text(served, HERE, {}).notes)
    assert not any("subscribes" in note for note in load_text(plain, HERE, {}).notes)
    http = 'use = "http"\n'
    elsewhere = plain.replace('use = "mqtt"\ntopics = ["t/+", "labels/+"]\n', http)
    assert "tasks.named: no [[source]] subscribes to labels/+" in "\n".join(
        load_text(elsewhere.replace('"topic:1"', '"field:id"'), HERE, {}).notes
    )


def test_a_retained_label_teaches_nothing() -> None:
    """The broker repeats something old; it is counted."""
    made = pipeline()
    text = b'{"id": "named/d1/0", "label": 1}'
    reading = b'{"time": %d, "force": 1}' % (BEGIN // SECOND)
    run(made, [Delivery(payloads=[reading], topics=["t/d1"], received=[BEGIN])])
    run(made, [Delivery(payloads=[text], topics=["labels/a"], received=[BEGIN], retained=True)])
    assert made.board.scores("named")[0].labels["taught"] == 0
    assert made.rejects.counts["retained_label"] == 1


FIELDS = {"id": "meta.id", "device": "topic:1", "time": "at", "label": "value", "task": "task"}


def test_label_messages_say_what_is_wrong_with_them() -> None:
    """Configured fields, arrays and lines; each bad entry is counted by its reason alone."""
    rejects = Rejects()
    codec = LabelCodec(FIELDS, "UTC")
    good = b'{"meta": {"id": "t/d/1"}, "value": "12.5", "task": "t"}'
    timed = b'{"at": "2026-01-01T00:00:00Z", "value": 2}'
    bad = [b'{"at": "noon", "value": 1}', b'{"value": 3}', b'{"at": 5, "value": NaN}', b"7", b"{x"]
    payload = b"\n".join([good, timed, *bad])
    found = list(codec.decode(payload, "labels/d7", 5, rejects))
    assert found == [Told("t/d/1", "", 0, "t", 12.5), Told("", "d7", BEGIN, "", 2.0)]
    assert rejects.counts == {"bad_time": 1, "no_prediction": 1, "bad_label": 1, "malformed": 2}
    assert len(list(codec.decode(b"[" + good + b"," + good + b"]", "labels/d7", 5, rejects))) == 2
    assert not list(codec.decode(b" " * 1_000_001, "labels/d7", 5, rejects))
    assert rejects.counts["too_large"] == 1


@given(
    st.binary(max_size=200)
    | st.text('[]{}":,0123456789.eE-\n nulabeidtmv', max_size=80).map(str.encode)
)
@settings(max_examples=300, deadline=None)
def test_no_payload_raises(payload: bytes) -> None:
    """Whatever comes is a label or a reject."""
    rejects = Rejects()
    plain = {"id": "id", "device": "device", "time": "time", "label": "label", "task": "task"}
    assert (
        list(LabelCodec(plain, "UTC").decode(payload, "t", 0, rejects))
        or rejects.counts
        or (payload.strip() in (b"[]", b"") or b"[" in payload)
    )


@pytest.mark.parametrize(
    ("pattern", "topic", "fits"),
    [
        ("labels/+", "labels/a", True),
        ("labels/+", "labels", False),
        ("labels/+", "labels/a/b", False),
        ("labels/#", "labels", True),
        ("labels/#", "labels/a/b", True),
        ("#", "a/b", True),
        ("labels", "labels", True),
        ("+/b", "a/b", True),
        ("a/b", "a", False),
    ],
)
def test_filters_are_those_of_mqtt(pattern: str, topic: str, fits: bool) -> None:
    """A `+` is one level, a last `#` any number; a filter meets each topic that fits it."""
    assert matches(pattern, topic) is fits
    assert meet(pattern, topic) is meet(topic, pattern) is fits


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
