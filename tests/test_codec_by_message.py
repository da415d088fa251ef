"""What every codec shares: readings of a parsing function become rows, or rejects with a reason."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest

from ingest.codecs._by_message import by_message
from ingest.codecs._origins import TopicDevices, channel_name
from ingest.codecs._reading import DecodeError, Message, Parse, Reading
from ingest.rejects import Rejects
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Kind, Schema
from streamgauge.words import Flag

NOW = 1_772_366_400_000_000
SCHEMA = Schema([Channel("t", path="in.t"), Channel("PM2.5"), Channel("on", kind=Kind.BOOLEAN)])


class Bench:
    """A codec made of a function, and what it makes of messages."""

    def __init__(self, parse: Parse, *, limit: int = 9, **options: Any) -> None:
        self.devices, self.rejects = Devices(limit), Rejects()
        given = {"device": "", "time": "", "zone": "UTC"} | options
        self.codec = by_message(parse, SCHEMA, self.devices, **given)
        self.batch = Batch(2, len(SCHEMA))

    def decode(self, *payloads: bytes, **columns: Any) -> "Bench":
        n = len(payloads)
        received = [NOW + k for k in range(n)]
        topics = columns.pop("topics", ["site/p1"] * n)
        self.codec.decode(
            Delivery(0, list(payloads), topics, received, **columns), self.batch, self.rejects
        )
        return self

    def column(self, name: str) -> list[Any]:
        """One column of what was read."""
        column: list[Any] = getattr(self.batch, name)[: self.batch.n].tolist()
        return column

    @property
    def ids(self) -> list[str | None]:
        return [self.devices.ids[row] for row in self.column("row")]


def gives(*readings: Reading | DecodeError) -> Parse:
    """A format whose every message holds these."""
    return lambda message: readings


def test_a_reading_says_its_device_time_and_sequence() -> None:
    """What the reading names is taken; without a time it is the message's arrival."""
    bench = Bench(
        gives(
            Reading({"in": {"t": 1.5}, "PM2.5": "7"}, "a", "2026-03-01T12:00:01Z", sequence=4),
            Reading({"on": True}, 17, at=1),
            Reading({}, "c", sequence=2**63),
        )
    ).decode(b"")
    assert bench.ids == ["a", "17", "c"]
    assert bench.column("time") == [NOW + 10**6, 1, NOW]
    assert bench.column("sequence") == [4, -1, -1]
    assert bench.column("received") == [NOW] * 3
    assert np.array_equal(
        bench.batch.values[:3],
        [[1.5, 7.0, np.nan], [np.nan, np.nan, 1.0], [np.nan] * 3],
        equal_nan=True,
    )
    assert not bench.rejects.counts


def test_origins_overrule_what_the_reading_says() -> None:
    """Device, time and sequence come from the place that is configured, wherever that is."""
    reading = Reading({"id": "f", "n": 5}, "own", "2020-01-01T00:00:00Z", around={"at": 1.7e9})
    places: dict[str, Mapping[str, Any]] = {
        "p1": {"device": "topic:1"},
        "f": {"device": "field:id"},
        "k": {"device": "key"},
        "h": {"device": "header:dev"},
    }
    for device, options in places.items():
        bench = Bench(gives(reading), time="field:at", sequence="field:n", **options)
        bench.decode(b"", keys=["k"], headers=[{"dev": "h"}])
        assert bench.ids == [device]
        assert bench.column("time") == [1_700_000_000_000_000]
        assert bench.column("sequence") == [5]
    stamped = Bench(gives(reading), time="message").decode(b"", stamps=[7])
    assert stamped.column("time") == [7]
    assert Bench(gives(reading), time="received").decode(b"").column("time") == [NOW]


def test_what_is_missing_is_named() -> None:
    """A reading without a device or with a time that is none is rejected, the others stay."""
    cases: list[tuple[Reading | DecodeError, dict[str, Any], str]] = [
        (Reading({}), {}, "no_device"),
        (Reading({}, "a\n"), {}, "bad_device"),
        (Reading({}, "a", "soon"), {}, "bad_time"),
        (Reading({}, "a", at=10**18), {}, "bad_time"),
        (Reading({}), {"device": "key"}, "no_device"),
        (Reading({}), {"device": "header:x"}, "no_device"),
        (Reading({}), {"device": "topic:4"}, "topic_mismatch"),
        (Reading({}, "a"), {"time": "message"}, "no_time"),
        (DecodeError("odd", "a part"), {}, "odd"),
    ]
    for wrong, options, reason in cases:
        good = Reading({}, "b")
        bench = Bench(gives(good, wrong, good), **options).decode(b"x")
        assert bench.rejects.counts[reason] == len(bench.rejects.newest) > 0
        assert all(reject.detail for reject in bench.rejects.newest)
        assert bench.batch.n in {2, 0}
    bench = Bench(gives(*(Reading({}, name) for name in "abc")), limit=2).decode(b"")
    assert bench.ids == ["a", "b"]
    assert bench.rejects.counts == {"device_limit": 1}


def test_a_message_that_cannot_be_read_harms_no_other() -> None:
    """A refused message, a faulty codec and an endless one cost just that message."""

    def parse(message: Message) -> Iterable[Reading]:
        if message.payload == b"refused":
            raise DecodeError("malformed", "refused")
        if message.payload == b"bug":
            raise KeyError(message.payload)
        while True:
            yield Reading({"on": True}, "a")
            if message.payload != b"endless":
                break

    bench = Bench(parse, max_bytes=8).decode(b"", b"refused", b"bug", b"endless", b"x" * 9, b"")
    assert bench.column("received") == [NOW, NOW + 5]
    assert bench.rejects.counts == {"malformed": 1, "codec_failed": 1, "too_large": 2}


def test_names_may_be_whole() -> None:
    """Where a format's names are whole, dots in a path or a field part nothing."""
    parse = gives(Reading({"in.t": 3, "dev.id": "x", "PM2.5": 1, "on": "maybe"}))
    bench = Bench(parse, device="field:dev.id", path_to=channel_name).decode(b"")
    assert bench.ids == ["x"]
    assert bench.batch.values[0, :2].tolist() == [3.0, 1.0]
    assert bench.column("flags") == [[0, 0, Flag.WRONG_TYPE]]


def test_a_codec_shows_what_its_memory_can() -> None:
    """Only a codec that remembers has snapshot and restore, only one that asks has requests."""

    class Memory:
        def snapshot(self) -> dict[str, Any]:
            return {"seen": 3}

    codec: Any = Bench(gives(), memory=Memory()).codec
    assert codec.snapshot() == {"seen": 3}
    assert not hasattr(codec, "requests")
    assert not hasattr(Bench(gives()).codec, "snapshot")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"device": "received"}, "names no place"), ({"time": "field:"}, "received"),
        ({"zone": "Nowhere"}, "Europe/Berlin"), ({"max_bytes": 0}, "max_bytes"),
    ],
)  # fmt: skip
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused with what to write instead."""
    with pytest.raises(ValueError, match=match):
        Bench(gives(), **options)


def test_long_topics_fill_no_memory() -> None:
    """A reject keeps the beginning of its topic, and a device's topic is remembered if short."""
    topic = "p/x/" + "y" * 60_000
    bench = Bench(gives(DecodeError("odd", "part"))).decode(b"", topics=[topic])
    assert bench.rejects.newest[0].topic == topic[:1_024]
    known = TopicDevices(1)
    assert (known[topic], known["p/x/t"]) == ("x", "x")
    assert list(known) == ["p/x/t"]


def test_a_message_of_several_readings_numbers_none_of_them() -> None:
    """A number that stands outside of the readings is the reading's only where it is alone."""
    for count, numbers in ((1, [5]), (2, [-1, -1])):
        readings = [Reading({}, "a", at=k) for k in range(count)]
        bench = Bench(gives(*readings), sequence="topic:1").decode(b"", topics=["a/5"])
        assert bench.column("sequence") == numbers
