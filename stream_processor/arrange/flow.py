"""Kernels that let readings wait and set them free, reading by reading and tick by tick."""

from stream_processor.admit import clock_verdict
from stream_processor.arrange.assemble import WAITING, close_row, overdue, pass_on, put
from stream_processor.arrange.interpolate import enter, let_go
from stream_processor.clean._range import FINE, examine
from stream_processor.duplicates import key_of, recognise
from streamgauge.arrays import Bytes, Floats, Ints, Rows, Words
from streamgauge.kernels import kernel
from streamgauge.words import Verdict

__all__ = ["HEAD", "HELD", "arrive", "tick"]

HEAD = ("newest", "received", "released", "count", "size")
_NEWEST, _RECEIVED, _RELEASED, _COUNT, _SIZE = range(len(HEAD))
_TIME, _CAME, _KEY, HELD = 0, 1, 2, 3
"""Columns of a reading that is held back."""
_LATENESS, _ROOM, _HOW, _SPAN, _POLICY, _MAX_AHEAD, _QUEUE, _FREED, _SPANS = range(9)
"""Places in the plan: what was configured."""
_ADMITTED = int(Verdict.ADMITTED)
_DUPLICATE = int(Verdict.DUPLICATE)
_LATE = int(Verdict.LATE)


@kernel
def _known_already(d: int, key: int, device: Floats, recent: Floats, held: Floats) -> bool:
    for s in range(int(device[_SIZE])):
        if held[s, d, _KEY] == key:
            return True
    return recognise(key, int(device[_COUNT]), d, recent)


@kernel
def _queue(
    start: int,
    m: int,
    d: int,
    plan: Ints,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> int:
    """Let the rows written since `start` wait for what they lack, where something is interpolated;
    the next free place."""
    if plan[_QUEUE] == 0:
        return m
    for k in range(start, m):
        enter(d, codes[k, 1], codes[k, 2], numbers[k], plan[_SPANS:], gaps, queue)
    return let_go(start, d, 0, plan[_QUEUE], plan[_SPANS:], gaps, queue, codes, numbers)


@kernel
def _release(
    m: int,
    d: int,
    plan: Ints,
    head: Floats,
    recent: Floats,
    held: Floats,
    known: Floats,
    part: Floats,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> int:
    """Let go the oldest reading that is held back."""
    device, oldest = head[d], held[0, d]
    time, received = int(oldest[_TIME]), int(oldest[_CAME])
    item, start = oldest[HELD:], m
    m = pass_on(
        m, d, time, received, plan[_HOW], plan[_SPAN], item, known[d], part[d], codes, numbers
    )
    if recent.shape[1] > 0:
        recent[d, int(device[_COUNT]) % recent.shape[1]] = oldest[_KEY]
    device[_RELEASED] = time
    device[_COUNT] += 1.0
    device[_SIZE] -= 1.0
    for s in range(int(device[_SIZE])):
        held[s, d] = held[s + 1, d]
    return _queue(start, m, d, plan, gaps, queue, codes, numbers)


@kernel
def _hold(
    d: int, time: int, received: int, key: int, values: Floats, flags: Words,
    device: Floats, held: Floats,
) -> None:  # fmt: skip
    """Keep a reading behind those of its time and before."""
    if time > device[_NEWEST] or device[_COUNT] + device[_SIZE] == 0.0:
        device[_NEWEST], device[_RECEIVED] = time, received
    s = int(device[_SIZE])
    while s > 0 and held[s - 1, d, _TIME] > time:
        held[s, d] = held[s - 1, d]
        s -= 1
    place = held[s, d]
    place[_TIME], place[_CAME], place[_KEY] = time, received, key
    for c in range(len(values)):
        place[HELD + c], place[HELD + len(values) + c] = values[c], flags[c]
    device[_SIZE] += 1.0


@kernel
def _copy(values: Floats, flags: Words, item: Floats) -> None:
    for c in range(len(values)):
        item[c], item[len(values) + c] = values[c], flags[c]


@kernel
def arrive(
    start: int,
    n: int,
    row: Rows,
    time: Ints,
    received: Ints,
    sequence: Ints,
    values: Floats,
    flags: Words,
    verdict: Bytes,
    rules: Floats,
    item: Floats,
    plan: Ints,
    head: Floats,
    recent: Floats,
    held: Floats,
    known: Floats,
    part: Floats,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> tuple[int, int]:
    """Work off readings `start` to `n`: (next reading, rows written). Stops while all that the next
    reading may set free still has room."""
    m = 0
    for i in range(start, n):
        if m + plan[_FREED] > len(codes):
            return i, m
        d, word = row[i], int(verdict[i])
        device, key, accepted = head[d], 0, False
        _copy(values[i], flags[i], item)
        # Admission has the last word on clocks and values; what it would refuse is not kept here.
        if word == _ADMITTED and clock_verdict(time[i], received[i], plan[_MAX_AHEAD]) == _ADMITTED:
            key = key_of(plan[_POLICY], time[i], received[i], sequence[i], values[i])
            if _known_already(d, key, device, recent, held):
                word = _DUPLICATE
            elif device[_COUNT] > 0.0 and time[i] < device[_RELEASED]:
                word = _LATE
            else:
                accepted = examine(i, values, flags, rules) == FINE
        if not accepted:
            m = put(m, d, time[i], received[i], sequence[i], word, item, codes, numbers)
            continue
        _hold(d, time[i], received[i], key, values[i], flags[i], device, held)
        passed = device[_NEWEST] - plan[_LATENESS]
        while device[_SIZE] > plan[_ROOM] or (device[_SIZE] > 0.0 and held[0, d, _TIME] <= passed):
            m = _release(m, d, plan, head, recent, held, known, part, gaps, queue, codes, numbers)
    return n, m


@kernel
def tick(
    start: int,
    rows: int,
    clock: int,
    plan: Ints,
    head: Floats,
    recent: Floats,
    held: Floats,
    known: Floats,
    part: Floats,
    gaps: Floats,
    queue: Floats,
    codes: Ints,
    numbers: Floats,
) -> tuple[int, int]:
    """Let go what silent devices have waited for long enough: (next device row, rows written)."""
    m = 0
    for d in range(start, rows):
        if m + plan[_FREED] > len(codes):
            return d, m
        device = head[d]
        if device[_COUNT] + device[_SIZE] > 0.0:
            silent = max(0, clock - int(device[_RECEIVED]))
            passed = int(device[_NEWEST]) + silent - plan[_LATENESS]
            while device[_SIZE] > 0.0 and held[0, d, _TIME] <= passed:
                m = _release(
                    m, d, plan, head, recent, held, known, part, gaps, queue, codes, numbers
                )
            if plan[_HOW] == WAITING and overdue(passed, plan[_SPAN], part[d]):
                start = m
                m = close_row(m, d, part[d], codes, numbers)
                m = _queue(start, m, d, plan, gaps, queue, codes, numbers)
            if plan[_QUEUE] != 0:
                m = let_go(m, d, passed, plan[_QUEUE], plan[_SPANS:], gaps, queue, codes, numbers)
    return rows, m
