"""The files of a folder: which match, which are whole, and in which order they are read."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from hashlib import blake2b
from pathlib import Path
from typing import Literal

__all__ = ["Complete", "Folder", "Found", "Order"]

Complete = Literal["settle", "rename", "marker"]
Order = Literal["name", "mtime"]


@dataclass(frozen=True, slots=True)
class Found:
    """A file as it was found."""

    path: Path
    size: int
    modified: int
    """Nanoseconds."""
    inode: int

    @property
    def identity(self) -> str:
        """The same as long as nobody writes to it or renames it."""
        text = f"{self.path.name}\0{self.size}\0{self.modified}"
        return blake2b(text.encode(errors="surrogateescape"), digest_size=8).hexdigest()


class Folder:
    """The files whose names match, in order. How a file is known to be whole is `complete`:

    - "settle": its size and time did not change for `settle` seconds
    - "rename": it has its name, having been written under another one
    - "marker": beside it lies a file of its name and `marker`
    """

    def __init__(
        self,
        path: Path,
        pattern: str,
        *,
        order: Order,
        complete: Complete,
        settle: float,
        marker: str,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self._pattern, self._order = pattern, order
        self._complete, self._settle, self._marker = complete, settle, marker
        self._clock = clock
        self._since: dict[str, tuple[str, float]] = {}

    def files(self) -> list[Found]:
        """All that match, whole or not."""
        return self._scan()[0]

    def whole(self) -> tuple[list[Found], list[Found]]:
        """Those that are whole, and those that are not yet."""
        files, names = self._scan()
        self._since = {name: kept for name, kept in self._since.items() if name in names}
        whole = [found for found in files if self._is_whole(found, names)]
        return whole, [found for found in files if found not in whole]

    def _scan(self) -> tuple[list[Found], set[str]]:
        names: set[str] = set()
        files: list[Found] = []
        with os.scandir(self.path) as entries:
            for entry in entries:
                names.add(entry.name)
                if self._matches(entry.name) and entry.is_file():
                    about = entry.stat()
                    files.append(
                        Found(Path(entry.path), about.st_size, about.st_mtime_ns, about.st_ino)
                    )
        by_time = self._order == "mtime"
        files.sort(key=lambda found: (found.modified if by_time else 0, found.path.name))
        return files, names

    def _matches(self, name: str) -> bool:
        hidden = name.startswith(".") and not self._pattern.startswith(".")
        marks = self._complete == "marker" and name.endswith(self._marker)
        return not hidden and not marks and fnmatchcase(name, self._pattern)

    def _is_whole(self, found: Found, names: set[str]) -> bool:
        name = found.path.name
        if self._complete == "rename":
            return True
        if self._complete == "marker":
            return f"{name}{self._marker}" in names
        now, identity = self._clock(), found.identity
        known, since = self._since.get(name, ("", now))
        if known != identity:
            self._since[name] = (identity, now)
            since = now
        return now - since >= self._settle
