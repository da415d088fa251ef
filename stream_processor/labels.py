"""The label join: which prediction meets which label, and when, in event order.

What a device's own readings settle is in `stream_processor/own_labels.py`, what labels from
elsewhere do in `stream_processor/elsewhere.py`.
"""

from collections.abc import Sequence

import numpy as np

from stream_processor.elsewhere import LAGS, TALLIES, LabelBatch, lag_quantile, meet
from stream_processor.own_labels import expire, join
from stream_processor.pending import (
    ASIDE,
    BASES,
    EXPIRED,
    NO_LABEL,
    OVERFLOWED,
    P_MARK,
    P_READINGS,
    P_TOLERANCE,
    PARAMETERS,
    PER_LANE,
)
from stream_processor.settings.kinds import LONGEST
from streamgauge.arrays import Bools, Ints
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.schedule import Lane, Schedule
from streamgauge.state import Block, Field, Keys

__all__ = ["OVERFLOWED", "LabelBatch", "LabelJoin"]


class LabelJoin:
    """Turns admitted readings into the models' schedule.

    `pending` is how many readings of one device may wait for labels at a time; beyond it the oldest
    expires and is counted. `skew` (microseconds) is how much longer than the tolerance a silent
    device is waited for: its reading may be on its way.
    """

    def __init__(
        self, lanes: Sequence[Lane], features: int, capacity: int, *, pending: int, skew: int
    ) -> None:
        count = len(lanes)
        self.lanes = tuple(lanes)
        self.skew = skew
        self.parameters = _parameters(lanes, features)
        self.elsewhere = [k for k, lane in enumerate(lanes) if lane.elsewhere is not None]
        """Lanes whose labels come from elsewhere."""
        aside = len(self.elsewhere)
        heads = [Field(name) for name in ("pushed", "size", "free", "oldest", "newest")]
        heads += [Field("last_time"), Field("last_received")]
        heads += [Field(name, (count,), along="lanes") for name in ("cursor", "last", "known")]
        fields = [Field(name) for name in ("sequence", "time", "link")]
        fields += [
            Field("base", (count,), along="lanes"),
            Field("x", (features,), along="features", later=np.nan),
        ]
        if aside:
            heads += [Field("aside", (aside, ASIDE)), Field("released")]
            fields += [Field("received"), Field("mark", (aside,))]
        head = Block(heads, capacity)
        # At least two layers: a block of one layer keeps no depth of its own.
        ring = Block(fields, capacity, layers=max(2, pending))
        ring.depth = head.view("size")
        self.blocks = {"head": head, "ring": ring}
        timed = [k for k, lane in enumerate(self.parameters) if _timed(lane, bool(aside))]
        self._timed = np.array(timed, np.int64)
        """Lanes whose predictions our clock alone may settle."""
        if aside:
            tallies = [Field(name, (aside,)) for name in TALLIES]
            lags = Field("lag", (aside, LAGS))
            self.blocks["elsewhere"] = Block([*tallies, lags], 1, keys=Keys.FLEET)
        self._pending = pending
        self._stack = ring.stack[:pending]

    def call(self, batch: Batch, features: Features, schedule: Schedule) -> Call:
        """Fill the schedule with what readings DONE to N bring; sets DONE and STEPS."""
        return Call(
            join,
            (
                batch.row,
                batch.time,
                batch.received,
                batch.verdict,
                batch.values,
                features.x,
                self.parameters,
                self.blocks["head"].array,
                self._stack,
                schedule.codes,
                schedule.numbers,
                schedule.x,
                Now.DONE,
                Now.N,
            ),
            (Now.DONE, Now.STEPS),
        )

    def meet(self, labels: LabelBatch, schedule: Schedule) -> Call:
        """Fill the schedule with what labels DONE to N bring; sets DONE and STEPS."""
        return Call(
            meet,
            (
                labels.codes,
                labels.values,
                self.parameters,
                self.blocks["head"].array,
                self._stack,
                self.blocks["elsewhere"].array[0],
                schedule.codes,
                schedule.numbers,
                schedule.x,
                Now.DONE,
                Now.N,
            ),
            (Now.DONE, Now.STEPS),
        )

    def met(self, lane: int) -> dict[str, float | None]:
        """What became of the labels from elsewhere of a lane so far, and the quantiles of how long
        they took, in seconds; empty where the label is a channel."""
        if lane not in self.elsewhere:
            return {}
        block, own = self.blocks["elsewhere"], self.elsewhere.index(lane)
        lags = block.view("lag")[0, own]
        tallies: dict[str, float | None] = {
            name: float(block.view(name)[0, own]) for name in TALLIES
        }
        return tallies | {"lag_p50": lag_quantile(lags, 0.5), "lag_p95": lag_quantile(lags, 0.95)}

    def returned(self, row: int, readings: int) -> None:
        """The device in this new row had so many readings before it was evicted, of which none
        waits for a label any more."""
        head = self.blocks["head"]
        head.view("pushed")[row] = readings
        if self.elsewhere:
            head.view("aside")[row, :, EXPIRED] = readings

    def expire(self, clock: int, start: int, rows: int, schedule: Schedule) -> int:
        """Fill the schedule with what is overdue at `clock`; the first device row not yet done."""
        done, schedule.n = expire(
            clock,
            self.skew,
            self.parameters,
            self.blocks["head"].array,
            self._stack,
            schedule.codes,
            schedule.numbers,
            schedule.x,
            start,
            rows,
        )
        return done

    def owes(self, rows: Ints) -> Bools:
        """bool[rows]: whether `expire` may still have something to do for the device, in less than
        a century."""
        cursors = self.blocks["head"].view("cursor")[np.ix_(rows, self._timed)]
        owing: Bools = (cursors != 0.0).any(axis=1)
        return owing

    def room(self) -> int:
        """Steps that a schedule must at least hold: what one reading may need at once."""
        return 3 * len(self.lanes)

    def steps(self, part: int) -> int:
        """Steps of a schedule that suits batches of so many readings."""
        return 2 * max(part, self.room())


def _timed(lane: Ints, elsewhere: bool) -> bool:
    """Whether predictions of a lane with these parameters expire by the clock."""
    told = elsewhere and lane[P_MARK] != 0
    by_clock = told or (lane[P_READINGS] == 0 and lane[P_TOLERANCE] != NO_LABEL)
    return bool(by_clock and lane[P_TOLERANCE] < LONGEST)


def _parameters(lanes: Sequence[Lane], features: int) -> Ints:
    """int64[lanes, PARAMETERS]: what the kernels know of each lane."""
    count = len(lanes)
    received = BASES + count + features
    rows: list[list[int]] = []
    aside = 0
    for lane in lanes:
        row = [max(lane.target, 0), lane.delay, lane.readings, lane.tolerance, int(lane.change)]
        row += [int(lane.scope == "fleet")]
        if lane.by_itself and lane.elsewhere is None:
            row[P_TOLERANCE] = NO_LABEL
        if lane.elsewhere is None:
            row += [0, 0, 0, -1, 0, 0]
        else:
            terms = lane.elsewhere
            row[P_TOLERANCE] = terms.expire_after
            within = -1 if terms.within is None else terms.within
            place = PER_LANE + 3 * count + aside * ASIDE
            row += [received + 1 + aside, received, place, within, terms.teach_until, aside]
            aside += 1
        row.append(int(lane.series))
        rows.append(row)
    return np.array(rows, np.int64).reshape(count, PARAMETERS)
