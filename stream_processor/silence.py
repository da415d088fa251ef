"""Devices and channels that go quiet, and that return: told when it happens, in event time."""

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from streamgauge.arrays import Bools, Bytes, Floats, Ints, Rows, Words
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.events import KIND, ORDER, ROW, SIZE, SOURCE, TIME, Event, EventKind, Events
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block, Field, Keys
from streamgauge.words import Flag

__all__ = ["Silence"]

_SILENT, _RETURNED = int(EventKind.SILENT), int(EventKind.RETURNED)
_FILLED = int(Flag.FILLED)
_NEVER, _HEARD, _QUIET = 0.0, 1.0, 2.0
# A device's state: when its last reading was received, then two columns for the device itself and
# for each channel: when it was last heard (event time), and whether it is quiet.
_RECEIVED, _OWN = 0, 1
_DEVICE = -1


@kernel
def _tell(
    kind: int,
    d: int,
    channel: int,
    time: int,
    source: int,
    seconds: float,
    codes: Ints,
    numbers: Floats,
    count: Ints,
    totals: Floats,
) -> None:
    at = count[0]
    codes[at, KIND] = kind
    codes[at, ROW] = d
    codes[at, TIME] = time
    codes[at, SOURCE] = source
    codes[at, ORDER] = channel
    numbers[at, SIZE] = seconds
    count[0] = at + 1
    totals[0, kind - _SILENT] += 1.0


@kernel
def _look(
    heard: bool,
    d: int,
    channel: int,
    now: int,
    source: int,
    after: float,
    device: Floats,
    codes: Ints,
    numbers: Floats,
    count: Ints,
    totals: Floats,
) -> None:
    """One device or channel at its own time `now`, with a reading that has it or without."""
    at = _OWN + 2 * (channel + 1)
    last = int(device[at])
    if device[at + 1] == _HEARD and now - last > after:
        device[at + 1] = _QUIET
        limit = int(after)
        _tell(
            _SILENT, d, channel, last + limit, source, limit * 1e-6,
            codes, numbers, count, totals,
        )  # fmt: skip
    if heard:
        if device[at + 1] == _QUIET:
            seconds = (now - last) * 1e-6
            _tell(_RETURNED, d, channel, now, source, seconds, codes, numbers, count, totals)
        device[at], device[at + 1] = now, _HEARD


@kernel
def _listen(
    n: int,
    row: Rows,
    time: Ints,
    received: Ints,
    verdict: Bytes,
    values: Floats,
    flags: Words,
    after: Floats,
    state: Floats,
    totals: Floats,
    codes: Ints,
    numbers: Floats,
    count: Ints,
) -> None:
    for i in range(n):
        if verdict[i] != 0:
            continue
        d = int(row[i])
        device, t = state[d], time[i]
        _look(True, d, _DEVICE, t, i, after[0], device, codes, numbers, count, totals)
        for c in range(len(after) - 1):
            heard = np.isfinite(values[i, c]) and (flags[i, c] & _FILLED) == 0
            _look(heard, d, c, t, i, after[c + 1], device, codes, numbers, count, totals)
        device[_RECEIVED] = received[i]


@kernel
def _wait(
    clock: int,
    start: int,
    rows: int,
    after: Floats,
    state: Floats,
    totals: Floats,
    codes: Ints,
    numbers: Floats,
    count: Ints,
) -> int:
    """Look at device rows start to `rows`; the first that the log has no room for."""
    for d in range(start, rows):
        device = state[d]
        if device[_OWN + 1] == _NEVER:
            continue
        if count[0] + len(after) > len(codes):
            return d
        now = int(device[_OWN]) + clock - int(device[_RECEIVED])
        for c in range(-1, len(after) - 1):
            _look(False, d, c, now, -1, after[c + 1], device, codes, numbers, count, totals)
    return rows


class Silence:
    """Tells when a device, or one channel of it, has not been heard of for longer than allowed,
    and when it is heard of again.

    `device` and `channels[k]` are how long each may be quiet, microseconds; None = for ever. A
    silent device is judged by its own clock, which has gone on since its last reading as ours has.
    The event has the time at which the limit was passed; a return has that of the reading that
    ends the silence, and stands before whatever else that reading brings about. Only admitted
    readings count, and values as they were sent: what cleaning fills in ends no silence.

    Block "state", per device; block "totals", for the whole stream: silences and returns so far.
    `part` is the most readings of a batch.
    """

    def __init__(
        self,
        schema: Schema,
        capacity: int,
        *,
        device: int | None,
        channels: Sequence[int | None],
        part: int,
    ) -> None:
        limits = [device, *channels]
        self.watching = any(limit is not None for limit in limits)
        self._names = schema.names
        self._after = np.array([np.inf if k is None else k for k in limits], np.float64)
        heard = Field("heard", (len(schema), 2), along="channels")
        state = Block([Field("received"), Field("own", (2,)), heard], capacity)
        totals = Block([Field("silent"), Field("returned")], 1, keys=Keys.FLEET)
        self.blocks: Mapping[str, Block] = {"state": state, "totals": totals}
        self._own, self._heard = state.view("own"), state.view("heard")
        self._log = Events(2 * len(limits) * part if self.watching else 1)
        log = self._log
        self._bound = (self._after, state.array, totals.array, log.codes, log.numbers, log.count)

    def call(self, batch: Batch, features: Features) -> Call:
        """Hear readings 0 to N; what is to be told waits in `told`."""
        columns = (batch.row, batch.time, batch.received, batch.verdict, batch.values, batch.flags)
        return Call(_listen, (Now.N, *columns, *self._bound))

    def tick(self, clock: int, rows: int) -> Iterator[Event]:
        """What has fallen silent by `clock` among the first so many device rows, in their order."""
        done = 0
        while done < rows and self.watching:
            done = _wait(clock, done, rows, *self._bound)
            yield from self.told(0)

    def told(self, until: int) -> list[Event]:
        """Take out what readings up to number `until` of the batch brought, in their order."""
        log, n = self._log, len(self._log)
        if not n:
            return []
        taken = int(np.searchsorted(log.codes[:n, SOURCE], until, side="right"))
        found = [
            self._event(code, seconds)
            for code, seconds in zip(
                log.codes[:taken].tolist(), log.numbers[:taken, SIZE].tolist(), strict=True
            )
        ]
        log.codes[: n - taken] = log.codes[taken:n].copy()
        log.numbers[: n - taken] = log.numbers[taken:n].copy()
        log.count[0] = n - taken
        return found

    def _event(self, code: list[int], seconds: float) -> Event:
        channel = code[ORDER]
        return Event(
            EventKind(code[KIND]),
            code[ROW],
            -1,
            code[TIME],
            code[SOURCE],
            np.nan,
            np.nan,
            seconds,
            self._names[channel] if channel >= 0 else "",
        )

    def listens(self, rows: Ints) -> Bools:
        """bool[rows]: whether the device, or a channel of it, may still fall silent by itself."""
        states = np.column_stack([self._own[rows, 1], self._heard[rows, :, 1]])
        listening: Bools = ((states == _HEARD) & np.isfinite(self._after)).any(axis=1)
        return listening

    def silent(self, rows: int) -> int:
        """Devices among the first so many rows that are silent now."""
        return int((self._own[:rows, 1] == _QUIET).sum())

    def totals(self) -> dict[str, int]:
        """Silences and returns so far, of devices and channels."""
        block = self.blocks["totals"]
        return {name: int(block.view(name)[0]) for name in ("silent", "returned")}
