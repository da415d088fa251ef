"""Alerts as a sink: what the walk says goes to the rules, in a thread of its own."""

import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from monitoring.alerts.outbox import Outbox
from monitoring.alerts.postman import Postman, Quiet
from monitoring.alerts.receiver import Receiver
from monitoring.alerts.rule import Rule
from monitoring.alerts.watch import News, Watch
from streamgauge.output import Output
from streamgauge.schedule import Lane

__all__ = ["Alerts", "Parts"]

Parts = Callable[[], Sequence[tuple[str, bool, str]]]
"""Name, whether it is ready, and why not, of every part of the service."""

TICK = 1.0
"""Seconds between two looks at what has lasted long enough."""
MOST = 10_000
"""Outputs with news that may wait; each is some events."""


class Alerts:
    """Decides and delivers until closed. `write` returns at once; `flush` waits until what was
    written is decided and on disk, so that a checkpoint forgets no alert."""

    def __init__(
        self,
        rules: Sequence[Rule],
        receivers: Mapping[str, tuple[Receiver, Sequence[str]]],
        lanes: Sequence[Lane],
        folder: Path,
        clock: Callable[[], int],
        *,
        stream: str,
        url: str,
        group_wait: int,
        quiet: Quiet | None,
        target: Callable[[Lane], str],
        noted: Collection[str] = (),
    ) -> None:
        self.outbox = Outbox(folder)
        self.name = "alerts"
        self._clock = clock
        wanted = {name: severities for name, (_, severities) in receivers.items()}
        self._watch = Watch(
            rules, lanes, self.outbox, wanted, target, group_wait=group_wait, noted=noted
        )
        calls = {name: receiver for name, (receiver, _) in receivers.items()}
        self._postman = Postman(self.outbox, calls, clock, stream, url, quiet)
        self._parts: Parts = tuple
        self._news = threading.Condition()
        self._waiting: deque[News] = deque()
        self._busy = self._closing = False
        self._dropped = 0
        self._failure = ""
        self._thread = threading.Thread(target=self._run, name="alerts", daemon=True)
        self._thread.start()

    def look_at(self, parts: Parts) -> None:
        """From now on ask this for the parts of the service."""
        self._parts = parts

    def write(self, output: Output) -> None:
        """Queue what it says of events and of scores."""
        if not output.events and not output.scores:
            return
        events = [(event, output.device(event.row)) for event in output.events]
        with self._news:
            if len(self._waiting) >= MOST:
                self._waiting.popleft()
                self._dropped += 1
            self._waiting.append(News(events, output.scores))
            self._news.notify_all()

    def flush(self, timeout: float) -> bool:
        """Wait until all is decided; see `streamgauge.output.Sink`."""
        with self._news:
            return self._news.wait_for(lambda: not (self._waiting or self._busy), timeout)

    def state(self) -> dict[str, Any]:
        """`ok` and `why`; messages `waiting_total`, `delivered_total`, `dead_total`; alerts
        `firing`; `dropped_total` for want of room."""
        counts = self.outbox.counts()
        troubled = next((f"{k}: {why}" for k, why in self._postman.why.items() if why), "")
        why = self._failure or troubled
        return {
            "ok": not why,
            "why": why,
            "backlog": counts.get("waiting", 0),
            "sent_total": counts.get("delivered", 0),
            "dead_total": counts.get("dead", 0),
            "dropped_total": self._dropped,
            "firing": len(self.outbox.standing("firing")),
        }

    def close(self) -> None:
        """Decide what waits, finish the message under way, and end."""
        with self._news:
            self._closing = True
            self._news.notify_all()
        self._thread.join()
        self._postman.close()
        self.outbox.close()

    def _run(self) -> None:
        try:
            while self._round():
                pass
        except Exception as failure:
            with self._news:
                self._failure = f"alerts ended: {type(failure).__name__}: {failure}"
                self._waiting.clear()
                self._busy = False
                self._news.notify_all()
            raise

    def _round(self) -> bool:
        with self._news:
            self._news.wait_for(lambda: self._waiting or self._closing, TICK)
            news = list(self._waiting)
            self._waiting.clear()
            self._busy = True
            closing = self._closing
        now = self._clock()
        parts = () if closing else self._parts()
        with self.outbox.transaction():
            self._watch.take(news, now)
            self._watch.parts(parts, now)
            self._watch.tick(now)
        with self._news:
            self._busy = False
            self._news.notify_all()
        return not closing
