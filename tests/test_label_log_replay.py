"""Labels from a column of a recording: they come as they would have come live."""

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.delivery import Delivery
from tests.label_logs import HERE, REPLAYED, run
from tests.streams import BEGIN, COMPILED, SECOND
from tests.test_walk import state


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
