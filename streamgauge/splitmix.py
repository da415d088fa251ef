"""splitmix64: one step of a hash, or of a stream of numbers that look random.

Steele, Lea and Flood (2014), "Fast splittable pseudorandom number generators".
"""

from typing import Any

import numpy as np

from streamgauge.kernels import lean

__all__ = ["mixed"]

_word: Any = np.uint64
_STEP = _word(0x9E3779B97F4A7C15)
_FIRST = _word(0xBF58476D1CE4E5B9)
_SECOND = _word(0x94D049BB133111EB)
_BY_27, _BY_30, _BY_31 = _word(27), _word(30), _word(31)


@lean
def mixed(state: int, word: int) -> int:
    """uint64: what `word` makes of `state`; both are uint64."""
    z = (_word(state) ^ _word(word)) + _STEP
    z = (z ^ (z >> _BY_30)) * _FIRST
    z = (z ^ (z >> _BY_27)) * _SECOND
    found: int = z ^ (z >> _BY_31)
    return found
