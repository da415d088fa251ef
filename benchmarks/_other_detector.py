"""A detector of another library, in its own environment: `python _other_detector.py LIBRARY NAME`.

Each byte that comes in is an error, 0 or 1; each that goes out says whether it is an alarm, 0 or 1.
A first byte says that the detector is there.
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


def main() -> None:
    """Answer until nothing comes any more."""
    library, name = sys.argv[1:]
    given, answers = os.dup(0), os.dup(1)
    # What a library prints must not be taken for an answer.
    os.dup2(2, 1)
    detector = getattr(importlib.import_module(MODULES[library]), name)()
    watch = {"frouros": _frouros, "capymoa": _capymoa}[library](detector)
    os.write(answers, b"\0")
    while got := os.read(given, 1):
        os.write(answers, b"\1" if watch(float(got[0])) else b"\0")


if __name__ == "__main__":
    main()
