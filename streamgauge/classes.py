"""The classes of a classification: which numbers of a stream stand for which, and their names."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from streamgauge.arrays import Floats

__all__ = ["Class", "Classes"]

Class = str | bool | int | float
"""A class as the configuration and River name it."""


@dataclass(frozen=True, slots=True)
class Classes:
    """The classes of one lane in order; a class is known by its place from then on.

    Either they are `declared`, and `values[k]` is the number by which labels say `declared[k]`; or
    the lane learns them as they come, up to `most`: then a class is its number.
    """

    declared: tuple[Class, ...]
    values: tuple[float, ...]
    most: int
    learned: Floats
    """float64[1 + most]: how many were learned, then the numbers in the order they came. A view of
    the state: it changes while the stream runs."""

    @classmethod
    def of(cls, declared: Sequence[Class], values: Sequence[float], most: int = 0) -> "Classes":
        """Classes that are known beforehand, or (none declared) up to `most` that are learned."""
        most = len(declared) or most
        return cls(tuple(declared), tuple(map(float, values)), most, np.zeros(1 + most))

    def __len__(self) -> int:
        return len(self.declared) or int(self.learned[0])

    def known(self) -> list[Class]:
        """The classes that are known by now, each at its place."""
        if self.declared:
            return list(self.declared)
        numbers = self.learned[1 : 1 + len(self)].tolist()
        return [int(one) if one.is_integer() else one for one in numbers]

    def named(self) -> list[str]:
        """The same as text."""
        return [str(one).lower() if isinstance(one, bool) else str(one) for one in self.known()]

    @property
    def order(self) -> Floats:
        """float64[most]: by place, what sorts the classes as Python sorts their names. Of those
        that are learned it is a view: their numbers, as they come."""
        if not self.declared:
            return self.learned[1:]
        ranks = sorted(range(len(self.declared)), key=lambda k: _sortable(self.declared[k]))
        return np.argsort(np.array(ranks, np.int64)).astype(np.float64)

    def name(self, place: float) -> str | None:
        """The name of the class at a place; None for NaN."""
        return self.named()[int(place)] if place == place else None

    def at(self, places: Floats) -> NDArray[np.object_]:
        """object[n]: the names of the classes at these places; None where there is none."""
        names = np.array([*self.named(), None], object)
        known = np.isfinite(places)
        where = np.where(known, places, -1).astype(np.int64)
        found: NDArray[np.object_] = names[where]
        return found

    def chances(self, parts: Sequence[float]) -> dict[str, float]:
        """Probability by class name; empty where the model gave none."""
        pairs = zip(self.named(), parts, strict=False)
        return {name: chance for name, chance in pairs if chance == chance}


def _sortable(name: Class) -> tuple[bool, float, str]:
    """A key for names of any kind: numbers come before words."""
    is_word = isinstance(name, str)
    return is_word, 0.0 if is_word else float(name), str(name)
