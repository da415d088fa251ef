"""A disk that can lose its power: what was written but not synced may then be there or not."""

import errno
import os
from pathlib import Path
from random import Random

from ingest import disk

__all__ = ["PowerLost", "UnsafeDisk"]

SECTOR = 512


class PowerLost(Exception):
    """The power is gone: whoever asks the disk for something is no more."""


class UnsafeDisk:
    """The functions of `ingest.disk` on real files, of which it knows what a loss of power spares.

    Of a file that is its content at the last `sync`. What was written behind it is kept or lost
    sector by sector, in any order, and the file may end at any of its bytes. A name that was made
    or removed since the last `sync_folder` is there or not. `operations` counts what was asked of
    it; the one numbered `last` is the last that is done. Beyond `room` bytes the disk is full.
    """

    def __init__(self, *, last: int | None = None, room: int | None = None) -> None:
        self.operations = 0
        self.last, self.room = last, room
        self._paths: dict[int, Path] = {}
        self._synced: dict[Path, bytes] = {}
        self._names: dict[Path, bool] = {}

    def _use(self) -> None:
        if self.last is not None and self.operations >= self.last:
            raise PowerLost
        self.operations += 1

    def open_file(self, path: Path, *, new: bool) -> int:
        self._use()
        if new or path not in self._names:
            self._names[path] = not new
            self._synced[path] = b"" if new else path.read_bytes()
        file = disk.open_file(path, new=new)
        self._paths[file] = path
        return file

    def twin(self, file: int) -> int:
        self._use()
        other = disk.twin(file)
        self._paths[other] = self._paths[file]
        return other

    def write(self, file: int, data: bytes) -> int:
        self._use()
        if self.room is not None:
            left = self.room - sum(p.stat().st_size for p in self._names if p.exists())
            if left <= 0:
                raise OSError(errno.ENOSPC, "No space left on device")
            data = data[:left]
        return disk.write(file, data)

    def cut(self, file: int, size: int) -> None:
        self._use()
        disk.cut(file, size)

    def sync(self, file: int) -> None:
        self._use()
        self._synced[self._paths[file]] = self._paths[file].read_bytes()

    def sync_folder(self, path: Path) -> None:
        self._use()
        for name in [name for name in self._names if name.parent == path]:
            if name.exists():
                self._names[name] = True
            else:
                del self._names[name]

    def remove(self, path: Path) -> None:
        self._use()
        disk.remove(path)

    def close(self, file: int) -> None:
        """Works without power: the process is gone, and its descriptors with it."""
        del self._paths[file]
        disk.close(file)

    def lose_power(self, chance: Random) -> None:
        """What the disk holds when the power is back."""
        for path, lasting in self._names.items():
            now = path.read_bytes() if path.exists() else None
            there = now is not None
            if not (chance.random() < 0.5 if lasting != there else there):
                path.unlink(missing_ok=True)
                continue
            synced = self._synced[path]
            path.write_bytes(_survived(synced, synced if now is None else now, chance))
        for file in list(self._paths):
            del self._paths[file]
            os.close(file)


def _survived(synced: bytes, now: bytes, chance: Random) -> bytes:
    """Of `now`, of which `synced` is safe: the rest by sectors, up to some length."""
    if not now.startswith(synced):
        return chance.choice([synced, now]) if synced.startswith(now) else synced
    end = chance.randint(len(synced), len(now))
    kept = bytearray(now[:end])
    for start in range(len(synced) // SECTOR * SECTOR, end, SECTOR):
        if chance.random() < 0.3:
            first, stop = max(start, len(synced)), min(start + SECTOR, end)
            kept[first:stop] = bytes(stop - first)
    return bytes(kept)
