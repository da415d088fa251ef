"""Every source and sink starts, says how it is, holds nobody up, and ends with its threads."""

import json
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ingest.rejects import Rejects
from ingest.source import Source
from streamgauge import plugins
from streamgauge.delivery import Delivery
from streamgauge.events import Event, EventKind
from streamgauge.output import Sink
from streamgauge.schema import Channel, Schema
from tests.outputs import LANES, MINUTE, START, output, predicted, scores, told
from tests.services.ports import free_port, wait_for

SCHEMA = Schema([Channel("a"), Channel("b")])


def in_time(work: Callable[..., Any], *given: Any) -> Any:
    """What it gives; fails where it hangs instead."""
    result: list[Any] = []
    thread = threading.Thread(target=lambda: result.append(work(*given)), daemon=True)
    thread.start()
    thread.join(20.0)
    assert result, f"{work} hangs or failed"
    return result[0]


def _each(value: Any) -> list[Any]:
    """What is in a table, and in tables within it."""
    if not isinstance(value, dict):
        return [value]
    return [one for inside in value.values() for one in _each(inside)]


def check_state(state: Mapping[str, Any]) -> None:
    """`ok` and `why` agree, and the rest can be shown as it is."""
    assert type(state["ok"]) is bool
    assert type(state["why"]) is str
    assert state["ok"] == (not state["why"]), state
    # What was lost is counted by reason.
    plain = [one for value in state.values() for one in _each(value)]
    assert all(type(one) in {bool, int, float, str} for one in plain), state
    json.dumps(state, allow_nan=False)


def nowhere() -> str:
    """Where no server listens."""
    return f"127.0.0.1:{free_port()}"


SINKS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "influxdb": lambda folder: {"url": f"http://{nowhere()}", "timeout": "1s"},
    "kafka": lambda folder: {"bootstrap_servers": nowhere()},
    "mqtt": lambda folder: {"url": f"mqtt://{nowhere()}"},
    "mlflow": lambda folder: {"url": f"http://{nowhere()}", "timeout": "1s"},
    "parquet": lambda folder: {"path": folder / "files"},
    "tensorboard": lambda folder: {"path": folder / "runs"},
    "sql": lambda folder: {"url": f"postgresql://plant@{nowhere()}/plant"},
}
"""Options of the sinks that need some; servers are away."""


@pytest.mark.parametrize("name", plugins.find("monitoring.sinks"))
def test_sink(name: str, tmp_path: Path) -> None:
    """A sink takes anything at once, says how it is, and leaves nothing behind, twice in a row."""
    small = output(
        [predicted(1), told(1), predicted(2, 1, 2), told(3, expired=True)],
        events=[
            Event(EventKind.DRIFT_UP, 0, 1, START, 0, 1.0, 2.0, 30.0),
            Event(EventKind.EVICTED, 1, -1, START, -1, np.nan, np.nan, np.nan),
        ],
        scores=[scores(2)],
        position=1,
    )
    before = set(threading.enumerate())
    for _ in range(2):
        options = SINKS[name](tmp_path) if name in SINKS else {}
        module = plugins.load("monitoring.sinks", name)
        sink: Sink = module.open(LANES, "pumps", tmp_path, lambda: START + 5 * MINUTE, **options)
        for piece in (output([]), small, output([predicted(4)], position=2)):
            in_time(sink.write, piece)
            check_state(sink.state())
        assert type(in_time(sink.flush, 0.1)) is bool
        check_state(sink.state())
        in_time(sink.close)
        wait_for(lambda: set(threading.enumerate()) <= before, what=f"the threads of {name}")


def recording(folder: Path) -> Path:
    """Seven readings of two devices."""
    path = folder / "recording.csv"
    rows = [f"d{k % 2},{1_772_366_400 + k},{k}.5" for k in range(7)]
    path.write_text("\n".join(["device,time,a", *rows, ""]))
    return path


SOURCES: dict[str, Callable[[Path], dict[str, Any]]] = {
    "file": lambda folder: {"path": recording(folder), "chunk": 2},
    "folder": lambda folder: {"path": recording(folder).parent, "complete": "rename"},
    "http": lambda folder: {},
    "influxdb": lambda folder: {
        "url": f"http://{nowhere()}",
        "database": "plant",
        "measurement": "pumps",
    },
    "kafka": lambda folder: {"topics": ["pumps"], "bootstrap_servers": nowhere()},
    "mqtt": lambda folder: {"topics": ["pumps/#"], "url": f"mqtt://{nowhere()}"},
    "poll": lambda folder: {"url": f"http://{nowhere()}", "every": "10ms"},
    "sql": lambda folder: {"url": f"postgresql://plant@{nowhere()}/plant", "table": "readings"},
    "simulator": lambda folder: {"interval": "1ms", "devices": 4},
}
"""Options that let each source start here; brokers are away."""


def check_delivery(delivery: Delivery, limit: int, codec: str) -> None:
    """Its columns are of one length; what is undecoded names its codec."""
    assert len(delivery.payloads) == len(delivery.topics) == len(delivery.received) <= limit
    assert not delivery.payloads or codec in plugins.find("ingest.codecs")
    if delivery.readings is not None:
        n = len(delivery.readings)
        assert delivery.readings.time.shape == delivery.readings.received.shape == (n,)
        assert delivery.readings.values.shape == (n, len(SCHEMA))
    assert json.loads(json.dumps(delivery.position)) == delivery.position


def content(delivery: Delivery) -> Counter[Any]:
    """What a delivery says, whatever pieces it came in."""
    if delivery.readings is None:
        return Counter(delivery.payloads)
    return Counter(zip(delivery.readings.devices, delivery.readings.time.tolist(), strict=True))


def taken(source: Source, codec: str) -> list[Delivery]:
    """All that a source has, or the first few deliveries where it never ends."""
    deliveries: list[Delivery] = []
    for _ in range(40):
        delivery = in_time(source.take, 5, 0.005)
        if delivery is not None and len(deliveries) < 8:
            check_delivery(delivery, 5, codec)
            source.acknowledge(delivery.tokens)
            deliveries.append(delivery)
        if source.finished:
            break
    return deliveries


@pytest.mark.parametrize("name", plugins.find("ingest.sources"))
def test_source(name: str, tmp_path: Path) -> None:
    """A source gives whole deliveries, says how it is, goes on after a position and ends."""
    assert name in SOURCES, f"add options for {name} to this file"
    module, before = plugins.load("ingest.sources", name), set(threading.enumerate())
    ticks = iter(range(START, START + 10**12, 700))
    codec = getattr(module, "CODEC", "")

    def opened() -> Source:
        options = SOURCES[name](tmp_path)
        source: Source = module.open(SCHEMA, 3, lambda: next(ticks), Rejects(), **options)
        check_state(source.state())
        return source

    source = opened()
    source.start()
    deliveries = taken(source, codec)
    assert all(delivery.source == 3 for delivery in deliveries)
    check_state(source.state())
    finished = source.finished
    in_time(source.stop)
    wait_for(lambda: set(threading.enumerate()) <= before, what=f"the threads of {name}")
    if finished and deliveries[0].position is not None:
        again = opened()
        again.resume(deliveries[0].position)
        again.start()
        assert [content(d) for d in taken(again, codec)] == [content(d) for d in deliveries[1:]]
        again.stop()


@pytest.mark.parametrize("name", plugins.find("ingest.sources"))
def test_sample_takes_what_open_takes(name: str) -> None:
    """What shows the first rows of a source is asked with the source's own options."""
    module = plugins.load("ingest.sources", name)
    if not hasattr(module, "sample"):
        assert getattr(module, "CODEC", "") or name == "simulator"
        return
    asked = set(plugins.options(module, "sample")) - {"rows"}
    assert asked <= set(plugins.options(module, "open"))
