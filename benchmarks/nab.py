"""The score of the Numenta Anomaly Benchmark, standard profile.

Lavin and Ahmad, Evaluating real-time anomaly detection algorithms (ICMLA 2015), with the limits of
the published code (github.com/numenta/NAB): the first detection within a window counts, the earlier
the more; every detection outside costs, the less the closer behind a window it is; a window without
one costs as much as it could have given. The first 15 % of a file, at most 750 rows, do not count.
One threshold serves all files. Nothing detected gives 0, every window at its first row 100.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["nab_score"]

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]

FALSE_ALARM = 0.11  # the standard profile's cost; a window found or missed counts 1
PROBATION, LONGEST = 0.15, 750


def nab_score(files: Sequence[tuple[Floats, Bools]]) -> tuple[float, float]:
    """The best score and its threshold: a row is detected where its value is at least that.

    Every file is its rows' values (`float64[n]`, higher is stranger, none NaN) and whether they
    lie in a window (`bool[n]`). ValueError where no file has a window or a value is NaN.
    """
    values, worth, window, windows = _joined(files)
    if windows == 0:
        raise ValueError("no row lies in a window: there is nothing to detect")
    if np.isnan(values).any():
        raise ValueError("a value is NaN: give such rows the lowest value")
    order = np.argsort(-values, kind="stable")
    totals = np.cumsum(_gains(worth[order], window[order], windows))
    ordered = values[order]
    ends = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))
    if not ends.size or totals[ends].max() <= 0:
        return 0.0, float("inf")
    best = ends[np.argmax(totals[ends])]
    return float(100 * totals[best] / (2 * windows)), float(ordered[best])


def _joined(files: Sequence[tuple[Floats, Bools]]) -> tuple[Floats, Floats, Ints, int]:
    """Values, worth and window (-1: none) of the rows that count, and the number of windows."""
    values, worths, places, windows = [], [], [], 0
    for value, inside in files:
        worth, place, found = _worth(np.asarray(inside, bool))
        start = min(int(PROBATION * len(value)), LONGEST)
        values.append(value[start:])
        worths.append(worth[start:])
        places.append(np.where(place < 0, -1, place + windows)[start:])
        windows += found
    return np.concatenate(values), np.concatenate(worths), np.concatenate(places), windows


def _worth(inside: Bools) -> tuple[Floats, Ints, int]:
    """What a detection at each row is worth, the row's window, and the number of windows."""
    edges = np.flatnonzero(np.diff(np.r_[False, inside, False].astype(np.int8)))
    worth = np.full(len(inside), -FALSE_ALARM)
    window = np.full(len(inside), -1)
    starts, ends = edges[::2], edges[1::2]
    for number, (start, end) in enumerate(zip(starts, ends, strict=True)):
        width = end - start
        worth[start:end] = _sigmoid(-(end - np.arange(start, end)) / width) / _sigmoid(
            np.array(-1.0)
        )
        window[start:end] = number
        after = starts[number + 1] if number + 1 < len(starts) else len(inside)
        behind = (np.arange(end, after) - (end - 1)) / max(width - 1, 1)
        worth[end:after] = FALSE_ALARM * np.where(behind >= 3, -1.0, _sigmoid(behind))
    return worth, window, len(starts)


def _sigmoid(place: Floats) -> Floats:
    return np.asarray(2 / (1 + np.exp(5 * place)) - 1, np.float64)


def _gains(worth: Floats, window: Ints, windows: int) -> Floats:
    """What each detection adds, in this order: to a window only what is better than before."""
    gains = np.where(window < 0, worth, 0.0)
    best = np.full(windows, -1.0)
    for row in np.flatnonzero(window >= 0):
        place = window[row]
        if worth[row] > best[place]:
            gains[row] = worth[row] - best[place]
            best[place] = worth[row]
    return gains
