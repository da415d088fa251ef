"""Mean and deviation of each feature as it runs, which wild values move only so far."""

import math

from streamgauge.arrays import Floats
from streamgauge.kernels import lean

__all__ = ["FAR", "SETTLED", "WILD", "observe", "standardise"]

FAR = 5.0
"""Deviations beyond which a feature counts as so far."""
WILD = 10.0
"""Deviations, or scales, beyond which a value moves its own yardstick no further."""
SETTLED = 30.0
"""Values after which a yardstick can tell what is wild."""


@lean
def observe(counts: Floats, means: Floats, variances: Floats, raw: Floats) -> None:
    """Let the scaler see the features; a wild one moves it as far as a value at the edge would."""
    for j in range(len(raw)):
        v = raw[j]
        if v == v:
            counts[j] += 1.0
            if counts[j] > SETTLED:
                edge = WILD * math.sqrt(variances[j])
                v = min(max(v, means[j] - edge), means[j] + edge)
            old = means[j]
            means[j] += (v - old) / counts[j]
            variances[j] += ((v - old) * (v - means[j]) - variances[j]) / counts[j]


@lean
def standardise(means: Floats, variances: Floats, raw: Floats, z: Floats) -> None:
    """z: deviations from the mean within FAR, 0 where there is no value; 1 at the end."""
    for j in range(len(raw)):
        s = math.sqrt(variances[j])
        v = (raw[j] - means[j]) / s if s > 0.0 else 0.0
        # NaN is neither.
        z[j] = FAR if v > FAR else -FAR if v < -FAR else v if v == v else 0.0
    z[len(raw)] = 1.0
