"""Probabilities of classes that come true: sharpened or flattened by how the last labels fell.

Each probability is raised to a power, and all are divided by their sum: temperature scaling, which
of two classes is Platt's scaling without its offset (Guo, Pleiss, Sun and Weinberger, 2017, "On
Calibration of Modern Neural Networks"). The power of each device follows the log loss label by
label, by Newton's steps. Which class is the most probable stays as the model says.
"""

import math

from streamgauge.arrays import Floats
from streamgauge.kernels import kernel

__all__ = ["FIELDS", "calibrate", "learn"]

FIELDS = ("power", "curvature", "labels")
POWER, CURVATURE, LABELS = range(len(FIELDS))
"""Numbers of a lane: logarithm of the power; how sure it is of it; labels that it has seen."""

ENOUGH = 30.0
"""Labels of a device before its probabilities are moved."""
FADES = 0.9998
"""Of the curvature, from one label to the next: five thousand labels count."""
CAREFUL = 200.0
"""Curvature that there is before the first label."""
STEP_SIZE = 0.1
"""The most that one label moves the logarithm by."""
EDGE = 1.5
"""The power stays between exp(-EDGE) and exp(EDGE)."""
LEAST = 1e-6
"""Smaller probabilities count as this."""


@kernel
def learn(cell: Floats, lane: int, lanes: int, served: Floats, power: float, label: int) -> None:
    """Let the power see one label, and the probabilities that were served for it by `power`: what
    they would be now is what counts, however late the label comes."""
    now, total, mean, square = math.exp(cell[POWER * lanes + lane]), 0.0, 0.0, 0.0
    for chance in served:
        if chance > 0.0:
            value = math.log(max(chance, LEAST)) / power
            weight = math.exp(now * value)
            total += weight
            mean += weight * value
            square += weight * value * value
    own = served[label]
    if not total > 0.0 or own != own:
        return
    mean, square = mean / total, square / total
    slope = now * (math.log(max(own, LEAST)) / power - mean)
    bend = FADES * cell[CURVATURE * lanes + lane] + now * now * max(square - mean * mean, 0.0)
    cell[CURVATURE * lanes + lane] = bend
    step = min(max(slope / (bend + CAREFUL), -STEP_SIZE), STEP_SIZE)
    moved = cell[POWER * lanes + lane] + step
    cell[POWER * lanes + lane] = min(max(moved, -EDGE), EDGE)
    cell[LABELS * lanes + lane] += 1.0


@kernel
def calibrate(cell: Floats, lane: int, lanes: int, chances: Floats) -> float:
    """Raise probabilities to the device's power, once that is known, which is returned; together
    they are 1 again."""
    if cell[LABELS * lanes + lane] < ENOUGH:
        return 1.0
    power, total = math.exp(cell[POWER * lanes + lane]), 0.0
    for k in range(len(chances)):
        if chances[k] == chances[k]:
            chances[k] = chances[k] ** power
            total += chances[k]
    for k in range(len(chances)):
        if total > 0.0:
            chances[k] /= total
    return power
