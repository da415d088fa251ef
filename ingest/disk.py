"""What the journal asks of a disk: a module, or whatever else has these functions, as an argument.

What was written survives the end of the process; what was synced survives the loss of power. A name
in a folder is something written like any other: until its folder is synced, a new file may be gone,
and one that was removed may be back, when the power returns.
"""

import os
from pathlib import Path
from typing import Protocol

__all__ = ["Disk", "close", "cut", "open_file", "remove", "sync", "sync_folder", "twin", "write"]


class Disk(Protocol):
    """The functions of this module."""

    def open_file(self, path: Path, *, new: bool) -> int: ...
    def twin(self, file: int) -> int: ...
    def write(self, file: int, data: bytes) -> int: ...
    def cut(self, file: int, size: int) -> None: ...
    def sync(self, file: int) -> None: ...
    def close(self, file: int) -> None: ...
    def remove(self, path: Path) -> None: ...
    def sync_folder(self, path: Path) -> None: ...


def open_file(path: Path, *, new: bool) -> int:
    """A descriptor that reads, and writes at the end; a new file is made, or made empty."""
    flags = os.O_CREAT | os.O_TRUNC if new else 0
    return os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | flags, 0o600)


def twin(file: int) -> int:
    """Another descriptor of the same file, which stays open when the first is closed."""
    return os.dup(file)


def write(file: int, data: bytes) -> int:
    """Write at the end; how many bytes were written, perhaps not all."""
    return os.write(file, data)


def cut(file: int, size: int) -> None:
    """Cut the file off behind so many bytes."""
    os.ftruncate(file, size)


def sync(file: int) -> None:
    """Wait until all that was written to the file is on the disk."""
    os.fsync(file)


def close(file: int) -> None:
    """Close the descriptor; syncs nothing."""
    os.close(file)


def remove(path: Path) -> None:
    """Remove the file, if it is there."""
    path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
