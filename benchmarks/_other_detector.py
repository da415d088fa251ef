"""A detector of another library, in its own environment: `python _other_detector.py LIBRARY NAME`.

In come blocks: a byte that says how many, and so many errors of 0 or 1. Out go for each two bytes:
how many of them were taken, up to the first alarm, and whether the last of these is one. A first
byte says that the detector is there.
"""

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

MODULES = {
    "frouros": "frouros.detectors.concept_drift",
    "capymoa": "capymoa.drift.detectors",
}


def _frouros(detector: Any) -> Callable[[float], bool]:
    """It is to be reset by whoever sees its alarm."""

    def watch(error: float) -> bool:
        detector.update(value=error)
        found = bool(detector.status["drift"])
        if found:
            detector.reset()
        return found

    return watch


def _capymoa(detector: Any) -> Callable[[float], bool]:
    def watch(error: float) -> bool:
        detector.add_element(error)
        return bool(detector.detected_change())

    return watch


def _taken(watch: Callable[[float], bool], block: bytes) -> bytes:
    for k, error in enumerate(block, 1):
        if watch(float(error)):
            return bytes((k, 1))
    return bytes((len(block), 0))


def main() -> None:
    """Answer until nothing comes any more."""
    library, name = sys.argv[1:]
    given, answers = os.dup(0), os.dup(1)
    # What a library prints must not be taken for an answer.
    os.dup2(2, 1)
    detector = getattr(importlib.import_module(MODULES[library]), name)()
    watch = {"frouros": _frouros, "capymoa": _capymoa}[library](detector)
    os.write(answers, b"\0")
    with os.fdopen(given, "rb") as blocks:
        while size := blocks.read(1):
            os.write(answers, _taken(watch, blocks.read(size[0])))


if __name__ == "__main__":
    main()
