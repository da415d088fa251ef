"""Words for whoever waits while kernels are compiled: at a first start, or after an update."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numba.core.event import Listener, install_listener

from streamgauge.kernels import cache_folder

__all__ = ["compiling_told", "say"]

EVERY = 20
"""Kernels between two lines: some seconds."""


def say(line: str) -> None:
    """Write a line to stderr."""
    # Not kept: what draws a progress bar puts itself in the place of stderr.
    print(line, file=sys.stderr, flush=True)


@contextmanager
def compiling_told(say: Callable[[str], object] = say) -> Iterator[None]:
    """Say, on stderr if not otherwise, that kernels are compiled inside, why and how far; nothing
    where the cache has them all."""
    with install_listener("numba:compile", _Teller(say)):
        yield


class _Teller(Listener):  # type: ignore[misc] # numba has no types
    """Says it at the first kernel, and then counts. Kernels are compiled one after the other: a
    lock of numba's is held around these events."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say
        self._begun = self._compiled = 0

    def on_start(self, event: Any) -> None:
        self._begun += 1
        if self._begun == 1:
            self._say(
                "compiling kernels, once on this machine: it takes a minute or two; later starts "
                f"find them in {cache_folder()}"
            )

    def on_end(self, event: Any) -> None:
        self._compiled += 1
        if self._compiled % EVERY == 0:
            self._say(f"{self._compiled} kernels compiled")
