"""Readings and labels that are posted to the service's own API.

`POST /v1/readings` and `POST /v1/labels` put what they were sent into one bounded inbox and answer
202 once the worker has journaled it. Whatever came together since the worker last looked becomes
one delivery, and so one write to the disk. A request is never answered for half of it: only with
its last message does its turn to be acknowledged come.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ingest.rejects import Rejects
from ingest.sources._keys import Keys
from streamgauge.delivery import Delivery, Position
from streamgauge.durations import microseconds
from streamgauge.schema import Schema

__all__ = ["LABELS", "READINGS", "Full", "HttpSource", "KeyReused", "Post", "TooMany", "open"]

CODEC = "json"
"""What reads the messages where the configuration names nothing else."""

READINGS, LABELS = "http/readings", "http/labels"
"""Topics of what is posted."""
QUEUE_BYTES = 256_000_000
"""Payload bytes that may wait, whatever their number."""


class Full(Exception):
    """No room in the inbox now."""


class TooMany(Exception):
    """More messages in one request than the inbox could ever hold."""


class KeyReused(Exception):
    """The idempotency key came with other content before."""


def open(  # noqa: A001  # the contract of a source's file
    schema: Schema,
    source_index: int,
    clock: Callable[[], int],
    rejects: Rejects,
    *,
    partial: bool = False,
    max_bytes: int = 1_000_000,
    max_request: int = 16_000_000,
    queue: int = 20_000,
    timeout: str = "10s",
    keys: int = 100_000,
    keys_for: str = "1d",
) -> "HttpSource":
    """Take what is posted to `/v1/readings` and `/v1/labels`.

    - `partial`: false = a request with a bad message is refused as a whole (422) and nothing of it
      is taken; true = its good messages are taken and the answer lists the others
    - `max_bytes`: longer messages are refused (413), `max_request`: longer requests are
    - `queue`: messages that may wait for the pipeline; when it is full, the answer is 429
    - `timeout`: how long a request waits to become durable before the answer is 503
    - `keys`, `keys_for`: how many idempotency keys are remembered, and for how long

    ValueError on options that mean nothing.
    """
    if min(max_bytes, max_request, queue, keys) < 1:
        raise ValueError("max_bytes, max_request, queue and keys must be at least 1")
    wait, age = microseconds(timeout), microseconds(keys_for)
    if wait < 1_000:
        raise ValueError(f"timeout = {timeout!r}; write at least 1ms")
    return HttpSource(
        source_index, clock, Keys(keys, age),
        partial=partial, max_bytes=max_bytes, max_request=max_request, queue=queue,
        timeout=wait / 1e6,
    )  # fmt: skip


@dataclass(eq=False, slots=True)
class Post:
    """One request: its messages, and who waits for them to be durable."""

    topic: str
    payloads: Sequence[bytes]
    received: int
    key: bytes
    content: bytes
    durable: "asyncio.Future[None]"
    size: int
    trace: str = ""
    """The request's `traceparent`."""
    taken: int = 0
    """Messages handed to the worker so far."""
    waiting: int = field(default=1)
    """Requests that wait: the same one may come again before it was answered."""


class HttpSource:
    """Between the server's event loop, which calls `offer` and `withdraw`, and the worker."""

    finished = False

    def __init__(
        self,
        source_index: int,
        clock: Callable[[], int],
        keys: Keys,
        *,
        partial: bool,
        max_bytes: int,
        max_request: int,
        queue: int,
        timeout: float,
    ) -> None:
        self._source, self._clock, self._keys = source_index, clock, keys
        self.partial, self.max_bytes, self.max_request = partial, max_bytes, max_request
        self.queue, self.timeout = queue, timeout
        self._posts: deque[Post] = deque()
        self._unsettled: dict[bytes, Post] = {}
        self._messages = self._bytes = 0
        self._lock, self._arrived = threading.Lock(), threading.Event()
        self._counts = dict.fromkeys(("posts", "received", "refused_full", "repeated"), 0)

    def start(self) -> None:
        """Nothing to begin: the API's server has a thread of its own."""

    def stop(self) -> None:
        """Nothing to end; see `start`."""

    # What follows runs in the server's event loop.

    def repeats(self, key: bytes, content: bytes) -> bool:
        """Whether this key's content is durable already; KeyReused where it came with another."""
        with self._lock:
            return self._repeats(key, content)

    def _repeats(self, key: bytes, content: bytes) -> bool:
        earlier = self._unsettled.get(key) if key else None
        known = self._keys.content(key, self._clock()) if key else None
        if (earlier is not None and earlier.content != content) or (
            known is not None and known != content
        ):
            raise KeyReused
        self._counts["repeated"] += known is not None
        return known is not None

    def offer(
        self, topic: str, payloads: Sequence[bytes], key: bytes, content: bytes, trace: str = ""
    ) -> Post | None:
        """Queue the messages of one request; the same key joins what is under way already, and
        None stands for a key whose content has become durable since `repeats` was asked.

        `Post.durable` is done once they are journaled. Full, TooMany, KeyReused: nothing was
        queued.
        """
        size = sum(map(len, payloads))
        if len(payloads) > self.queue or size > QUEUE_BYTES:
            raise TooMany
        with self._lock:
            if self._repeats(key, content):
                return None
            if key and key in self._unsettled:
                post = self._unsettled[key]
                post.waiting += 1
                return post
            if self._messages + len(payloads) > self.queue or self._bytes + size > QUEUE_BYTES:
                self._counts["refused_full"] += 1
                raise Full
            durable = asyncio.get_running_loop().create_future()
            post = Post(topic, payloads, self._clock(), key, content, durable, size, trace)
            self._posts.append(post)
            self._messages += len(payloads)
            self._bytes += size
            self._counts["posts"] += 1
            if key:
                self._unsettled[key] = post
        self._arrived.set()
        return post

    def withdraw(self, post: Post) -> bool:
        """Wait no longer; whether nothing of the request will be learned."""
        with self._lock:
            post.waiting -= 1
            if post.taken or post.waiting:
                return False
            self._posts.remove(post)
            self._messages -= len(post.payloads)
            self._bytes -= post.size
            self._unsettled.pop(post.key, None)
            return True

    # What follows runs in the worker's thread.

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`."""
        if not self._posts:
            self._arrived.clear()
            if not self._posts and not self._arrived.wait(timeout):
                return None
        delivery, whole = Delivery(self._source), list[Post]()
        with self._lock:
            while self._posts and len(delivery.payloads) < limit:
                post = self._posts[0]
                self._hand_over(post, limit - len(delivery.payloads), delivery)
                if post.taken == len(post.payloads):
                    whole.append(self._posts.popleft())
                    self._bytes -= post.size
            self._messages -= len(delivery.payloads)
        self._counts["received"] += len(delivery.payloads)
        delivery.tokens = list(whole)
        keyed = [(post.key, post.content, post.received) for post in whole if post.key]
        delivery.position = {"keys": Keys.pack(keyed)} if keyed else None
        return delivery if delivery.payloads else None

    @staticmethod
    def _hand_over(post: Post, room: int, delivery: Delivery) -> None:
        piece = post.payloads[post.taken : post.taken + room]
        delivery.payloads += piece
        delivery.topics += [post.topic] * len(piece)
        delivery.received += [post.received] * len(piece)
        delivery.traces += [post.trace] if post.trace else []
        post.taken += len(piece)

    def acknowledge(self, tokens: list[Any]) -> None:
        """See `ingest.source.Source`: who posted these is told."""
        with self._lock:
            for post in tokens:
                if post.key:
                    self._keys.add(post.key, post.content, post.received)
                    self._unsettled.pop(post.key, None)
        for loop in {post.durable.get_loop() for post in tokens}:
            theirs = [post.durable for post in tokens if post.durable.get_loop() is loop]
            with suppress(RuntimeError):  # the server has ended, nobody waits any more
                loop.call_soon_threadsafe(_settle, theirs)

    def position(self) -> Position:
        """See `ingest.source.Standing`."""
        with self._lock:
            return {"keys": self._keys.packed()}

    def resume(self, position: Position) -> None:
        """See `ingest.source.Source`: remember the keys that are durable."""
        self._keys.unpack(position["keys"])

    def state(self) -> dict[str, Any]:
        """See `ingest.source.Source`."""
        waiting = {"queued": self._messages, "keys": len(self._keys)}
        return {"ok": True, "why": "", **waiting, **self._counts}


def _settle(futures: Iterable["asyncio.Future[None]"]) -> None:
    for future in futures:
        if not future.done():
            future.set_result(None)
