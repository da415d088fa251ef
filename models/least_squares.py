"""Linear regression by recursive least squares that forgets, its covariance packed.

Ljung and Soderstrom (1983), "Theory and Practice of Recursive Identification", chapter 2.
"""

from streamgauge.arrays import Floats
from streamgauge.kernels import lean

__all__ = ["START", "gain", "packed", "product", "start", "update"]

START = 0.03
"""Variance of a weight before it has learned, and the most that forgetting may make of it: with
features and target of variance 1 a ridge that keeps thirty labels from being learned by heart."""


@lean
def product(weights: Floats, z: Floats) -> float:
    """What weights make of inputs; of more weights than inputs, the first."""
    found = 0.0
    for j in range(len(z)):
        found += weights[j] * z[j]
    return found


@lean
def packed(size: int) -> int:
    """Numbers that hold a symmetric matrix of so many rows."""
    return size * (size + 1) // 2


@lean
def start(covariance: Floats, size: int) -> None:
    """As before the first label."""
    covariance[:] = 0.0
    for a in range(size):
        covariance[a * (a + 1) // 2 + a] = START


@lean
def gain(covariance: Floats, z: Floats, direction: Floats) -> float:
    """direction = covariance @ z; returns z @ covariance @ z."""
    size = len(z)
    direction[:] = 0.0
    at = 0
    for a in range(size):
        found = 0.0
        for b in range(a):
            value = covariance[at + b]
            found += value * z[b]
            direction[b] += value * z[a]
        direction[a] += found + covariance[at + a] * z[a]
        at += a + 1
    total = 0.0
    for a in range(size):
        total += direction[a] * z[a]
    return total


@lean
def update(covariance: Floats, direction: Floats, along: float, forget: float) -> None:
    """Learn that `direction` was seen, of which `gain` returned `along`; start anew where rounding
    has left nothing that is a covariance."""
    size = len(direction)
    below = forget + along
    at = 0
    sound = below > 0.0
    for a in range(size):
        share = direction[a] / below
        for b in range(a + 1):
            covariance[at + b] = (covariance[at + b] - share * direction[b]) / forget
        own = covariance[at + a]
        sound = sound and own > 0.0 and own < 1e3
        at += a + 1
    if not sound:
        start(covariance, size)
        return
    for a in range(size):
        own = covariance[a * (a + 1) // 2 + a]
        if own > START:
            _shrink(covariance, a, size, (START / own) ** 0.5)


@lean
def _shrink(covariance: Floats, a: int, size: int, share: float) -> None:
    """Multiply row and column `a`: what is not excited any more must not grow for ever."""
    at = a * (a + 1) // 2
    for b in range(a):
        covariance[at + b] *= share
    covariance[at + a] *= share * share
    for b in range(a + 1, size):
        covariance[b * (b + 1) // 2 + a] *= share
