"""Live push: results go from the worker to everybody who listens now, and to nobody else."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from itertools import chain
from typing import Any

from serving.messages import Message, Wanted, newest
from streamgauge.output import Output

__all__ = ["Client", "Full", "Live"]


class Full(RuntimeError):
    """No more listeners are taken."""


class Client:
    """One listener. Keeps the newest `capacity` messages; who reads too slowly loses the oldest."""

    def __init__(self, wanted: Wanted, capacity: int) -> None:
        self.wanted = wanted
        self.capacity = capacity
        self._queue: deque[Message] = deque()
        self._lost = 0
        self._gap = False
        self._closed = False
        self._wake = asyncio.Event()

    def offer(self, messages: Sequence[Message], lost: int | None) -> int:
        """Queue messages, before which `lost` others went by (None = an unknown number).

        Returns how many are lost to this listener for good, as far as known.
        """
        self._queue.extend(messages)
        pushed = 0
        while len(self._queue) > self.capacity:
            self._queue.popleft()
            pushed += 1
        self._gap = self._gap or lost is None
        self._lost += pushed + (lost or 0)
        if self._queue or self._gap:
            self._wake.set()
        return pushed + (lost or 0)

    def close(self) -> None:
        """End :meth:`messages` once the queue is empty."""
        self._closed = True
        self._wake.set()

    async def messages(self, idle: float) -> AsyncIterator[Message | None]:
        """What was offered, in order; a `dropped` message stands for those that were lost.

        None comes after every `idle` seconds in which there was nothing to tell.
        """
        while True:
            try:
                async with asyncio.timeout(idle):
                    await self._wake.wait()
            except TimeoutError:
                yield None
                continue
            self._wake.clear()
            if self._lost or self._gap:
                count = None if self._gap else self._lost
                self._lost, self._gap = 0, False
                yield Message("", "dropped", {"count": count})
            while self._queue:
                yield self._queue.popleft()
            if self._closed:
                return


def _newest(
    outputs: Sequence[tuple[int, Output]], wanted: Wanted, room: int
) -> tuple[list[Message], int | None]:
    """The newest messages over several outputs, at most `room`, and how many were left out.

    Goes backwards and stops when there is enough, so that the cost has a bound; the number left out
    is then not known.
    """
    kept: list[list[Message]] = []
    lost = 0
    for number, output in reversed(outputs):
        if room == 0:
            return list(chain.from_iterable(reversed(kept))), None
        messages, left_out = newest(output, wanted, room, number)
        kept.append(messages)
        room -= len(messages)
        lost += left_out
    return list(chain.from_iterable(reversed(kept))), lost


class Live:
    """A sink that hands outputs over to the event loop of the HTTP server.

    `write` costs one comparison while nobody listens, else one append. The loop turns outputs into
    messages at most once per `interval` seconds, only what was asked for, and once for all who
    asked for the same. At most `waiting` outputs wait for the loop; older ones are dropped, and the
    listeners told.
    """

    def __init__(
        self,
        *,
        clients: int = 100,
        capacity: int = 500,
        interval: float = 0.1,
        waiting: int = 256,
    ) -> None:
        self._limit = clients
        self._capacity = capacity
        self._interval = interval
        self._clients: set[Client] = set()
        self._inbox: deque[tuple[int, Output]] = deque(maxlen=waiting)
        self._written = 0
        self._read = 0
        self._lost = 0
        self._waking = False
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def subscribe(self, wanted: Wanted) -> Client:
        """A new listener; Full beyond the limit. Called in the event loop of the server."""
        if self._closed:
            raise Full("the service is stopping")
        if len(self._clients) >= self._limit:
            raise Full(f"{self._limit} listeners are connected, which is the limit")
        self._loop = asyncio.get_running_loop()
        if not self._clients:
            self._read = self._written
        client = Client(wanted, self._capacity)
        self._clients.add(client)
        return client

    def unsubscribe(self, client: Client) -> None:
        """Forget the listener. Called in the event loop of the server."""
        self._clients.discard(client)

    def write(self, output: Output) -> None:
        """Hand over; never waits. Called by the worker."""
        if not self._clients:
            return
        self._written += 1
        self._inbox.append((self._written, output))
        if not self._waking:
            self._waking = True
            self._in_loop(self._drain_later)

    def _in_loop(self, what: Callable[[], None]) -> None:
        if self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(what)
        except RuntimeError:
            # The server's loop has ended: there is nobody left to tell.
            self._clients = set()
            self._inbox.clear()

    def _drain_later(self) -> None:
        asyncio.get_running_loop().call_later(self._interval, self._drain)

    def _drain(self) -> None:
        self._waking = False
        outputs: list[tuple[int, Output]] = []
        while self._inbox:
            outputs.append(self._inbox.popleft())
        if not outputs:
            return
        gap = outputs[0][0] > self._read + 1
        self._read = outputs[-1][0]
        chosen: dict[Wanted, tuple[list[Message], int | None]] = {}
        for client in list(self._clients):
            if client.wanted not in chosen:
                messages, lost = _newest(outputs, client.wanted, self._capacity)
                chosen[client.wanted] = messages, None if gap else lost
            self._lost += client.offer(*chosen[client.wanted])

    def flush(self, timeout: float) -> bool:
        """True at once: live push promises nothing to those who do not listen."""
        return True

    def state(self) -> dict[str, Any]:
        """`clients` connected now, `lost_total` messages that slow ones did not get."""
        return {
            "ok": not self._closed,
            "why": "the service is stopping" if self._closed else "",
            "clients": len(self._clients),
            "lost_total": self._lost,
        }

    def close(self) -> None:
        """End every stream; may be called from any thread and more than once."""
        self._closed = True
        if self._clients:
            self._in_loop(self._end)

    def _end(self) -> None:
        for client in list(self._clients):
            client.close()
