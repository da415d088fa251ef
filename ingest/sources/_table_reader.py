"""A source whose own thread reads tables, piece by piece, and looks again after a while.

Readings are received when they are taken: their order and this time are in the journal, so nothing
of it has to be found again. The position behind each piece goes there with it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, Full, Queue
from typing import Any, Protocol

import numpy as np

from ingest.rejects import Reject, Rejects
from streamgauge.delivery import Delivery, Position, Readings
from streamgauge.schema import Schema

__all__ = ["FINISHED", "Piece", "TableReader", "Tables", "rows_at_once"]

FINISHED = "finished"
"""Key of a position behind which nothing will ever come."""
READ_AHEAD = 3
"""Pieces that wait for the worker."""
ROWS = 4_096
PIECE_BYTES = 1_000_000
"""Size of a piece that one record of the journal always has room for."""
NAME_BYTES = 64
STEP = 0.05
FIRST_WAIT, LONGEST_WAIT = 1.0, 60.0
"""Seconds before what failed is tried again: the first time, and after doubling, at most."""

Piece = tuple[Readings, Position]
"""Readings and the position behind them."""


class Tables(Protocol):
    """What is read. Called by the reader's thread, but for `state`."""

    @property
    def waiting(self) -> bool:
        """Whether something is there that cannot be read yet."""
        ...

    def pieces(self, after: Position, rejects: Rejects) -> Iterator[Piece]:
        """What has come since a position ({} = from the beginning), until there is no more."""
        ...

    def state(self) -> dict[str, Any]:
        """Numbers and names for the source's state."""
        ...

    def close(self) -> None: ...


@dataclass(slots=True)
class _Taken:
    piece: Piece
    rejects: list[Reject]


def rows_at_once(schema: Schema) -> int:
    """Rows that are read together."""
    return max(1, min(ROWS, PIECE_BYTES // (8 * schema.width + NAME_BYTES)))


class TableReader:
    """The readings of `tables` as a source. It looks again `every` so many seconds; None: it is
    finished when it has read what there is.

    What fails is tried again, from the position of the last whole piece, at growing intervals.
    """

    def __init__(
        self,
        tables: Tables,
        nothing: Readings,
        source_index: int,
        clock: Callable[[], int],
        rejects: Rejects,
        *,
        every: float | None,
    ) -> None:
        self._tables, self._nothing, self._every = tables, nothing, every
        self._source, self._clock, self._rejects = source_index, clock, rejects
        self._noted: list[Reject] = []
        self._own_rejects = Rejects(self._noted.append)
        self._position: Position = {}
        self._queue: Queue[_Taken] = Queue(READ_AHEAD)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="table-reader", daemon=True)
        self._why, self._rows, self._troubles = "", 0, 0
        self.finished = False

    def resume(self, position: Position) -> None:
        """See `ingest.source.Source`."""
        self._position = {key: value for key, value in position.items() if key != FINISHED}
        self.finished = self._every is None and bool(position.get(FINISHED))

    def start(self) -> None:
        if not self.finished:
            self._thread.start()

    def take(self, limit: int, timeout: float) -> Delivery | None:
        """See `ingest.source.Source`; a piece is as many rows as were read together."""
        try:
            taken = self._queue.get(timeout > 0.0, timeout)
        except Empty:
            return None
        readings, position = taken.piece
        received = self._clock()
        for it in taken.rejects:
            self._rejects.add(it.reason, it.detail, received=received)
        readings.received = np.full(len(readings), received, np.int64)
        self._rows += len(readings)
        self.finished = bool(position.get(FINISHED))
        return Delivery(self._source, readings=readings, position=position)

    def acknowledge(self, tokens: list[Any]) -> None:
        """Nobody waits for it."""

    def state(self) -> dict[str, Any]:
        """See `ingest.source.Source`."""
        return {
            "ok": not self._why,
            "why": self._why,
            "rows_total": self._rows,
            "failures_total": self._troubles,
            "finished": self.finished,
            **self._tables.state(),
        }

    def stop(self) -> None:
        """End the thread; one that waits for an answer is left to end by itself."""
        self._stop.set()
        with suppress(Empty):
            while True:
                self._queue.get_nowait()
        if self._thread.ident is not None:
            self._thread.join(5.0)

    # What follows runs in the reader's thread.

    def _run(self) -> None:
        wait = FIRST_WAIT
        while not self._stop.is_set():
            try:
                self._look()
            except Exception as failed:  # noqa: BLE001 - drivers raise what they like; all is retried
                self._troubles += 1
                self._why = str(failed) or type(failed).__name__
                self._stop.wait(wait)
                wait = min(2 * wait, LONGEST_WAIT)
                continue
            self._why, wait = "", FIRST_WAIT
            if self._every is None and not self._tables.waiting:
                self._hand_over(self._nothing, self._position | {FINISHED: True})
                break
            self._stop.wait(STEP if self._every is None else self._every)
        self._tables.close()

    def _look(self) -> None:
        for readings, position in self._tables.pieces(self._position, self._own_rejects):
            self._hand_over(readings, position)
            self._why = ""
            if self._stop.is_set():
                return

    def _hand_over(self, readings: Readings, position: Position) -> None:
        taken = _Taken((readings, position), list(self._noted))
        self._noted.clear()
        while not self._stop.is_set():
            try:
                self._queue.put(taken, timeout=STEP)
            except Full:
                continue
            self._position = position
            return
