"""The history that every service keeps: predictions, outcomes, scores and drift in one file.

`history.duckdb` in the state folder, an ordinary DuckDB file that any DuckDB may read once the
service is stopped. Times are microseconds UTC; `written` is our clock when a row was written, by
which old rows are deleted. `lanes` and `devices` tell what the codes stand for; -1 is the fleet.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import duckdb

from monitoring.sinks import _history_read as read
from monitoring.sinks._history_file import HistoryFile, StoreClosed, StoreDamaged, StoreInUse
from monitoring.sinks._history_rows import DeviceCodes, Staged
from monitoring.sinks._history_writer import WAITING, Writer
from streamgauge.durations import DAY
from streamgauge.output import Output
from streamgauge.schedule import Lane

__all__ = ["FILE", "Store", "StoreClosed", "StoreDamaged", "StoreInUse", "open"]

FILE = "history.duckdb"


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    keep: int = 30 * DAY,
    max_size: int = 10 * 10**9,
) -> "Store":
    """The history of a state folder. `keep` in microseconds, `max_size` in bytes: whichever is
    reached first, the oldest rows go.

    StoreDamaged, StoreInUse: as their messages say.
    """
    return Store(lanes, stream, Path(folder) / FILE, clock, keep=keep, max_size=max_size)


class Store:
    """A sink that keeps results, and answers what they were (`serving.api.history.History`).

    Outputs that carry a `position` are kept once: what the file holds already is passed over when
    a restarted walk repeats it. At most `waiting` records wait for the disk; what comes beyond is
    dropped and counted.
    """

    def __init__(
        self,
        lanes: Sequence[Lane],
        stream: str,
        path: Path,
        clock: Callable[[], int],
        *,
        keep: int,
        max_size: int,
        waiting: int = WAITING,
    ) -> None:
        self._clock = clock
        self._file = HistoryFile(path, stream)
        try:
            codes, self._names = _lane_codes(self._file, lanes)
            cursor = self._file.writer
            known = cursor.execute("select device, id from devices order by device").fetchall()
            self._devices = DeviceCodes(known)
            staged = Staged(codes, self._devices)
            self._writer = Writer(
                self._file, staged, clock, keep=keep, max_size=max_size, waiting=waiting
            )
        except duckdb.Error as refused:
            self._file.close()
            raise self._file.damaged(refused) from None
        except BaseException:
            self._file.close()
            raise
        self._lanes = dict(zip(codes, lanes, strict=True))
        self._known = self._writer.watermark
        self._repeated = 0
        self._closed = False

    @property
    def watermark(self) -> int:
        """Place in the log up to which all results are in the file."""
        return self._writer.watermark

    def resume(self, position: int) -> None:
        """The log goes on from here: what is written from now on is new, whatever its position.

        To be called once the walk has taken its state back, with the place it reached: a log that
        lost its end, or was begun anew, gives positions again that the file has seen.
        """
        self._known = min(self._known, position)
        self._writer.rewind(position)

    def write(self, output: Output) -> None:
        """Queue the output; returns at once."""
        if 0 < output.position <= self._known:
            self._repeated += len(output.predictions)
            return
        self._writer.write(output)

    def flush(self, timeout: float) -> bool:
        """Wait until all that was written so far is committed; False when time ran out."""
        return self._writer.flush(timeout)

    def state(self) -> dict[str, Any]:
        """`ok` and `why`; records in the `backlog`, `written_total`, `dropped_total` (the disk was
        too slow), `repeated_total` (known already); `commits_total`; `bytes` at the last look."""
        return self._writer.state() | {"repeated_total": self._repeated}

    def close(self, timeout: float = 10.0) -> None:
        """Commit what waits, then close the file; may be called more than once."""
        if not self._closed:
            self._closed = True
            self._writer.close(timeout)
            self._file.close()

    def predictions(
        self, device: str, task: str, horizon: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """The newest predictions of a device with their outcomes; see `History`."""
        code, oldest = self._devices.code_of.get(device), self._writer.oldest
        lanes = {
            number: lane
            for number, lane in self._lanes.items()
            if lane.task == task and horizon in (None, lane.horizon)
        }
        if code is None or oldest is None or not lanes or limit < 1:
            return []
        now = self._clock()
        return read.predictions(self._file, lanes, (code, device), limit, now=now, oldest=oldest)

    def drift(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        """The newest drifts, of one device or of all; see `History`."""
        code = None if device is None else self._devices.code_of.get(device) if device else -1
        if device and code is None:
            return []
        return read.drift(self._file, self._names, self._devices.ids, limit, code)

    def events(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        """The newest events of one device or of all; see `History`."""
        code = None if device is None else self._devices.code_of.get(device)
        if device is not None and code is None:
            return []
        return read.events(self._file, self._names, self._devices.ids, limit, code)

    def score_history(
        self, task: str, horizon: str, since_us: int, limit: int
    ) -> list[dict[str, Any]]:
        """Overall scores over time, newest first; see `History`."""
        for code, name in self._names.items():
            if name == (task, horizon):
                return read.score_history(self._file, code, since_us, limit)
        return []


def _lane_codes(
    file: HistoryFile, lanes: Sequence[Lane]
) -> tuple[list[int], dict[int, tuple[str, str]]]:
    """The code of each lane in the file, new ones added; the task and horizon of every code."""
    found = file.writer.execute("select lane, task, horizon from lanes").fetchall()
    names = {code: (task, horizon) for code, task, horizon in found}
    codes = {name: code for code, name in names.items()}
    for lane in lanes:
        name = (lane.task, lane.horizon)
        if name not in codes:
            codes[name] = len(codes)
            names[codes[name]] = name
            file.writer.execute("insert into lanes values (?, ?, ?)", [codes[name], *name])
    return [codes[lane.task, lane.horizon] for lane in lanes], names
