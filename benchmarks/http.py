"""POST /v1/readings beside the same server when it only reads and answers.

Eight clients, each with a connection of its own, post one reading at a time, then 100 and 1,000 as
JSON lines, to a running service with journal and learning, and to a bare FastAPI route that reads
the body, parses every line and answers 202. `ratio` is the service's rate through the bare one's.
"""

import multiprocessing
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import msgspec
import uvicorn
from fastapi import FastAPI, Request, Response

from benchmarks.by_hand import CONFIG, messages
from serving.compose import Running
from serving.run import clock
from stream_processor.settings import load_text

CLIENTS = 8
ROUNDS = 2
HEADERS = {"Content-Type": "application/x-ndjson"}
SIZES = {1: 500, 100: 100, 1_000: 15}
"""Requests of each client, by readings per request."""


@contextmanager
def bare() -> Iterator[str]:
    """A server that reads, parses and answers."""
    app, decode = FastAPI(), msgspec.json.Decoder().decode

    @app.post("/v1/readings", status_code=202)
    async def post(request: Request) -> Response:
        body = await request.body()
        found = [decode(line) for line in body.split(b"\n") if line]
        return Response(b'{"accepted":%d}' % len(found), 202, media_type="application/json")

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.bind(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """A whole service."""
    mqtt = 'use = "mqtt"\ntopics = ["sensors/#"]'
    text = CONFIG.read_text(encoding="utf-8")
    assert mqtt in text
    text = text.replace(mqtt, 'use = "http"\nqueue = 200_000') + "[serve]\nport = 0\n"
    key = {"STREAMGAUGE_KEY_FILE": str(folder / "signing.key")}
    running = Running(load_text(text, folder / "pipeline.toml", {}), key, clock)
    running.start()
    try:
        yield running.server.url
    finally:
        running.stop()


def bodies(size: int, requests: int) -> list[bytes]:
    """Requests of so many readings each, as JSON lines."""
    lines = list(messages(size * requests))
    return [b"\n".join(lines[k : k + size]) for k in range(0, len(lines), size)]


def client(port: int, share: list[bytes]) -> None:
    """One connection that posts its bodies one after the other, until each was answered 202."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    for body in share:
        status = 429
        while status == httpx.codes.TOO_MANY_REQUESTS:
            connection.request("POST", "/v1/readings", body, HEADERS)
            answer = connection.getresponse()
            status, said = answer.status, answer.read()
        assert status == httpx.codes.ACCEPTED, said
    connection.close()


def posted(url: str, everything: list[bytes]) -> float:
    """Seconds in which all bodies were answered; runs in a process of its own."""
    port = int(url.rpartition(":")[2])
    shares = [everything[k::CLIENTS] for k in range(CLIENTS)]
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        list(pool.map(partial(client, port), shares))
    return time.perf_counter() - began


def run() -> list[dict[str, Any]]:
    """A row per size of a request."""
    rows: list[dict[str, Any]] = []
    with (
        tempfile.TemporaryDirectory() as folder,
        bare() as plain,
        service(Path(folder)) as ours,
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as clients,
    ):
        clients.submit(posted, ours, bodies(1, CLIENTS * 20)).result()
        for size, requests in SIZES.items():
            everything = bodies(size, requests * CLIENTS)
            count = len(everything)
            best = {
                url: min(clients.submit(posted, url, everything).result() for _ in range(ROUNDS))
                for url in (plain, ours)
            }
            rows.append(
                {
                    "readings per request": size,
                    "requests/s": count / best[ours],
                    "readings/s": count * size / best[ours],
                    "bare requests/s": count / best[plain],
                    "ratio": best[plain] / best[ours],
                }
            )
    return rows
