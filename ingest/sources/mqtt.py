"""MQTT 3.1.1 and 5, QoS 0 to 2, over TCP or a websocket, with or without TLS.

Messages of QoS 1 and 2 are acknowledged when the pipeline says that they are durable, in the order
in which they arrived. What a broker sends again after a crash is for the dedupe, at QoS 2 as well:
a broker may only be told that we have a message once it is on disk. A broker that is absent,
restarts or refuses is tried again for ever. Retained messages repeat something old, mostly without
saying how old: they are handed over as such, and teach nothing.
"""

import socket
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources._mqtt_readers import Readers
from ingest.sources._mqtt_source import MqttSource, Options
from streamgauge import durations
from streamgauge.brokers import (
    Will,
    address_of,
    checked_filters,
    lasting_id,
    meet,
    shared,
    will_of,
)
from streamgauge.schema import Schema

__all__ = ["notes", "open"]

CODEC = "json"
"""What reads the messages where the configuration names nothing else."""


def open(  # noqa: A001  # the contract of a source's file
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    topics: list[str],
    url: str = "mqtt://localhost:1883",
    tls: bool | None = None,
    client_id: str = "",
    username: str = "",
    password: str = "",
    ca: Path | None = None,
    cert: Path | None = None,
    key: Path | None = None,
    insecure: bool = False,
    version: str = "3.1.1",
    qos: int = 1,
    clean: bool = False,
    connections: int = 1,
    will: dict[str, str | bool] | None = None,
    silent_after: str = "never",
    keepalive: int = 30,
    queue: int = 20_000,
    max_bytes: int = 1_000_000,
) -> Source:
    """Subscribe to an MQTT broker.

    - `topics`: filters; + is one level, # all the rest. $share/GROUP/FILTER shares the messages
      with other members of the group, by which readings of one device may overtake each other
    - `url`: mqtt://host:port or ws://host:port/path; mqtts:// or wss:// for TLS with `ca`, `cert`,
      `key` (PEM files); `insecure` = true accepts any certificate
    - `tls`: false allows an unencrypted url that leaves this machine
    - `client_id`: two running instances need two; left out, it is derived from this machine's
      name, url and topics, and stays the same over restarts
    - `qos`: 0, 1 or 2. What is sent again after a crash is sent again at 1 and at 2
    - `clean`: false = the broker keeps what comes while we are away
    - `connections`: more than one are processes of their own, for more messages than one core can
      read, where cores are idle; each filter belongs to one of them, so there must be as many, and
      none may overlap
    - `will`: { topic = "...", payload = "offline", online = "online", retain = true }: what the
      broker publishes when we are gone, and what we publish when we are there
    - `silent_after`: connect anew when nothing has come for so long, such as "10m"
    - `queue`: messages that may wait for the pipeline, per connection. When it is full, QoS 0
      messages are dropped and counted; the others wait with the broker.
    - `max_bytes`: longer messages are rejected

    ValueError on options that mean nothing.
    """
    if qos not in (0, 1, 2):
        raise ValueError(f"qos = {qos}; write 0, 1 or 2")
    if min(keepalive, queue, max_bytes) < 1 or keepalive > 65_535:
        raise ValueError("keepalive (seconds, to 65535), queue and max_bytes must be at least 1")
    filters = checked_filters(topics)
    identity = f"{socket.gethostname()} {url} {sorted(filters)} {source_index}"
    options = Options(
        address=address_of(url, tls=tls),
        topics=filters,
        client_id=client_id or ("" if clean else lasting_id(identity)),
        login=(username, password),
        tls=(ca, cert, key, insecure),
        version=version,
        qos=qos,
        clean=clean,
        keepalive=keepalive,
        will=_unread(will_of(will), filters),
        silent_after=0.0 if silent_after == "never" else durations.microseconds(silent_after) / 1e6,
        queue=queue,
        max_bytes=max_bytes,
    )
    single = MqttSource(options, source_index, clock, rejects)
    if connections == 1:
        return single
    return Readers(_dealt(options, connections), source_index, rejects)


def notes(options: Mapping[str, Any]) -> list[str]:
    """What is allowed but may surprise."""
    address = address_of(options.get("url", "mqtt://localhost"), tls=options.get("tls"))
    found = []
    if options.get("tls") is False:
        found.append(f"mqtt: tls = false: {address.url} is read unencrypted, passwords included")
    if options.get("insecure"):
        found.append(f"mqtt: insecure = true: whoever answers at {address.url} is believed")
    members = [topic for topic in options.get("topics", []) if shared(topic)]
    if members:
        found.append(
            f"mqtt: {', '.join(members)}: a group shares the messages, so that readings of one "
            "device may overtake each other; the older one is then refused as late"
        )
    return found


def _unread(will: Will | None, filters: list[str]) -> Will | None:
    """The will, whose topic this source must not read."""
    for topic in filters:
        if will is not None and meet(topic, will.topic):
            raise ValueError(
                f"will: {will.topic} would be read by topics {topic!r}; choose a topic outside"
            )
    return will


def _dealt(options: Options, connections: int) -> list[Options]:
    """The options of each connection. Each filter belongs to one, so that a topic's messages stay
    in order; a shared one to all, as members of the group."""
    own = [topic for topic in options.topics if not shared(topic)]
    group = [topic for topic in options.topics if shared(topic)]
    if connections < 1 or (len(own) < connections and not group):
        raise ValueError(
            f"connections = {connections}: each needs a filter of its own, because a topic read by "
            f"two loses its order, and there are {len(own)}; divide them, such as "
            "sensors/a/#, sensors/b/#, or share one by $share/GROUP/FILTER if order does not matter"
        )
    for one, other in combinations(own, 2):
        if meet(one, other):
            raise ValueError(
                f"connections = {connections}: {one!r} and {other!r} overlap, so that a message "
                "would come by both; choose filters of which no topic matches two"
            )
    return [
        replace(
            options,
            topics=own[k::connections] + group,
            client_id=f"{options.client_id}-{k + 1}" if options.client_id else "",
            will=options.will if k == 0 else None,
        )
        for k in range(connections)
    ]
