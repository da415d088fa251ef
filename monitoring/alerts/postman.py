"""Delivers what the outbox owes: a thread for each receiver, as often as it takes."""

import random
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, time
from zoneinfo import ZoneInfo

from monitoring.alerts.outbox import Outbox, Owed
from monitoring.alerts.payload import Group
from monitoring.alerts.receiver import NotDelivered, Receiver

__all__ = ["Postman", "Quiet"]

FIRST_WAIT, LONGEST_WAIT = 1.0, 300.0
"""Seconds between two tries: the first wait, then twice as long each time, up to the longest."""
LOOK = 0.25
"""Seconds between two looks into the outbox."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """Hours in which only `critical` alerts are delivered; the others wait for their end."""

    begins: time
    ends: time
    zone: ZoneInfo

    def holds(self, now: int) -> bool:
        """Whether these hours are now; they may go over midnight."""
        at = datetime.fromtimestamp(now / 1e6, self.zone).time()
        if self.begins <= self.ends:
            return self.begins <= at < self.ends
        return at >= self.begins or at < self.ends


class Postman:
    """Starts at once, ends with `close`; a message under way is then finished or tried again at the
    next start."""

    def __init__(
        self,
        outbox: Outbox,
        receivers: Mapping[str, Receiver],
        clock: Callable[[], int],
        stream: str,
        url: str,
        quiet: Quiet | None = None,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.why: dict[str, str] = dict.fromkeys(receivers, "")
        """By receiver, what keeps it from being told; "" when nothing does."""
        self.receivers = receivers
        self._outbox, self._clock = outbox, clock
        self._stream, self._url, self._quiet, self._chance = stream, url, quiet, chance
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"alerts to {name}", daemon=True)
            for name in receivers
        ]
        for thread in self._threads:
            thread.start()

    def _run(self, name: str) -> None:
        while not self._stop.is_set():
            if not self.round(name):
                self._stop.wait(LOOK)

    def round(self, name: str) -> bool:
        """Deliver one message, if one is due; whether one was."""
        now = self._clock()
        quiet = self._quiet is not None and self._quiet.holds(now)
        owed = self._outbox.owed(name, now, only=("critical",) if quiet else ())
        if owed is None:
            return False
        try:
            self.receivers[name](self._group(name, owed))
        except NotDelivered as refused:
            self._again(name, owed, refused)
        except Exception as broken:  # noqa: BLE001 - whatever a receiver raises, others go on
            self._again(name, owed, NotDelivered(f"{type(broken).__name__}: {broken}"))
        else:
            self._outbox.delivered(name, owed.lot, self._clock())
            self.why[name] = ""
        return True

    def _again(self, name: str, owed: Owed, refused: NotDelivered) -> None:
        self.why[name] = str(refused)
        if not refused.again:
            self._outbox.give_up(name, owed.lot, str(refused), self._clock())
            return
        wait = min(FIRST_WAIT * 2.0**owed.tries, LONGEST_WAIT) * (0.5 + 0.5 * self._chance())
        seconds = wait if refused.wait is None else refused.wait
        due = self._clock() + int(seconds * 1e6)
        self._outbox.put_off(name, owed.lot, str(refused), due)

    def _group(self, name: str, owed: Owed) -> Group:
        key = f"{self._stream}.{name}.{owed.lot}"
        alerts = owed.alerts
        return Group(self._stream, owed.rule, name, alerts, self._url, owed.truncated, key)

    def close(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for receiver in self.receivers.values():
            receiver.close()
