"""What a sink cannot hand on now, in the files of a bounded folder until it can."""

import os
import re
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from monitoring.sinks._kept_outputs import pack, unpack
from monitoring.sinks._waiting import Waiting, records_of
from streamgauge.output import Output

__all__ = ["CHUNK", "LEAST", "Spill", "place_of", "sync_folder", "write_whole"]

_NAME = re.compile(r"[0-9]{20}-([0-9]+)-[0-9a-f]{8}\.outputs")
CHUNK = 20_000
"""Records of a file, about: what is read back at once."""
LEAST = 10_000_000
"""Bytes of a limit below which files would push each other out."""
LONGEST_NAME = 200
_UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


class _File(NamedTuple):
    path: Path
    records: int
    size: int


class Spill:
    """Outputs in files, oldest first; a file is whole and on the disk, or not there.

    Beyond `limit` bytes the oldest files make room. One thread calls the methods; any may read
    `records` and `bytes` of what is kept, and the records that were lost (`lost_by`): for want of
    room on the `disk`, or in a `damaged` file, which is renamed so. `why` says what keeps the disk
    from taking more, "" where nothing does.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        if limit < LEAST:
            raise ValueError(f"spill_bytes = {limit} holds next to nothing; write at least {LEAST}")
        self.folder, self.records, self.bytes, self.why = folder, 0, 0, ""
        self.lost_by: Counter[str] = Counter()
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

    def keep(self, waiting: Waiting, outputs: Sequence[Output]) -> bool:
        """Put what is in hand of those that wait, and release it; False where the disk refuses:
        it waits on."""
        lost = self.lost
        try:
            self.put(outputs)
        except OSError as refused:
            self.why = f"cannot write {self.folder}: {refused}"
            waiting.give_back()
            return False
        self.why = ""
        if self.lost > lost:
            waiting.note_drop()
        waiting.release()
        return True

    def put(self, outputs: Sequence[Output]) -> None:
        """Keep them as the newest. OSError: they are not kept."""
        self.open()
        count, data = sum(map(records_of, outputs)), pack(outputs)
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f"{self._next:020d}-{count}-{self._token}.outputs"
        kept = self._is_out()
        while len(self._files) > kept and self.bytes + len(data) > self._limit:
            self.lost_by["disk"] += self._files[kept].records
            self._drop(kept)
        write_whole(path, data)
        self._next += 1
        self._hold(_File(path, count, len(data)))

    def oldest(self) -> tuple[Path, list[Output]] | None:
        """The file to deliver first, and what is in it."""
        found = next(self.all(), None)
        self._out = found[0] if found is not None else None
        return found

    def all(self) -> Iterator[tuple[Path, list[Output]]]:
        """Every file and what is in it, oldest first."""
        place = 0
        while place < len(self._files):
            outputs = self._read(place)
            if outputs is not None:
                yield self._files[place].path, outputs
                place += 1

    def _read(self, place: int) -> list[Output] | None:
        """What is in a file; one that is gone, or damaged, is forgotten."""
        path = self._files[place].path
        try:
            return unpack(path.read_bytes())
        except FileNotFoundError:
            self._drop(place)
        except ValueError:
            self.lost_by["damaged"] += self._files[place].records
            path.rename(path.with_suffix(".damaged"))
            self._drop(place)
        return None

    @property
    def lost(self) -> int:
        """Records that were."""
        return self.lost_by.total()

    @property
    def first(self) -> Path | None:
        """The oldest file."""
        return self._files[0].path if self._files else None

    def newest(self) -> list[Output]:
        """What came last; nothing where it cannot be read."""
        try:
            return unpack(self._files[-1].path.read_bytes()) if self._files else []
        except (OSError, ValueError):
            return []

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
    return _UNFIT.sub("_", "_".join(filter(None, target))).strip("_.")[-LONGEST_NAME:]


def sync_folder(path: Path) -> None:
    """Wait until the names in a folder are on the disk."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file, under its name only once it is whole and on the disk."""
    begun = path.with_name(f".{path.name}.part")
    try:
        with open(begun, "wb", opener=partial(os.open, mode=0o600)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        begun.rename(path)
        sync_folder(path.parent)
    except OSError:
        begun.unlink(missing_ok=True)
        raise
