"""MQTT acknowledgements in the order of arrival, never on another connection than their own.

After a reconnect a broker may number its messages from 1 again: an old acknowledgement would then
make it forget a message that nobody has processed. So every token names its connection.
"""

import threading
from collections.abc import Callable
from typing import Any

__all__ = ["Token", "Turns"]

Token = tuple[int, int, int]
"""Connection it came by, message id, QoS."""

_NOTHING_TO_ACKNOWLEDGE: Token = (0, 0, 0)


class Turns:
    """`ack(mid, qos)` sends one acknowledgement; it is called with the lock held that a change of
    connection needs. `stale` counts those that were let go. Any thread may call."""

    def __init__(self, ack: Callable[[int, int], Any]) -> None:
        # A client without a thread sends in ours, and may then tell us that the connection is lost.
        self._ack, self._lock = ack, threading.RLock()
        self._connection = 0
        self._outstanding = 0
        self._owed: list[Token] = []
        self.stale = 0

    def new_connection(self) -> None:
        """From now on tokens belong to another connection; the client's thread calls this."""
        with self._lock:
            self._connection += 1

    def token(self, mid: int, qos: int) -> Token:
        """The token of a message that just arrived."""
        return (self._connection, mid, qos) if qos else _NOTHING_TO_ACKNOWLEDGE

    def with_delivery(self, tokens: list[Token]) -> list[Token]:
        """The tokens to hand out with a delivery: these, behind what is still owed."""
        with self._lock:
            if self._owed:
                tokens, self._owed = self._owed + tokens, []
            self._outstanding += len(tokens)
            return tokens

    def without_delivery(self, tokens: list[Token]) -> None:
        """Messages that nobody will process: acknowledged now, or once earlier ones have been."""
        with self._lock:
            self._owed += tokens
            self._settle()

    def acknowledge(self, tokens: list[Token]) -> None:
        """What these tokens stand for is durable."""
        with self._lock:
            self._send(tokens)
            self._outstanding -= len(tokens)
            self._settle()

    def _settle(self) -> None:
        if self._owed and not self._outstanding:
            owed, self._owed = self._owed, []
            self._send(owed)

    def _send(self, tokens: list[Token]) -> None:
        connection, ack = self._connection, self._ack
        for its_connection, mid, qos in tokens:
            if its_connection == connection:
                ack(mid, qos)
            elif qos:
                self.stale += 1
