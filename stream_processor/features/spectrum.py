"""Energy in frequency bands of a device's last values: for vibration and other regular sampling."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from stream_processor.features._one_row import OneRow, columns_of
from stream_processor.operator import FeatureOperator
from streamgauge.arrays import Bytes, Floats, Ints, Rows
from streamgauge.kernels import inlined, kernel
from streamgauge.schema import Schema
from streamgauge.state import Field

__all__ = ["EXAMPLE", "build"]

EXAMPLE = {"of": ["value"], "bands": {"low": [0, 4]}, "rate": 64.0}

_COUNT, _RING = 0, 1
# Rules: window, lowest bin used, bins used, bands; first and last bin of each band; then cosine and
# sine of each part of a turn, as many as the window is long.
_WINDOW, _LOWEST, _BINS, _BANDS, _EDGES = range(5)


def build(
    schema: Schema,
    capacity: int,
    column: int,
    *,
    of: Sequence[str],
    bands: Mapping[str, Sequence[float]],
    rate: float,
    window: int = 64,
) -> FeatureOperator:
    """`<channel>_<band>`: mean square of the part of the last `window` values within a band.

    - `bands`: by name, the lowest and highest frequency, both included, for example
      `{ imbalance = [8, 12] }`, in the unit of `rate`
    - `rate`: values per second (or per whatever the bands are in), taken for regular
    - `window`: present values of the device, 4 to 1024; frequencies are told apart by rate / window

    All bands together, with frequency 0, have the mean square of the window. A sliding discrete
    Fourier transform, computed afresh once per window so that no rounding error stays. NaN until
    the window is full.

    Jacobsen and Lyons (2003), "The sliding DFT".
    """
    columns = columns_of(schema, of, "spectrum")
    if not 4 <= window <= 1_024 or not 0.0 < rate < math.inf or not bands:
        raise ValueError(
            f"features.spectrum window is {window}, rate {rate}, bands {list(bands)!r}; give 4 to "
            "1024 values, a rate above 0 and at least one band"
        )
    edges = [_bins(name, band, rate, window) for name, band in bands.items()]
    lowest = min(low for low, _ in edges)
    bins = max(high for _, high in edges) - lowest + 1
    names = {f"{channel}_{band}": frozenset({channel}) for channel in of for band in bands}
    fields = [Field("spectra", (len(of), _RING + window + 2 * bins))]
    turns = [2.0 * math.pi * k / window for k in range(window)]
    rules = [window, lowest, bins, len(edges), *(float(k) for edge in edges for k in edge)]
    rules += [*map(math.cos, turns), *map(math.sin, turns)]
    return OneRow(_transform, capacity, fields, column, names, columns, rules)


def _bins(name: str, band: Sequence[float], rate: float, window: int) -> tuple[int, int]:
    """First and last bin of a band; ValueError where it holds none."""
    if len(band) == 2 and 0.0 <= band[0] <= band[1] <= rate / 2.0:
        low, high = math.ceil(band[0] * window / rate), math.floor(band[1] * window / rate)
        if low <= high:
            return low, high
    raise ValueError(
        f"features.spectrum band {name} is {list(band)!r}; give [lowest, highest] from 0 to "
        f"{rate / 2.0:g} with a multiple of {rate / window:g} in it, or widen the window"
    )


@kernel
def _afresh(part: Floats, window: int, lowest: int, bins: int, turns: Floats) -> None:
    """The transform of a full window that begins at place 0."""
    for b in range(bins):
        real = imaginary = 0.0
        for k in range(window):
            turn = (lowest + b) * k % window
            real += part[_RING + k] * turns[turn]
            imaginary -= part[_RING + k] * turns[window + turn]
        part[_RING + window + 2 * b] = real
        part[_RING + window + 2 * b + 1] = imaginary


@kernel
def _slide(part: Floats, window: int, lowest: int, bins: int, step: float, turns: Floats) -> None:
    """Move the transform on by one value that is greater by `step` than the one that leaves."""
    for b in range(bins):
        cosine, sine = turns[(lowest + b) % window], turns[window + (lowest + b) % window]
        at = _RING + window + 2 * b
        real, imaginary = part[at] + step, part[at + 1]
        part[at] = real * cosine - imaginary * sine
        part[at + 1] = real * sine + imaginary * cosine


@kernel
def _enter(part: Floats, window: int, lowest: int, bins: int, value: float, turns: Floats) -> None:
    count = int(part[_COUNT])
    place = _RING + count % window
    step = value - part[place]
    part[place] = value
    part[_COUNT] = count + 1.0
    if (count + 1) % window == 0:
        _afresh(part, window, lowest, bins, turns)
    elif count >= window:
        _slide(part, window, lowest, bins, step, turns)


@kernel
def _energy(part: Floats, window: int, lowest: int, first: int, last: int) -> float:
    total = 0.0
    for k in range(first, last + 1):
        at = _RING + window + 2 * (k - lowest)
        power = part[at] * part[at] + part[at + 1] * part[at + 1]
        # Every frequency but 0 and half the rate stands for its mirror image as well.
        total += power if k == 0 or 2 * k == window else 2.0 * power
    return total / (window * window)


@inlined
def _transform(
    n: int,
    row: Rows,
    time: Ints,
    verdict: Bytes,
    values: Floats,
    x: Floats,
    column: int,
    of: Ints,
    state: Floats,
    rules: Floats,
) -> None:
    window, lowest, bins = int(rules[_WINDOW]), int(rules[_LOWEST]), int(rules[_BINS])
    bands = int(rules[_BANDS])
    turns = rules[_EDGES + 2 * bands :]
    width = _RING + window + 2 * bins
    for i in range(n):
        for c in range(len(of)):
            part = state[row[i], c * width : (c + 1) * width]
            if verdict[i] == 0 and np.isfinite(values[i, of[c]]):
                _enter(part, window, lowest, bins, values[i, of[c]], turns)
            for b in range(bands):
                first, last = int(rules[_EDGES + 2 * b]), int(rules[_EDGES + 2 * b + 1])
                found = np.nan
                if verdict[i] == 0 and part[_COUNT] >= window:
                    found = _energy(part, window, lowest, first, last)
                x[i, column + c * bands + b] = found if np.isfinite(found) else np.nan
