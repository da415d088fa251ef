"""River's StandardScaler for a reading that has all its features: arithmetic on whole vectors.

Divisions, the slowest of it, are then done several at a time. One feature at a time, as
`_scaler` does it where some are absent, gives the same bits.
"""

from models.compiled._roots import roots
from streamgauge.arrays import Floats
from streamgauge.kernels import inlined

__all__ = ["gather", "learn", "transform"]


@inlined
def gather(x: Floats, inputs: Floats, z: Floats) -> bool:
    """The features, `z float64[f]`; whether all of them are there."""
    absent = 0
    for j in range(len(z)):
        v = x[int(inputs[j])]
        z[j] = v
        absent += 1 if v != v else 0
    return absent == 0


@inlined
def learn(s: Floats, z: Floats, half: float) -> None:
    """`s` is means, counts, variances and deviations of the features `z float64[f]`."""
    f = len(z)
    mean, count, variance = s[:f], s[f : 2 * f], s[2 * f : 3 * f]
    for j in range(f):
        v, old, n = z[j], mean[j], count[j] + 1.0
        new, q = old + (v - old) / n, variance[j]
        count[j], mean[j] = n, new
        variance[j] = q + ((v - old) * (v - new) - q) / n
    # River takes `variance ** 0.5` at every transform; it only changes here.
    roots(variance, half, s[3 * f : 4 * f])


@inlined
def transform(s: Floats, z: Floats, limit: float) -> None:
    """z = (z - mean) / deviation within the limit, 0 where a feature never varied."""
    f = len(z)
    mean, deviation = s[:f], s[3 * f : 4 * f]
    for j in range(f):
        d = deviation[j]
        v = (z[j] - mean[j]) / d
        v = v if d != 0.0 else 0.0
        z[j] = limit if v > limit else -limit if v < -limit else v
