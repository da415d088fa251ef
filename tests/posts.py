"""Posts to a service with the `http` source, or to that source with no worker behind it."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from httpx import Client, Response

from ingest.labels import LabelCodec
from ingest.rejects import Rejects
from ingest.sources import http
from serving.api.intake import Intake
from stream_processor.settings.fields import PluginUse
from stream_processor.settings.tasks import LabelFields
from streamgauge.schema import Channel, Schema
from tests.services.service import Service
from tests.services.stand import Stand

__all__ = ["LINES", "NOW", "SCHEMA", "configured", "in_background", "lines", "posted", "readings"]

NOW = 1_772_366_400 * 10**6
LINES = {"Content-Type": "application/x-ndjson"}
CONFIG = """
[[source]]
use = "http"
time = "{time}"
{more}

[channels]
a = {{ range = [-1000000, 1000000] }}
"""
"""Where our own clock is the time, a message that comes twice counts twice."""


def configured(*, time: str = "received", more: str = "") -> str:
    """A pipeline.toml with an `http` source."""
    return CONFIG.format(time=time, more=more)


def lines(*messages: Any) -> bytes:
    """JSON lines."""
    return b"\n".join(json.dumps(message).encode() for message in messages)


def readings(running: Service, device: str) -> int:
    """How many readings of a device were admitted."""
    found = running.get(f"/v1/devices?search={device}")["items"]
    return sum(int(one["readings"]) for one in found if one["id"] == device)


SCHEMA = Schema([Channel("a")])
LABELS = LabelCodec(asdict(LabelFields(label="a")), "UTC")


@contextmanager
def posted(**options: Any) -> Iterator[tuple[Client, http.HttpSource]]:
    """A real server over a source that no worker empties, and a client of it."""
    source = http.open(SCHEMA, 0, lambda: NOW, Rejects(), **options)
    use = PluginUse("json", {"time": "received"})
    intake = Intake(source, use, SCHEMA, lambda: NOW, labels=[LABELS])
    with Stand(intake=intake).served() as server, Client(base_url=server.url) as client:
        yield client, source


def in_background(work: Callable[[], Response]) -> tuple[threading.Thread, list[Response]]:
    """The work in a thread of its own, and where its result will be."""
    answers: list[Response] = []
    thread = threading.Thread(target=lambda: answers.append(work()))
    thread.start()
    return thread, answers
