"""What a posted body holds, and what of it the pipeline could not read: found before the 202."""

import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from itertools import islice
from json import JSONDecoder
from typing import Any

import msgspec

from ingest.labels import LabelCodec
from ingest.rejects import Rejects
from ingest.source import Codec
from ingest.sources.http import LABELS, HttpSource, TooMany
from stream_processor.settings.classes import label_channel
from stream_processor.settings.fields import PluginUse
from stream_processor.settings.model import Settings
from streamgauge.batch import Batch
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.plugins import load
from streamgauge.schema import Schema

__all__ = ["Fault", "Intake", "Messages", "intake_of"]

LINES = ("application/x-ndjson", "application/jsonl", "application/x-jsonlines")
JSON = "application/json"
TRIED_DEVICES = 50_000
"""Device ids that a trial may gather before it begins anew: anybody may post any."""
FORGIVEN = "device_limit"
"""The one reason that a trial cannot know: which devices there are is the worker's to say."""

_COUNTED = 8
"""Commas per message that may wait: an array with more of them is counted before it is cut, since
millions of tiny elements take a hundred times their own room."""

_line = re.compile(rb"\S[^\n]*").finditer
_skip = re.compile(r"[ \t\n\r]*").match
_scan = JSONDecoder(strict=False, parse_int=float).raw_decode
_elements = msgspec.json.Decoder(list[msgspec.Raw]).decode
_object = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Messages:
    """The messages of a body. `places` are the numbers of their lines, from 1, or their indexes in
    an array, from 0; `word` says which, "" where the body is one message."""

    payloads: list[bytes]
    places: Sequence[int] = (0,)
    word: str = ""


@dataclass(frozen=True, slots=True)
class Fault:
    """A message that could not become a reading, by its position among the messages."""

    position: int
    reason: str
    detail: str


class Intake:
    """The `http` source, and how bodies for its codec are cut and tried. Used by any thread.

    `labels` are the codecs of the tasks that listen to posted labels, each different one once.
    """

    def __init__(
        self,
        source: HttpSource,
        codec: PluginUse,
        schema: Schema,
        clock: Callable[[], int],
        *,
        labels: Sequence[LabelCodec] = (),
    ) -> None:
        self.source, self.codec, self._labels = source, codec.use, labels
        module = load("ingest.codecs", codec.use)
        self.media_types: tuple[str, ...] = getattr(module, "MEDIA_TYPES", (JSON, *LINES))
        self._array = codec.use == "json" and not codec.options.get("readings")
        self._build = partial(_Trial, codec, schema, clock)
        self._trials = threading.local()
        self.held = 0
        """Bytes of bodies that are being read and looked at; the event loop's."""
        self.taking = True
        """False while the state is taken back: which keys are durable is not known yet."""

    @property
    def takes_labels(self) -> bool:
        """Whether a task listens to posted labels."""
        return bool(self._labels)

    def accepts(self, topic: str) -> tuple[str, ...]:
        """The media types of bodies that may be posted to a topic."""
        return (JSON, *LINES) if topic == LABELS else self.media_types

    def messages(self, body: bytes, media_type: str, topic: str) -> Messages:
        """The messages of a body: its lines, the elements of its array, or all of it. ValueError
        where it holds none, TooMany where it holds more than could ever wait."""
        if not body or body.isspace():
            raise ValueError("the body is empty; send a reading")
        if media_type in LINES:
            return _lines(body, self.source.queue)
        if (self._array or topic == LABELS) and body.lstrip()[:1] == b"[":
            try:
                found = _array(body, self.source.queue, self.source.max_bytes)
            except (ValueError, RecursionError) as wrong:
                if len(body) <= self.source.max_bytes:
                    return Messages([body])  # what is wrong with it is told by its trial
                raise ValueError(
                    f"malformed: the array is not readable as JSON: {wrong}; correct it and send "
                    "it again"
                ) from None
            return Messages(found, range(len(found)), "index")
        return Messages([body])

    def faults(self, payloads: Sequence[bytes], topic: str) -> list[Fault]:
        """The messages that the codec would not take, in order. A codec that remembers earlier
        messages cannot be tried: what it refuses is only found in `GET /v1/quarantine`."""
        if topic == LABELS:
            return [fault for k, label in enumerate(payloads) for fault in self._no_label(k, label)]
        trial: _Trial | None = getattr(self._trials, "trial", None)
        if trial is None or trial.worn:
            trial = self._trials.trial = self._build()
        return trial.faults(payloads, topic)

    def _no_label(self, position: int, label: bytes) -> list[Fault]:
        """Why no task could read it; what a prediction is there for is the worker's to say."""
        faults = _no_object(position, label)
        if faults:
            return faults
        for codec in self._labels:
            rejects = Rejects()
            if any(True for _ in codec.decode(label, LABELS, 0, rejects)):
                return []
            faults += [Fault(position, one.reason, one.detail) for one in rejects.newest]
        return faults[:1]


def _no_object(position: int, label: bytes) -> list[Fault]:
    try:
        _object(label)
    except (ValueError, RecursionError) as wrong:
        return [Fault(position, "malformed", f"not readable as a JSON object: {wrong}")]
    return []


def _lines(body: bytes, most: int) -> Messages:
    payloads, places, line, counted = list[bytes](), list[int](), 1, 0
    for found in islice(_line(body), most + 1):
        line += body.count(b"\n", counted, found.start())
        counted = found.start()
        payloads.append(found.group())
        places.append(line)
    if len(payloads) > most:
        raise TooMany
    return Messages(payloads, places, "line")


def _array(body: bytes, most: int, longest: int) -> list[bytes]:
    """Its elements. ValueError, RecursionError: it is malformed; TooMany."""
    if body.count(b",") > _COUNTED * most:
        _count(body.decode("utf-8", "replace").lstrip()[1:], most, longest)
    found = [bytes(element) for element in _elements(body)]
    if len(found) > most:
        raise TooMany
    return found


def _space_end(text: str, at: int) -> int:
    found = _skip(text, at)
    return found.end() if found else at


def _count(elements: str, most: int, longest: int) -> None:
    """TooMany where there are more than `most`. Only one exists at a time, and a part of the text
    in which the longest has room."""
    begin, at, part = 0, 0, elements[: 2 * longest]
    for k in range(most + 1):
        if at > longest:
            begin, at = begin + at, 0
            part = elements[begin : begin + 2 * longest]
        try:
            _, at = _scan(part, _space_end(part, at))
        except ValueError as wrong:
            raise ValueError(f"index {k}, up to max_bytes = {longest:,} of it: {wrong}") from None
        at = _space_end(part, at)
        if part[at : at + 1] != ",":
            return
        at += 1
    raise TooMany


class _Trial:
    """The codec once more, decoding into a batch that nobody reads."""

    def __init__(self, codec: PluginUse, schema: Schema, clock: Callable[[], int]) -> None:
        self._devices = Devices(2 * TRIED_DEVICES)
        self._codec: Codec = load("ingest.codecs", codec.use).build(
            schema, self._devices, **codec.options
        )
        self._batch, self._clock = Batch(64, schema.width), clock

    @property
    def worn(self) -> bool:
        return self._devices.known > TRIED_DEVICES

    def faults(self, payloads: Sequence[bytes], topic: str) -> list[Fault]:
        if hasattr(self._codec, "snapshot") or not self._refused(payloads, topic):
            return []
        return [
            Fault(k, reason, detail)
            for k, payload in enumerate(payloads)
            for reason, detail in self._refused([payload], topic)[:1]
        ]

    def _refused(self, payloads: Sequence[bytes], topic: str) -> list[tuple[str, str]]:
        rejects, n = Rejects(), len(payloads)
        delivery = Delivery(0, list(payloads), [topic] * n, [self._clock()] * n)
        self._codec.decode(delivery, self._batch, rejects)
        return [(one.reason, one.detail) for one in rejects.newest if one.reason != FORGIVEN]


def intake_of(
    settings: Settings, sources: Sequence[Any], clock: Callable[[], int]
) -> Intake | None:
    """The intake of the configured `http` source; None where there is none."""
    for use, source in zip(settings.sources, sources, strict=True):
        if use.use == "http" and use.codec is not None:
            return Intake(source, use.codec, settings.schema(), clock, labels=_labels(settings))
    return None


def _labels(settings: Settings) -> list[LabelCodec]:
    """The codecs of tasks that say `label = { from = "http" }`."""
    tasks = [(task, task.label) for task in settings.tasks.values() if task.label is not None]
    forms = dict.fromkeys(
        (label.fields, label_channel(task)) for task, label in tasks if label.topic == LABELS
    )
    return [LabelCodec(asdict(one), settings.devices.timezone, read) for one, read in forms]
