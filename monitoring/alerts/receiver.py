"""The contract of a receiver: who is told of alerts.

Plug-ins are the files of `monitoring/receivers`; each has `open(*, options) -> Receiver`, which
connects nothing and raises ValueError on options that mean nothing.
"""

from typing import Protocol

from monitoring.alerts.payload import Group

__all__ = ["NotDelivered", "Receiver"]


class NotDelivered(Exception):
    """The receiver did not take it: `again` where another try may help, after `wait` seconds if it
    said so."""

    def __init__(self, why: str, *, again: bool = True, wait: float | None = None) -> None:
        super().__init__(why)
        self.again = again
        self.wait = wait


class Receiver(Protocol):
    """One thread calls it, group by group. A group that is tried again has the same `key`."""

    def __call__(self, group: Group, /) -> None:
        """Deliver, within some seconds; returns once it is taken, raises NotDelivered else."""
        ...

    def close(self) -> None: ...
