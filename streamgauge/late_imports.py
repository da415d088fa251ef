"""Libraries that are loaded when something of them is first used, whoever imports them.

River and numba import with themselves what few of their users need, scipy.stats and SQLAlchemy
among it, which is half of a start.
"""

import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

__all__ = ["late"]


@contextmanager
def late(*libraries: str) -> Iterator[None]:
    """Modules imported inside hold stand-ins for these libraries, each of which loads its library
    when it is first used. A library that is there already stays as it is."""
    stand_ins = {name: _StandIn(name) for name in libraries if name not in sys.modules}
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


class _StandIn(ModuleType):
    """A module that is not loaded yet."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            return _Named(self, name)
        return getattr(importlib.import_module(self.__name__), name)


class _Named:
    """What `from library import name` gave before the library was loaded: to call, or to ask."""

    def __init__(self, library: ModuleType, name: str) -> None:
        self._library, self._name = library, name

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(self._library, self._name)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(getattr(self._library, self._name), name)
