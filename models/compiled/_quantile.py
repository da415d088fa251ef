"""River's running quantile: five markers that move with the values, a row of 17 numbers.

Jain and Chlamtac (1985), "The P2 algorithm for dynamic calculation of quantiles and histograms
without storing observations".
"""

import math

from streamgauge.arrays import Floats
from streamgauge.kernels import lean

__all__ = ["WIDTH", "estimate", "learn_value"]

WIDTH = 17
# How many values came, up to 6; from 6 on the heights are sorted. Then five heights, their
# positions, and the positions that they should have.
HEIGHT, POSITION, DESIRED = 1, 6, 11


@lean
def _insert(row: Floats, n: int) -> None:
    """Sort the first n heights."""
    for i in range(1, n):
        value = row[HEIGHT + i]
        k = i - 1
        while k >= 0 and row[HEIGHT + k] > value:
            row[HEIGHT + k + 1] = row[HEIGHT + k]
            k -= 1
        row[HEIGHT + k + 1] = value


@lean
def _begin(row: Floats, q: float) -> None:
    """Sort five values and set the markers at their places."""
    _insert(row, 5)
    for i in range(5):
        row[POSITION + i] = 1.0 + i
    row[DESIRED] = 1.0
    row[DESIRED + 1] = 1.0 + 2.0 * q
    row[DESIRED + 2] = 1.0 + 4.0 * q
    row[DESIRED + 3] = 3.0 + 2.0 * q
    row[DESIRED + 4] = 5.0


@lean
def _cell(row: Floats, x: float) -> int:
    """The first marker above the value; the outer ones move with it."""
    if x < row[HEIGHT]:
        row[HEIGHT] = x
        return 1
    for i in range(1, 5):
        if row[HEIGHT + i - 1] <= x < row[HEIGHT + i]:
            return i
    row[HEIGHT + 4] = max(row[HEIGHT + 4], x)
    return 4


@lean
def _adjust(row: Floats) -> None:
    """Move the inner markers that are too far from their desired positions."""
    for i in range(1, 4):
        n, q = row[POSITION + i], row[HEIGHT + i]
        d = row[DESIRED + i] - n
        above, below = row[POSITION + i + 1], row[POSITION + i - 1]
        if (d >= 1.0 and above - n > 1.0) or (d <= -1.0 and below - n < -1.0):
            d = math.copysign(1.0, d)
            high, low = row[HEIGHT + i + 1], row[HEIGHT + i - 1]
            left = (n - below + d) * (high - q) / (above - n)
            right = (above - n - d) * (q - low) / (n - below)
            new = q + d / (above - below) * (left + right)
            if not low < new < high:
                k = i + int(d)
                new = q + d * (row[HEIGHT + k] - q) / (row[POSITION + k] - n)
            row[HEIGHT + i] = new
            row[POSITION + i] = n + d


@lean
def learn_value(row: Floats, q: float, x: float) -> None:
    """Take one more value into the estimate of the q-quantile."""
    n = int(row[0])
    if n < 5:
        row[HEIGHT + n] = x
        row[0] = n + 1
        return
    if n == 5:
        _begin(row, q)
        row[0] = 6
    for k in range(_cell(row, x), 5):
        row[POSITION + k] += 1.0
    row[DESIRED + 1] += q / 2.0
    row[DESIRED + 2] += q
    row[DESIRED + 3] += (1.0 + q) / 2.0
    row[DESIRED + 4] += 1.0
    _adjust(row)


@lean
def estimate(row: Floats, q: float) -> float:
    """The q-quantile of a row that has seen a value."""
    n = int(row[0])
    if n > 5:
        return float(row[HEIGHT + 2])
    index = int(min(max(n - 1.0, 0.0), n * q))
    found = 0
    for i in range(n):
        value, before = row[HEIGHT + i], 0
        for k in range(n):
            other = row[HEIGHT + k]
            before += other < value or (other == value and k < i)
        if before == index:
            found = i
    return float(row[HEIGHT + found])
