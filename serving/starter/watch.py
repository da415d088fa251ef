"""Watching a source named on the command line: its messages or rows, and its table in the file."""

import secrets
import time as wall
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

import pandas as pd

from ingest.rejects import Rejects
from ingest.source import Source
from ingest.sources._tables import FORMATS, tables
from serving.starter.answers import cut_of
from serving.starter.decoded import decoded
from serving.starter.guess import guess
from serving.starter.posted import posted
from serving.starter.seen import Row, Sample, Seen
from serving.starter.write import Draft
from streamgauge import plugins
from streamgauge.hosts import is_loopback
from streamgauge.schema import Schema

__all__ = ["NotUnderstood", "watch", "watch_file"]

ENOUGH = 5_000
"""Messages or rows after which no more are waited for."""
LONGEST_ANSWER = 10_000_000
AT_LEAST = 3.0
"""Seconds that a stream is watched at any rate: a backlog is not how it flows."""
PLAIN = ("mqtt", "ws", "kafka", "http", "influxdb")
"""Schemes that encrypt nothing."""
Clock = Callable[[], int]
FORMS = (
    "mqtt(s)://host:1883/topic/#, kafka(s)://host:9092/topic, http(s)://host/path, "
    "http for what is posted here, "
    "postgresql+pg8000://user@host/database/table, sqlite:///file.db#table, "
    "influxdb://host:8086/database/measurement, a file or a folder of files"
)


class NotUnderstood(ValueError):
    """The source cannot be watched; the text says why, and what to write."""


def watch(source: str, seconds: float, clock: Clock) -> Draft:
    """Watch one source for so long, or until enough was seen."""
    scheme = urlsplit(source).scheme
    if scheme in ("mqtt", "mqtts", "ws", "wss"):
        return _mqtt(source, seconds, clock)
    if scheme in ("kafka", "kafkas"):
        return _kafka(source, seconds, clock)
    if source == "http" or (scheme == "http" and source.removeprefix("http:").isdigit()):
        return _posted(source, seconds, clock)
    if scheme in ("http", "https"):
        return _endpoint(source, seconds, clock)
    if scheme == "influxdb":
        return _influxdb(source, clock)
    if "://" in source:
        return _database(source, clock)
    return _file(Path(source), clock)


def _draft(use: str, options: dict[str, Any], samples: Sequence[Sample], clock: Clock) -> Draft:
    """What messages amount to."""
    seen = decoded(samples)
    return Draft(use, {**options, **seen.options}, guess(seen, clock()), seen.codec)


def _messages(source: Source, seconds: float, what: str) -> list[Sample]:
    """What comes from a source of messages; NotUnderstood where nothing does. Retained ones do not
    count: nobody knows how old they are."""
    samples: list[Sample] = []
    retained = 0
    source.start()
    try:
        began = wall.monotonic()
        while (passed := wall.monotonic() - began) < seconds:
            if passed >= AT_LEAST and len(samples) >= ENOUGH:
                break
            delivery = source.take(1_000, 0.1)
            if delivery is not None and delivery.retained:
                retained += len(delivery.payloads)
                source.acknowledge(delivery.tokens)
            elif delivery is not None:
                keys = delivery.keys or [""] * len(delivery.payloads)
                parts = zip(
                    delivery.payloads, delivery.topics, keys, delivery.received, strict=True
                )
                samples += [Sample(*part) for part in parts]
                source.acknowledge(delivery.tokens)
        why = source.state()["why"]
    finally:
        source.stop()
    if not samples and retained:
        raise NotUnderstood(
            f"only retained messages came from {what} in {seconds:g} s, {retained} of them; they "
            "do not tell when they were sent: watch longer with --seconds"
        )
    if not samples:
        raise NotUnderstood(
            f"nothing came from {what} in {seconds:g} s{f': {why}' if why else ''}; "
            "check the address, or watch longer with --seconds"
        )
    return samples


def _opened(use: str, clock: Clock, options: dict[str, Any]) -> Source:
    source: Source = plugins.load("ingest.sources", use).open(
        Schema([]), 0, clock, Rejects(), **options
    )
    return source


def _login(source: str) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """The address without user and password; the options to log in with, and what of them is
    written into the file."""
    parts = urlsplit(source)
    if parts.username is None:
        return source, {}, {}
    login = {"username": unquote(parts.username), "password": unquote(parts.password or "")}
    address = urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return address, login, login | {"password": "${STREAMGAUGE_PASSWORD}"}


def _unencrypted(source: str) -> dict[str, Any]:
    """What a file must say where the address means that nothing is encrypted, and leaves this
    machine."""
    parts = urlsplit(source)
    hosts = [part.rpartition(":")[0] or part for part in parts.netloc.rpartition("@")[2].split(",")]
    outside = not all(is_loopback(host.strip("[]")) for host in hosts)
    return {"tls": False} if outside and parts.scheme in PLAIN else {}


def _mqtt(source: str, seconds: float, clock: Clock) -> Draft:
    address, login, shown = _login(source)
    rest, _, topic = address.partition("://")[2].partition("/")
    # A "#" for all topics is a fragment to others.
    options: dict[str, Any] = {
        "url": f"{urlsplit(source).scheme}://{rest}",
        "topics": [topic or "#"],
        **_unencrypted(address),
    }
    watched = options | login | {
        "client_id": f"streamgauge-init-{secrets.token_hex(4)}", "clean": True,
    }  # fmt: skip
    samples = _messages(_opened("mqtt", clock, watched), seconds, address)
    return _draft("mqtt", options | shown, samples, clock)


def _kafka(source: str, seconds: float, clock: Clock) -> Draft:
    address, login, shown = _login(source)
    parts = urlsplit(address)
    topic = parts.path.strip("/")
    if not topic:
        raise NotUnderstood(f"{address} names no topic; write kafka://host:9092/topic")
    tls = {"tls": True} if parts.scheme == "kafkas" else _unencrypted(address)
    options: dict[str, Any] = {"bootstrap_servers": parts.netloc, "topics": [topic], **tls}
    watched = options | login | {"group": f"streamgauge-init-{secrets.token_hex(4)}"}
    samples = _messages(_opened("kafka", clock, watched), seconds, address)
    return _draft("kafka", options | shown, samples, clock)


def _posted(source: str, seconds: float, clock: Clock) -> Draft:
    """Of what is posted to us: "http" at the port of the service to be, "http:8001" at another."""
    port = int(source.partition(":")[2] or 8000)
    with posted(port, clock) as (inbox, url):
        print(f"post readings to {url}", flush=True)
        return _draft("http", {}, _messages(inbox, seconds, url), clock)


def _endpoint(source: str, seconds: float, clock: Clock) -> Draft:
    options: dict[str, Any] = {"url": source, "every": "1m", **_unencrypted(source)}
    watched = options | {"every": "5s", "max_bytes": LONGEST_ANSWER}
    answers = _messages(_opened("poll", clock, watched), seconds, source.partition("?")[0])
    where, cut = cut_of(answers[0].payload)
    # All of them have the source's one topic, which tells no devices apart.
    samples = [replace(one, payload=row, topic="") for one in answers for row in cut(one.payload)]
    if not samples:
        raise NotUnderstood(f"{source.partition('?')[0]} answers no rows; see what it says")
    draft = _draft("poll", options | where, samples, clock)
    if not draft.guess.device:
        draft.options["constants"] = {"device": "endpoint"}
        draft.guess.device = "field:device"
        draft.guess.devices = ["endpoint"]
    return draft


def _file(path: Path, clock: Clock) -> Draft:
    if not path.exists():
        raise NotUnderstood(f"{path}: there is no such file; a source is one of {FORMS}")
    options: dict[str, Any] = {"path": str(path.absolute())}
    if path.is_dir():
        files = sorted(f for f in path.iterdir() if set(f.suffixes) & set(FORMATS))
        if not files:
            raise NotUnderstood(f"{path}: no file in it is one of {', '.join(FORMATS)}")
        options["pattern"] = f"*{''.join(files[0].suffixes)}"
        return _table("folder", options, _rows_of(files[0]), clock)
    return watch_file(path, clock)


def watch_file(path: Path, clock: Clock, *, device: str = "", time: str = "") -> Draft:
    """What a recording holds, as its first rows tell; `device` and `time` name columns where a
    user said which they are."""
    frame = _rows_of(path, tuple(filter(None, (device, time))))
    for name in filter(None, (device, time)):
        if name not in frame.columns:
            there = ", ".join(map(str, frame.columns))
            raise NotUnderstood(f"{path} has no column {name!r}; there are {there}")
    return _table("file", {"path": str(path.absolute())}, frame, clock, device=device, time=time)


def _rows_of(path: Path, texts: tuple[str, ...] = ()) -> pd.DataFrame:
    with path.open("rb") as raw:
        frames = tables(path, raw, 4 * ENOUGH, ("device", "time", *texts))
        return next(frames, pd.DataFrame())


def _database(source: str, clock: Clock) -> Draft:
    address, login, shown = _login(source)
    url, _, table = address.partition("#") if "#" in address else address.rpartition("/")
    if login:
        url = url.replace("://", f"://{login['username']}@", 1)
    return _sampled("sql", {"url": url, "table": table}, login, shown, clock, named=("password",))


def _influxdb(source: str, clock: Clock) -> Draft:
    address, login, shown = _login(source)
    parts = urlsplit(address)
    database, _, measurement = map(unquote, parts.path.strip("/").partition("/"))
    if not measurement:
        raise NotUnderstood(f"{address}: write influxdb://host:8086/database/measurement")
    options: dict[str, Any] = {"url": f"http://{parts.netloc}", "database": database}
    options |= {"measurement": measurement, **_unencrypted(address)}
    return _sampled("influxdb", options, login, shown, clock, named=("username", "password"))


def _sampled(
    use: str,
    options: dict[str, Any],
    login: dict[str, Any],
    shown: dict[str, Any],
    clock: Clock,
    *,
    named: tuple[str, ...],
) -> Draft:
    """What a source that gives a sample of its rows amounts to; `named` are the options to log in
    with that it has."""
    given = {name: login[name] for name in named if login.get(name)}
    try:
        module = plugins.load("ingest.sources", use)
        frame = module.sample(rows=4 * ENOUGH, **options, **given)
    except ValueError as refused:
        raise NotUnderstood(f"{options['url']}: {refused}") from None
    except OSError as refused:
        # It names the server itself.
        raise NotUnderstood(str(refused)) from None
    return _table(use, options | {name: shown[name] for name in given}, frame, clock)


def _table(
    use: str,
    options: dict[str, Any],
    frame: pd.DataFrame,
    clock: Clock,
    *,
    device: str = "",
    time: str = "",
) -> Draft:
    """What rows of a table amount to; device and time are columns of it."""
    if frame.empty:
        raise NotUnderstood(f"{use}: there are no rows in it; a first one tells what it holds")
    known = plugins.options(plugins.load("ingest.sources", use), "open")
    records = frame.astype(object).where(frame.notna(), None).to_dict("records")
    rows = [Row({str(k): _plain(v) for k, v in record.items()}) for record in records]
    found = guess(Seen(rows), clock(), device and f"field:{device}", time and f"field:{time}")
    if found.time == "received":
        raise NotUnderstood(f"{use}: no column is a time; there are {', '.join(map(str, frame))}")
    time = found.time.removeprefix("field:")
    options |= {"time": time} if "time" in known else {}
    if found.device:
        options["device"] = found.device.removeprefix("field:")
    elif "device_id" in known:
        options["device_id"] = use
        found = replace(found, devices=[use])
    else:
        raise NotUnderstood(
            f"{use}: no column names a device; there are {', '.join(map(str, frame))}"
        )
    if "cursor" in known:
        options["cursor"] = _growing(frame, time)
    return Draft(use, options, replace(found, device="", time=""))


def _plain(value: Any) -> Any:
    """Values of numpy, pandas and databases as JSON has them."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value.item() if hasattr(value, "item") else value


def _growing(frame: pd.DataFrame, time: str) -> str:
    """A column that grows with every row: integers, each once; else the time."""
    whole = [
        str(name)
        for name, column in frame.items()
        if all(isinstance(_plain(value), int) for value in column) and column.is_unique
    ]
    return next((name for name in whole if name.lower() == "id"), whole[0] if whole else time)
