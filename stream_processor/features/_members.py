"""The last known values of the devices of each group, of one channel: mean, median and count.

Members stand in a list by when they were last heard, so that those heard too long ago leave from
its front: constant time per reading. The sum is taken anew from the list once as many values have
come as there are members, and where what left was far larger than what stays: rounding errors do
not pile up. The first `limit` members also stand in order of size, for the median.

A device's row is `[group + 1, value, heard, before, behind, ranked]`, its neighbours in the list as
row + 1; a group's is `[clock, first, last, members, sum, changes, ranked members, sorted[limit]]`.
All of it is zero where there is nothing.
"""

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel
from streamgauge.sorted_window import place

__all__ = ["MEMBER", "ROOT", "expire", "hear", "leave", "without"]

GROUP, VALUE, HEARD, BEFORE, BEHIND, RANKED = range(6)
MEMBER = 6
"""Values in a device's row."""
CLOCK, FIRST, LAST, COUNT, SUM, CHANGES, SIZE = range(7)
ROOT = 7
"""Values in a group's row before the sorted ones."""
_LARGER = 1e6


@kernel
def _enter(member: Floats, root: Floats) -> None:
    """Count a member's value in."""
    root[COUNT] += 1.0
    root[SUM] += member[VALUE]
    n = int(root[SIZE])
    if n < len(root) - ROOT:
        ordered = root[ROOT:]
        at = place(ordered, n, member[VALUE])
        for k in range(n, at, -1):
            ordered[k] = ordered[k - 1]
        ordered[at] = member[VALUE]
        root[SIZE] = n + 1
        member[RANKED] = 1.0


@kernel
def _drop(member: Floats, root: Floats) -> None:
    """Count a member's value out."""
    root[COUNT] -= 1.0
    root[SUM] = root[SUM] - member[VALUE] if root[COUNT] > 0.0 else 0.0
    if member[RANKED] != 0.0:
        ordered, n = root[ROOT:], int(root[SIZE]) - 1
        for k in range(place(ordered, n + 1, member[VALUE]), n):
            ordered[k] = ordered[k + 1]
        ordered[n] = 0.0
        root[SIZE] = n
        member[RANKED] = 0.0


@kernel
def _sum(members: Floats, root: Floats, left_out: int) -> float:
    """The members' sum by their list, without device row `left_out`."""
    total = 0.0
    at = int(root[FIRST])
    while at > 0:
        if at - 1 != left_out:
            total += members[at - 1, VALUE]
        at = int(members[at - 1, BEHIND])
    return total


@kernel
def leave(d: int, members: Floats, groups: Floats) -> None:
    """Let device row d leave the group that it is in, if any."""
    member = members[d]
    if member[GROUP] == 0.0:
        return
    root = groups[int(member[GROUP]) - 1]
    before, behind = int(member[BEFORE]), int(member[BEHIND])
    if before > 0:
        members[before - 1, BEHIND] = behind
    else:
        root[FIRST] = behind
    if behind > 0:
        members[behind - 1, BEFORE] = before
    else:
        root[LAST] = before
    value = member[VALUE]
    _drop(member, root)
    member[:] = 0.0
    if root[COUNT] == 0.0:
        root[:] = 0.0
    elif abs(value) > _LARGER * abs(root[SUM]):
        root[SUM] = _sum(members, root, -1)


@kernel
def expire(group: int, received: float, at_most: float, members: Floats, groups: Floats) -> None:
    """Move the group's clock on, and let those leave that it has not heard for longer."""
    root = groups[group]
    clock = max(received, root[CLOCK])
    while root[FIRST] > 0.0 and clock - members[int(root[FIRST]) - 1, HEARD] > at_most:
        leave(int(root[FIRST]) - 1, members, groups)
    if root[COUNT] > 0.0:
        root[CLOCK] = clock


@kernel
def hear(
    d: int, group: int, value: float, received: float, members: Floats, groups: Floats
) -> None:
    """Let device row d, that is in no group, be the last one of this group to be heard."""
    member, root = members[d], groups[group]
    root[CLOCK] = max(received, root[CLOCK])
    last = int(root[LAST])
    member[GROUP], member[VALUE], member[HEARD] = group + 1, value, root[CLOCK]
    member[BEFORE], member[BEHIND] = last, 0.0
    if last > 0:
        members[last - 1, BEHIND] = d + 1
    else:
        root[FIRST] = d + 1
    root[LAST] = d + 1
    _enter(member, root)
    root[CHANGES] += 1.0
    if root[CHANGES] >= root[COUNT]:
        root[SUM], root[CHANGES] = _sum(members, root, -1), 0.0


@kernel
def without(d: int, group: int, members: Floats, groups: Floats) -> tuple[float, float, float]:
    """Mean, median and count of the group's members but device row d; 0 of no members."""
    root, own = groups[group], members[d]
    inside = own[GROUP] == group + 1.0
    n = root[COUNT] - (1.0 if inside else 0.0)
    if n == 0.0:
        return 0.0, 0.0, 0.0
    total = root[SUM]
    if inside:
        total -= own[VALUE]
        if abs(own[VALUE]) > _LARGER * abs(total):
            total = _sum(members, root, d)
    ordered, size = root[ROOT:], int(root[SIZE])
    left_out = size
    if inside and own[RANKED] != 0.0:
        left_out = place(ordered, size, own[VALUE])
        size -= 1
    if size == 0:
        return total / n, 0.0, n
    low, high = (size - 1) // 2, size // 2
    low += int(low >= left_out)
    high += int(high >= left_out)
    return total / n, 0.5 * (ordered[low] + ordered[high]), n
