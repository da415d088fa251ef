"""A device against its group at that moment: the neighbour that disagrees is often the fault."""

from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.features._members import MEMBER, ROOT, expire, hear, leave, without
from stream_processor.features._one_row import checked, columns_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call, Now
from streamgauge.devices import Devices
from streamgauge.durations import microseconds
from streamgauge.kernels import kernel
from streamgauge.schema import Schema
from streamgauge.state import Block, Field, Keys

__all__ = ["EXAMPLE", "STATS", "build"]

EXAMPLE = {"of": ["value"]}

STATS = ("mean", "median", "count", "from_mean", "from_median")
_MEAN, _MEDIAN, _COUNT, _FROM_MEAN, _FROM_MEDIAN = range(5)


def build(
    schema: Schema,
    capacity: int,
    column: int,
    devices: Devices,
    *,
    of: Sequence[str],
    by: str = "",
    stats: Sequence[str] = ("from_mean",),
    at_most: str = "10m",
    members_max: int = 256,
) -> FeatureOperator:
    """`<channel>_<stat>_of_<by>` for each channel in `of`: the other devices of the group.

    The group are the devices with the same tag `by` (see `devices.tags`), or the whole fleet
    (`..._of_fleet`) where `by` is empty. `stats` are any of mean, median, count, and from_mean and
    from_median: the device's own value less that. Each other device counts with its last known
    value, if that was received at most `at_most` before this reading. The median is that of at most
    `members_max` of them. NaN where there is no other, or the device has no such tag.
    """
    columns = columns_of(schema, of, "group")
    if by and by not in devices.tags.names:
        raise ValueError(
            f"features.group by is {by!r}; name one of the tags in devices.tags: "
            f"{', '.join(devices.tags.names) or 'there are none'}"
        )
    if not 1 <= members_max <= 4_096:
        raise ValueError(f"features.group members_max is {members_max}; give 1 to 4096")
    chosen = checked(stats, STATS, "features.group stats")
    ranked = members_max if {_MEDIAN, _FROM_MEDIAN} & set(chosen.tolist()) else 0
    names = {f"{c}_{stat}_of_{by or 'fleet'}": frozenset({c}) for c in of for stat in stats}
    return _Group(
        capacity, column, names, columns, chosen, float(microseconds(at_most)), ranked, by, devices
    )


@kernel
def _write(own: Floats, stats: Ints, value: float, found: tuple[float, float, float]) -> None:
    mean, median, n = found
    for k in range(len(stats)):
        stat = stats[k]
        if stat == _COUNT:
            own[k] = n
            continue
        level = mean if stat in (_MEAN, _FROM_MEAN) else median
        result = value - level if stat >= _FROM_MEAN else level
        own[k] = result if n > 0.0 and np.isfinite(result) else np.nan


@kernel
def _compare(
    n: int,
    row: Rows,
    received: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    stats: Ints,
    codes: Ints,
    members: Floats,
    groups: Floats,
    at_most: float,
) -> None:
    width = groups.shape[1] // len(of)
    for i in range(n):
        d = int(row[i])
        group = codes[d, 0]
        for c in range(len(of)):
            own = x[i, column + c * len(stats) : column + (c + 1) * len(stats)]
            own[:] = np.nan
            if verdict[i] != 0 or group < 0:
                continue
            listed = members[:, c * MEMBER : (c + 1) * MEMBER]
            roots = groups[:, c * width : (c + 1) * width]
            now, value = float(received[i]), values[i, of[c]]
            expire(group, now, at_most, listed, roots)
            _write(own, stats, value, without(d, group, listed, roots))
            if np.isfinite(value):
                leave(d, listed, roots)
                hear(d, group, value, now, listed, roots)


@kernel
def _forget(rows: Ints, channels: int, members: Floats, groups: Floats) -> None:
    width = groups.shape[1] // channels
    for d in rows:
        for c in range(channels):
            leave(
                d,
                members[:, c * MEMBER : (c + 1) * MEMBER],
                groups[:, c * width : (c + 1) * width],
            )


class _Group:
    def __init__(
        self,
        capacity: int,
        column: int,
        names: Mapping[str, frozenset[str]],
        of: Ints,
        stats: Ints,
        at_most: float,
        ranked: int,
        by: str,
        devices: Devices,
    ) -> None:
        self.names, self.channels = tuple(names), tuple(names.values())
        tags = devices.tags
        values = tags.values[by] if by else ("",)
        self.made_for = list(values)
        """A group's state is known by the place of its value among these."""
        self.known_for = int(at_most)
        members = Block([Field("members", (len(of), MEMBER))], capacity)
        fields = [Field("groups", (len(of), ROOT + ranked))]
        groups = Block(fields, max(1, len(values)), keys=Keys.GROUP if by else Keys.FLEET)
        self.blocks: Mapping[str, Block] = {"members": members, "groups": groups}
        codes = tags.codes(capacity, by) if by else np.zeros((capacity, 1), np.int64)
        self._bound = (column, of, stats, codes, members.array, groups.array, at_most)

    def call(self, batch: Batch, features: Features) -> Call:
        """See `stream_processor.operator.Operator`."""
        columns = (batch.row, batch.received, batch.verdict, batch.values, features.x)
        return Call(_compare, (Now.N, *columns, *self._bound))

    def evict(self, rows: Ints) -> None:
        """Let these devices leave their groups, before their rows are forgotten."""
        of, members, groups = self._bound[1], self._bound[4], self._bound[5]
        _forget(np.ascontiguousarray(rows, np.int64), len(of), members, groups)
