"""The InfluxDB sink: right points, of whatever names, where and as the server wants them."""

import math
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest

from monitoring.sinks import influxdb
from monitoring.sinks._lines import LinesEncoder, tag
from streamgauge.events import Event, EventKind
from streamgauge.output import SCORE_COLUMNS, Sink
from tests.influx import delivered, expected, minutes, opened, picky, without_db
from tests.outputs import (
    DEVICES,
    LANES,
    LEVEL,
    START,
    Record,
    made,
    output,
    predicted,
    scores,
    told,
)
from tests.services.ports import wait_for
from tests.services.victoria_metrics import victoria_metrics


def test_points_arrive_with_values_and_times(tmp_path: Path) -> None:
    """Predictions and outcomes of odd names, exactly as written; NaN is no point."""
    records = [*minutes(0, 20), predicted(50, value=math.nan), told(50, expired=True)]
    records += [predicted(51, value=1e9), predicted(52, value=-0.125)]
    with victoria_metrics(tmp_path) as server, opened(server.url) as sink:
        sink_as_worker_sees_it: Sink = sink
        delivered(sink, output(records[:7]), output(records[7:]))
        assert sink_as_worker_sees_it.state()["ok"]
        wanted = without_db(expected(records))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)
        assert sink.state()["backlog"] == 0


def test_scores_drift_and_silences_arrive(tmp_path: Path) -> None:
    """Scores per lane over all devices and per device; drift with its direction; silences."""
    events = [
        Event(EventKind.DRIFT_UP, 1, 0, made(3), 0, 0.5, 2.25, 30.0),
        Event(EventKind.DRIFT_DOWN, -1, 2, made(4), 0, 4.0, math.nan, 32.0),
        LEVEL,
        Event(EventKind.EVICTED, 0, -1, made(4), -1, math.nan, math.nan, math.nan),
        Event(EventKind.SILENT, 1, -1, made(5), -1, math.nan, math.nan, 600.0),
        Event(EventKind.RETURNED, 1, -1, made(6), 0, math.nan, math.nan, 660.0, "flow"),
    ]
    with victoria_metrics(tmp_path) as server, opened(server.url) as sink:
        delivered(sink, output([], events=events, scores=[scores(7, (-1, 0))]))
        common = ("stream=pumps", "task=power")
        scored = 2 * 3 * (len(SCORE_COLUMNS) - 1)
        wait_for(lambda: len(server.points("iot_.*")) == scored + 7 + 5 + 2)
        silences = without_db(server.points("iot_silence_.*"))
        who = ("iot_silence_seconds", "device=pump 2, hall=3")
        assert silences == {
            (*who, "event=silent", "stream=pumps"): {made(5) // 1000: 600.0},
            ("iot_silence_seconds", "channel=flow", *who[1:], "event=returned", "stream=pumps"): {
                made(6) // 1000: 660.0
            },
        }
        models = without_db(server.points("iot_model_.*"))
        fleet = {key for key in models if not any(k.startswith("device=") for k in key)}
        assert len(models) == 2 * len(fleet) == 2 * 3 * (len(SCORE_COLUMNS) - 1)
        assert models["iot_model_mae", "horizon=10m", *common] == {made(7) // 1000: 8.0}
        drifts = without_db(server.points("iot_drift_.*"))
        up = ("device=pump 2, hall=3", "direction=up", "horizon=10m", *common)
        assert drifts["iot_drift_before", *up] == {made(3) // 1000: 0.5}
        assert drifts["iot_drift_after", *up] == {made(3) // 1000: 2.25}
        down = ("direction=down", "stream=pumps", "task=flow")
        assert drifts["iot_drift_size", *down] == {made(4) // 1000: 32.0}
        level = ("channel=flow", "device=pump-1", "direction=down", "signal=level", "stream=pumps")
        assert drifts["iot_drift_before", *level] == {made(5) // 1000: 20.5}
        assert drifts["iot_drift_magnitude", *level] == {made(5) // 1000: 3.0}
        assert drifts["iot_drift_since", *level] == {made(5) // 1000: made(2) / 1000}
        assert len(drifts) == 7 + 5


@pytest.mark.parametrize("batch", [1, 5, 5000])
def test_awkward_ids_are_told_apart(tmp_path: Path, batch: int) -> None:
    """Whatever a device calls itself, its line does not harm the lines of the others."""
    names = (
        "a b",
        "a,b",
        "a=b",
        "a\\b",
        'q"q',
        "nl\nx",
        "end\\",
        "b\\,c",
        "ü€",
        "{j}",
        "#c",
        "a/b",
    )
    seen = {"nl\nx": "nl x", "end\\": "end/", "b\\,c": "b/,c"}
    records = [predicted(3, row) for row in range(len(names))]
    with victoria_metrics(tmp_path) as server, opened(server.url, batch=batch) as sink:
        delivered(sink, output(records, names=names))
        read = tuple(seen.get(name, name) for name in names)
        wanted = without_db(expected(records, read))
        wait_for(lambda: without_db(server.points("iot_prediction.*")) == wanted)


def test_requests_name_bucket_precision_and_token() -> None:
    """The v2 write API, with times in microseconds."""
    with picky(lambda lines: (204, {})) as server:
        with opened(server.url, org="plant", bucket="b 1", token="secret") as sink:
            delivered(sink, output([predicted(1)]))
        path, headers = server.asked[0]
        assert urlsplit(path).path == "/api/v2/write"
        query = parse_qs(urlsplit(path).query)
        assert query == {"org": ["plant"], "bucket": ["b 1"], "precision": ["us"]}
        assert headers["Authorization"] == "Token secret"
        start = "iot_prediction,device=pump-1,horizon=10m,stream=pumps,task=power"
        assert server.taken == [f"{start} value=1,last_value=0.5 {made(1)}"]


@pytest.mark.parametrize("url", ["localhost:8086", "ftp://host", "http://"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    """The message shows what was written and what to write."""
    with pytest.raises(ValueError, match="http://HOST:8086"):
        influxdb.open(LANES, "pumps", Path("unused"), lambda: START, url=url)


def plain(records: list[Record]) -> list[str]:
    """The same lines, written the obvious way."""
    lines = []
    for code, number in records:
        where = LANES[code[1]]
        tags = f"device={tag(DEVICES[code[2]])}"
        tags += f",horizon={tag(where.horizon)}" if where.horizon else ""
        tags += f",stream=pumps,task={where.task}"
        named = zip(("value", "last_value", "label", "residual"), number, strict=True)
        chosen = list(named)[:2] if code[0] == 0 else list(named)[2:]
        fields = [f"{name}={value!r}" for name, value in chosen if math.isfinite(value)]
        if fields:
            lines.append(f"iot_prediction,{tags} {','.join(fields)} {code[4]}")
    return lines


def parsed(line: str) -> tuple[str, dict[str, float], int]:
    """Series, fields as numbers and time of a line."""
    head, fields, time = line.rsplit(" ", 2)
    pairs = (one.split("=") for one in fields.split(","))
    return head, {name: float(value) for name, value in pairs}, int(time)


def test_lines_are_those_of_a_plain_encoder() -> None:
    """Over random numbers of every magnitude, NaN and infinities among them."""
    rng = np.random.default_rng(5)
    records: list[Record] = []
    for code, _ in minutes(0, 100):
        numbers = rng.normal(size=4) * 10.0 ** rng.integers(-320, 300, 4)
        numbers[rng.random(4) < 0.2] = math.nan
        numbers[rng.random(4) < 0.05] = math.inf
        records.append((code, tuple(numbers.tolist())))
    encoder = LinesEncoder("pumps", per_device=True)
    lines = encoder.encode([output(records[:11]), output([]), output(records[11:])])
    text = lines.part(0, len(lines)).decode()
    assert text.endswith("\n")
    assert len(lines) == text.count("\n")
    # Predictions come before outcomes: the order of lines means nothing.
    found = sorted(map(parsed, text.splitlines()), key=repr)
    assert found == sorted(map(parsed, plain(records)), key=repr)
    parts = b"".join(lines.part(k, min(k + 7, len(lines))) for k in range(0, len(lines), 7))
    assert parts.decode() == text


def test_without_devices_only_the_fleet_is_written() -> None:
    """Scores and drift over all devices: the number of series does not grow with the fleet."""
    encoder = LinesEncoder("pumps", per_device=False)
    event = Event(EventKind.DRIFT_UP, 1, 0, made(3), 0, 0.5, 2.25, 30.0)
    one = output(minutes(0, 9), events=[event], scores=[scores(7, (-1, 0, 1))])
    lines = encoder.encode([one])
    text = lines.part(0, len(lines)).decode().splitlines()
    assert len(text) == len(LANES) + 1
    assert not any("device=" in line or "iot_prediction" in line for line in text)
