"""The values of a feature in order, with the labels that came with them: binary search trees.

River 0.26, `tree.splitter.EBSTSplitter` and `TEBSTSplitter`: Ikonomovska, Gama and Džeroski (2011),
"Learning model trees from evolving data streams". A place is a value, what is known of the labels
of those that went to its left or were equal to it, and its two children. A device's places lie in
layers of 63; one that was given back is handed out again.
"""

import math

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel
from streamgauge.state import Field

__all__ = [
    "CHUNKS",
    "FREE",
    "LAYERS_MOST",
    "LEFT",
    "MOMENTS",
    "RIGHT",
    "TAKEN",
    "VALUE",
    "cut_down",
    "fields_of",
    "give_back",
    "insert",
    "learn_label",
    "place_of",
    "rounded",
]

# A place fills a line of the cache. 64 in a layer would make devices lie a page apart, and compete
# for the same lines.
IN_LAYER, SIZE = 63, 8
LAYERS_MOST = 255
"""Layers of one device: with 63 places each, of all its leaves together. Beyond them values are not
remembered any more."""
# Columns of a model's row: layers in use, places ever taken, and from 1 the first that is free.
CHUNKS, TAKEN, FREE = range(1, 4)
# Columns of a place: its value, number, mean and sum of squares of the labels, its children from 1.
# Those that are free are a list by LEFT.
VALUE, MOMENTS, LEFT, RIGHT = 0, 1, 4, 5
# From here on doubles lie further apart than what is rounded to.
WIDE = 2.0**53
# Veltkamp's splitter of a double into two halves.
HALVES = 2.0**27 + 1.0


def fields_of() -> list[Field]:
    """A layer of places."""
    return [Field("places", (IN_LAYER, SIZE))]


@kernel
def place_of(places: Floats, row: int, k: int) -> Floats:
    """float64[8]: the k-th place of a device, from 1."""
    layer, first = (k - 1) // IN_LAYER, (k - 1) % IN_LAYER * SIZE
    return places[layer, row, first : first + SIZE]


@kernel
def rounded(v: float, power: float) -> float:
    """Python's `round` to as many digits as `power` = 10**digits says: of the exact decimal value,
    half to even. A power of 0 rounds nothing."""
    if power == 0.0 or not math.isfinite(v):
        return v
    product = v * power
    if not abs(product) < WIDE:
        return v
    # What the product lost to rounding (Dekker), which decides where it seems to be half-way.
    big = HALVES * v
    high = big - (big - v)
    low = v - high
    big = HALVES * power
    upper = big - (big - power)
    lower = power - upper
    lost = ((high * upper - product) + high * lower + low * upper) + low * lower
    below = math.floor(product)
    apart = product - below
    up = apart > 0.5
    if apart == 0.5:
        up = lost > 0.0 or (lost == 0.0 and below % 2.0 != 0.0)
    return math.copysign((below + 1.0 if up else below) / power, v)


@kernel
def learn_label(moments: Floats, y: float) -> None:
    """Welford's update of number, mean and sum of squares."""
    moments[0] += 1.0
    old = moments[1]
    moments[1] += (1.0 / moments[0]) * (y - old)
    moments[2] += (y - old) * (y - moments[1])


@kernel
def _new(row: Floats, places: Floats, device: int, v: float, y: float) -> int:
    """A place of its own for a value; 0 where there is none left."""
    k = int(row[FREE])
    if k == 0:
        if row[TAKEN] >= len(places) * IN_LAYER:
            return 0
        row[TAKEN] += 1.0
        k = int(row[TAKEN])
        row[CHUNKS] = (k - 1) // IN_LAYER + 1.0
        place = place_of(places, device, k)
    else:
        place = place_of(places, device, k)
        row[FREE] = place[LEFT]
        place[:] = 0.0
    place[VALUE] = v
    learn_label(place[MOMENTS : MOMENTS + 3], y)
    return k


@kernel
def give_back(row: Floats, places: Floats, device: int, k: int) -> None:
    """A place, from 1, is free."""
    place_of(places, device, k)[LEFT] = row[FREE]
    row[FREE] = k


@kernel
def insert(row: Floats, places: Floats, device: int, root: int, v: float, y: float) -> int:
    """A value and its label go into the tree; its root, not above 0 where no place was left."""
    if root == 0:
        return _new(row, places, device, v, y)
    k = root
    while True:
        place = place_of(places, device, k)
        if v == place[VALUE]:
            learn_label(place[MOMENTS : MOMENTS + 3], y)
            return root
        side = RIGHT
        if v < place[VALUE]:
            learn_label(place[MOMENTS : MOMENTS + 3], y)
            side = LEFT
        if place[side] == 0.0:
            place[side] = _new(row, places, device, v, y)
            return root if place[side] != 0.0 else -root
        k = int(place[side])


@kernel
def cut_down(row: Floats, places: Floats, device: int, root: int) -> None:
    """Give back a whole tree, without a stack: what hangs to the right is hung under the left."""
    k = root
    while k != 0:
        place = place_of(places, device, k)
        if place[LEFT] == 0.0:
            following = int(place[RIGHT])
        else:
            following = int(place[LEFT])
            lowest = following
            while place_of(places, device, lowest)[RIGHT] != 0.0:
                lowest = int(place_of(places, device, lowest)[RIGHT])
            place_of(places, device, lowest)[RIGHT] = place[RIGHT]
        give_back(row, places, device, k)
        k = following
