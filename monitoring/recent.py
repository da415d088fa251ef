"""The last labels, in rings of the state: so many of each device, and more over all devices."""

from collections.abc import Sequence

import numpy as np

from streamgauge.arrays import Floats
from streamgauge.state import Block

__all__ = ["CHUNK", "FLEET_WINDOW", "newest"]

CHUNK = 10
"""Labels per layer of a device's ring: the unit in which its memory is paid for."""
FLEET_WINDOW = 1_000
"""Labels over all devices."""


def newest(
    block: Block, name: str, rows: Sequence[int], lane: int, counts: Floats, window: int
) -> Floats:
    """float64[n, width]: what is known of the last `window` labels of a lane, of these devices one
    after the other, in no particular order. `counts float64[len(rows)]` is how many labels each
    device has had."""
    layers = range(window // CHUNK)
    all_of = np.hstack([block.view(name, k)[list(rows), lane] for k in layers])
    found: Floats = all_of[np.arange(window) < counts[:, None]]
    return found
