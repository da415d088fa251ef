"""From label messages to the labels of the join: whom each is for, in the order of the log."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import NamedTuple

from ingest.labels import LabelCodec, Told, matches
from ingest.rejects import Rejects
from stream_processor.settings.classes import label_channel
from stream_processor.settings.model import Settings
from stream_processor.settings.tasks import LabelFields
from streamgauge.delivery import Delivery
from streamgauge.devices import Devices
from streamgauge.schedule import Lane
from streamgauge.schema import Channel

__all__ = ["Label", "LabelLog"]

TOPICS_REMEMBERED = 100_000
LONGEST_SEQUENCE = 15
"""Digits: beyond them a number is no count of readings."""


class Label(NamedTuple):
    """One label for one lane; see `LabelBatch`."""

    lane: int
    row: int
    sequence: int
    at: int
    received: int
    value: float


_Form = tuple[LabelFields, Channel]
"""Where a message has what, and how its label is read."""


class _Listener(NamedTuple):
    """Lanes that listen to one filter of topics."""

    pattern: str
    by_id: dict[str, int]
    """Lane by its name."""
    by_time: list[tuple[str, int]]
    """Task and lane."""


class LabelLog:
    """Knows which messages are labels, and which predictions they are for."""

    def __init__(self, settings: Settings, lanes: Sequence[Lane], devices: Devices) -> None:
        self._devices = devices
        self._codecs: dict[_Form, LabelCodec] = {}
        self._listeners: dict[_Form, list[_Listener]] = defaultdict(list)
        zone = settings.devices.timezone
        for name, task in settings.tasks.items():
            if task.label is None or not task.label.topic:
                continue
            form = (task.label.fields, label_channel(task))
            own = [k for k, lane in enumerate(lanes) if lane.task == name]
            named = {lanes[k].name: k for k in own if task.label.by_id}
            timed = [(name, k) for k in own if not task.label.by_id]
            self._listeners[form].append(_Listener(task.label.topic, named, timed))
            self._codecs.setdefault(form, LabelCodec(asdict(form[0]), zone, form[1]))
        self.listens = bool(self._codecs)
        """Whether any topic brings labels."""
        self._heard: dict[str, bool] = {}

    def runs(self, delivery: Delivery) -> Iterator[tuple[Delivery, bool]]:
        """A delivery in runs of readings and of labels, in order: each with True for labels."""
        if len(self._heard) > TOPICS_REMEMBERED:
            self._heard.clear()
        start = 0
        for labels, run in groupby(map(self._hears, delivery.topics)):
            stop = start + sum(1 for _ in run)
            whole = start == 0 and stop == len(delivery.topics)
            yield delivery if whole else delivery.part(start, stop), labels
            start = stop

    def _hears(self, topic: str) -> bool:
        heard = self._heard.get(topic)
        if heard is None:
            heard = self._heard[topic] = any(
                matches(listener.pattern, topic)
                for listeners in self._listeners.values()
                for listener in listeners
            )
        return heard

    def labels(self, delivery: Delivery, rejects: Rejects) -> Iterator[Label]:
        """The labels in a run of label messages, in order."""
        for payload, topic, received in zip(
            delivery.payloads, delivery.topics, delivery.received, strict=True
        ):
            if delivery.retained:
                detail = "a label that the broker retained; send labels without the retain flag"
                rejects.add("retained_label", detail, received=received, topic=topic)
                continue
            for form, codec in self._codecs.items():
                listening = [w for w in self._listeners[form] if matches(w.pattern, topic)]
                if not listening:
                    continue
                for told in codec.decode(payload, topic, received, rejects):
                    found = list(self._meant(told, listening, received))
                    if not found:
                        detail = f"no task that listens to this topic can place {told!r:.200}"
                        rejects.add(
                            "no_prediction", detail, received=received, topic=topic, payload=payload
                        )
                    yield from found

    def _meant(self, told: Told, listening: Sequence[_Listener], received: int) -> Iterator[Label]:
        """One label for each lane that it is for."""
        if told.id:
            name, _, rest = told.id.partition("/")
            device, _, digits = rest.rpartition("/")
            known = digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_SEQUENCE
            for listener in listening:
                lane = listener.by_id.get(name)
                if lane is not None and known:
                    row = self._devices.recall(device)
                    yield Label(lane, row, int(digits), -1, received, told.label)
            return
        for listener in listening:
            for task, lane in listener.by_time:
                if told.task in ("", task):
                    row = self._devices.recall(told.device)
                    yield Label(lane, row, -1, told.time, received, told.label)
