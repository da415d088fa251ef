"""Results to a server, as often as it takes: waiting, splitting, setting aside what is refused."""

import random
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Generic, Protocol, TypeVar

__all__ = ["MALFORMED", "Delivery", "GaveUp", "Lot", "Refused"]

Part = TypeVar("Part")
Cut_co = TypeVar("Cut_co", covariant=True)

FIRST_WAIT = 0.5
LONGEST_WAIT = 60.0
"""Seconds between two tries: the first wait, then twice as long each time, up to the longest."""
TOO_LARGE = 413
MALFORMED = (400, 422)
REFUSALS = 200
"""Refused requests after which the rest of a batch is set aside whole: it is not a single one."""
KEPT = 20
"""Dead letters kept for inspection."""


class Refused(Exception):
    """The server did not take it: `status` 0 where it was not reached."""

    def __init__(self, why: str, *, status: int = 0, wait: float | None = None) -> None:
        super().__init__(why)
        self.status = status
        self.wait = wait
        """Seconds that the server asked to wait."""


class GaveUp(Exception):
    """Told to stop while something was not delivered."""


class Lot(Protocol[Cut_co]):
    """What is delivered: numbered, and cut as it has to be."""

    def __len__(self) -> int: ...

    def part(self, start: int, stop: int) -> Cut_co:
        """Those from one place to another, as one request."""
        ...

    def shown(self, k: int) -> str:
        """One of them as text, whole."""
        ...


class Delivery(Generic[Part]):
    """Sends what there is in batches until each is taken or found to be unacceptable.

    `sleep(seconds)` waits and returns True when told to stop meanwhile; `chance()` gives numbers in
    [0, 1), by which waits differ between services that lost the same server. `aside(letters, why)`
    gets all that no try will deliver.
    """

    def __init__(
        self,
        post: Callable[[Part], None],
        batch: int,
        sleep: Callable[[float], bool],
        chance: Callable[[], float] = random.random,
        aside: Callable[[Iterable[str], str], None] | None = None,
    ) -> None:
        self.batch = batch
        """How many per request; smaller once the server said that a request was too large."""
        self.why = ""
        """What keeps them from being delivered now; "" when nothing does."""
        self.counts = {"sent_total": 0, "retries_total": 0, "dead_total": 0}
        self.dead_by: Counter[str] = Counter()
        """How many no try will deliver, by `too_large` or `refused`."""
        self.dead: deque[tuple[str, str]] = deque(maxlen=KEPT)
        """What no try will deliver, and why: the newest."""
        self._post = post
        self._sleep = sleep
        self._chance = chance
        self._aside = aside

    def send(self, lot: Lot[Part]) -> None:
        """Deliver all of them; GaveUp when told to stop before."""
        done = 0
        while done < len(lot):
            stop = min(done + self.batch, len(lot))
            self._batch(lot, done, stop)
            done = stop

    def _batch(self, lot: Lot[Part], start: int, stop: int) -> None:
        parts, refusals = [(start, stop)], 0
        while parts:
            start, stop = parts.pop()
            refused = self._try(lot.part(start, stop))
            if refused is None:
                self.counts["sent_total"] += stop - start
                continue
            if refused.status == TOO_LARGE:
                self.batch = max(1, (stop - start) // 2)
            else:
                refusals += 1
            if stop - start == 1 or refusals > REFUSALS:
                self._set_aside(lot, start, stop, refused)
            else:
                middle = (start + stop) // 2
                parts += [(middle, stop), (start, middle)]

    def _try(self, part: Part) -> Refused | None:
        """Until the server takes it or says that it never will: None or why not."""
        wait = FIRST_WAIT
        while True:
            try:
                self._post(part)
            except Refused as refused:
                if refused.status == TOO_LARGE or refused.status in MALFORMED:
                    self.why = ""
                    return refused
                self.why = str(refused)
                jittered = wait * (0.5 + 0.5 * self._chance())
                if self._sleep(jittered if refused.wait is None else refused.wait):
                    raise GaveUp from None
                self.counts["retries_total"] += 1
                wait = min(2.0 * wait, LONGEST_WAIT)
            else:
                self.why = ""
                return None

    def _set_aside(self, lot: Lot[Part], start: int, stop: int, refused: Refused) -> None:
        why = str(refused)
        self.counts["dead_total"] += stop - start
        self.dead_by["too_large" if refused.status == TOO_LARGE else "refused"] += stop - start
        for k in range(max(start, stop - KEPT), stop):
            self.dead.append((lot.shown(k), why))
        if self._aside is not None:
            self._aside(map(lot.shown, range(start, stop)), why)
