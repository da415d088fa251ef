"""What a sink cannot hand on now, in the files of a bounded folder until it can."""

import os
import re
from collections import deque
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from monitoring.sinks._kept_outputs import pack, unpack
from streamgauge.output import Output

__all__ = ["Spill", "place_of"]

_NAME = re.compile(r"[0-9]{20}-([0-9]+)-[0-9a-f]{8}\.outputs")
_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


class _File(NamedTuple):
    path: Path
    records: int
    size: int


class Spill:
    """Outputs in files, oldest first; a file is whole and on the disk, or not there.

    Beyond `limit` bytes the oldest files make room. One thread calls the methods; any may read
    `records` and `bytes` of what is kept, and the records that were `lost`: for want of room, or
    in a file that cannot be read, which is renamed to `.damaged`.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder, self.records, self.bytes, self.lost = folder, 0, 0, 0
        self._limit = limit
        self._files: deque[_File] = deque()
        self._opened, self._next = False, 0
        self._out: Path | None = None
        # Two sinks to one target share a folder: neither overwrites what the other wrote.
        self._token = os.urandom(4).hex()

    def open(self) -> None:
        """Take over what an earlier life of the service left, once."""
        if self._opened:
            return
        self._opened = True
        for path in sorted(self.folder.glob("*")):
            if found := _NAME.fullmatch(path.name):
                self._hold(_File(path, int(found[1]), path.stat().st_size))
                self._next = int(path.name[:20]) + 1

    def put(self, outputs: Sequence[Output]) -> None:
        """Keep them as the newest. OSError: they are not kept."""
        self.open()
        count, data = sum(len(output.predictions) for output in outputs), pack(outputs)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self._next:020d}-{count}-{self._token}.outputs"
        kept = self._is_out()
        while len(self._files) > kept and self.bytes + len(data) > self._limit:
            self.lost += self._files[kept].records
            self._drop(kept)
        _written(path, data)
        self._next += 1
        self._hold(_File(path, count, len(data)))

    def oldest(self) -> tuple[Path, list[Output]] | None:
        """The file to deliver first, and what is in it."""
        while self._files:
            self._out = path = self._files[0].path
            try:
                return path, unpack(path.read_bytes())
            except FileNotFoundError:
                self._drop(0)
            except ValueError:
                self.lost += self._files[0].records
                path.rename(path.with_suffix(".damaged"))
                self._drop(0)
        return None

    def remove(self, path: Path) -> None:
        """The oldest file was delivered."""
        assert self._files[0].path == path
        self._drop(0)

    def _is_out(self) -> bool:
        """Whether the oldest is being delivered, and so does not make room."""
        return bool(self._files) and self._files[0].path == self._out

    def _drop(self, place: int) -> None:
        gone = self._files[place]
        del self._files[place]
        self.records -= gone.records
        self.bytes -= gone.size
        gone.path.unlink(missing_ok=True)

    def _hold(self, file: _File) -> None:
        self._files.append(file)
        self.records += file.records
        self.bytes += file.size


def place_of(*target: str) -> str:
    """A file name that tells one target from others."""
    return _UNFIT.sub("_", "_".join(filter(None, target))).strip("_")


def _written(path: Path, data: bytes) -> None:
    """Under its name only once it is whole and on the disk."""
    begun = path.with_suffix(".part")
    try:
        with open(begun, "wb", opener=partial(os.open, mode=0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        begun.rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError:
        begun.unlink(missing_ok=True)
        raise
