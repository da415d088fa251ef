"""The journal: an append-only log, on local disk, of every delivery in the order it was taken.

MQTT and HTTP keep nothing for us, so a message is written here before it is acknowledged; after a
crash the worker restores its checkpoint and reads on from the position that the checkpoint names.

A folder of segments `<position of its first byte, 20 digits>.log`. A segment is a 16-byte header
(magic, 4 random bytes that mark its records, 4 that seed their CRC) and records: mark, length,
CRC-32, body. One delivery is one record; what is appended together is one `write` and, where power
may fail, one `sync`. No payload can pose as a record, since its sender cannot know the mark.

Positions count bytes over all segments and only grow. Each record tells how much of the log was on
the disk when it was written. Before that place nothing may be missing; behind it the disk may have
kept any part when the power failed, and the log ends at the first record that is not whole.
"""

import errno
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress
from itertools import accumulate
from pathlib import Path

from ingest import disk as real_disk
from ingest.disk import Disk
from ingest.records import (
    FRAME,
    HEADER,
    MAGIC,
    JournalDamaged,
    damaged,
    framed,
    records,
    segment_keys,
    synced_behind,
    unpacked,
    whole_record,
)
from streamgauge.delivery import Delivery

__all__ = ["Journal", "JournalDamaged", "JournalFull"]

_MB = 1_000_000
_NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class JournalFull(OSError):
    """No room for the delivery: nothing was written; stop acknowledging and try again later."""


class Journal:
    """The log of one service. One process at a time uses the folder; any thread may append or trim.

    - `segment_bytes`: a new file is begun when the current one has reached this size
    - `max_bytes`: bound of the whole; beyond it `append` raises `JournalFull` until `trim` has
      made room. Nothing is ever dropped to make room.
    - `sync`: wait for the disk before `append` returns (survives power loss, not only a crash)
    - `disk`: the functions of `ingest.disk`

    `torn` is the number of bytes that an interrupted write left at the end and that were cut off
    on opening; they were never acknowledged.
    """

    def __init__(
        self,
        folder: Path,
        *,
        segment_bytes: int = 64 * _MB,
        max_bytes: int = 5_000 * _MB,
        sync: bool = False,
        disk: Disk = real_disk,
    ) -> None:
        if max_bytes < 4_096:
            raise ValueError(f"a journal of {max_bytes} bytes holds nothing; allow at least 1 MB")
        self._folder = Path(folder)
        self._segment_bytes = max(HEADER + 1, min(segment_bytes, max_bytes // 4))
        self._max_bytes, self._sync, self._disk = max_bytes, sync, disk
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._folder / "lock")
        self._file, self.torn, self._synced = -1, 0, 0
        self._turn = threading.Lock()
        try:
            self._starts = sorted(_segments(self._folder))
            self._resume()
            self._keep_folder()
        except BaseException:
            self.close()
            raise

    @property
    def position(self) -> int:
        """Where the next record will begin."""
        return self._position

    @property
    def largest(self) -> int:
        """Bytes of payload that one record should not exceed, so that a trimmed log has room."""
        return min(2 * _MB, self._max_bytes // 8)

    @property
    def first(self) -> int:
        """Where the oldest record that is kept begins; 0 as long as nothing was trimmed."""
        return self._starts[0]

    @property
    def size(self) -> int:
        """Size of what is kept."""
        return self._position - self._starts[0]

    def append(self, *deliveries: Delivery) -> list[int]:
        """Write deliveries, all or none; the position behind each, and behind the last all is as
        durable as the level says. JournalFull, OSError: nothing was written."""
        with self._turn:
            if self._position - self._starts[-1] >= self._segment_bytes:
                self._begin(self._position)
            found = [framed(each, self._mark, self._seed, self._synced) for each in deliveries]
            size = sum(map(len, found))
            if self.size + size > self._max_bytes:
                raise JournalFull(
                    f"the journal in {self._folder} has reached {self._max_bytes:,} bytes; see why "
                    "checkpoints do not come, or raise state.journal_max"
                )
            self._write(found[0] if len(found) == 1 else b"".join(found))
            _, *ends = accumulate(map(len, found), initial=self._position)
            self._position += size
            if self._sync:
                self._synced = self._position
            return ends

    def read(self, after: int = 0) -> Iterator[Delivery]:
        """Every delivery written after a position, oldest first; see :meth:`entries`."""
        return (delivery for _, delivery in self.entries(after))

    def entries(self, after: int = 0) -> Iterator[tuple[int, Delivery]]:
        """The position behind each delivery, and the delivery, from a position on.

        `after` is 0 (all there is) or what :attr:`position` was once. If the disk lost the end of
        the log with the power, positions continue from `after`: the checkpoint that names it holds
        what was lost. `JournalDamaged` where the log is not whole.
        """
        if after > self._position:
            self._begin(after)
        first = self._starts[0]
        if 0 < after < first:
            raise JournalDamaged(
                f"{self._folder} begins at position {first}, but reading must begin at {after}: "
                "files of the log are missing; restore them, or start from an older backup of "
                "the whole state folder"
            )
        return self._walk(max(after, first), self._position)

    def _walk(self, after: int, end: int) -> Iterator[tuple[int, Delivery]]:
        expected = None
        for start in list(self._starts):
            following = [later for later in self._starts if later > start]
            if following and following[0] <= after:
                continue
            if expected is not None and start != expected:
                raise JournalDamaged(
                    f"{self._folder}: positions {expected} to {start} are missing; restore the file"
                )
            path, stop = self._path(start), following[0] if following else end
            data = path.read_bytes()[: stop - start]
            for offset, body in records(path, data, after - start):
                yield start + offset, unpacked(path, offset, body)
            expected = start + len(data)

    def trim(self, position: int) -> None:
        """Delete whole files that lie before a position which a durable checkpoint has made
        needless."""
        with suppress(OSError):
            # Only to tell damage from an end that the power took: nothing depends on it.
            self.flush()
        with self._turn:
            if self._position <= position and self._position > self._starts[-1] + HEADER:
                self._begin(self._position)
            while len(self._starts) > 1 and self._starts[1] <= position:
                self._disk.remove(self._path(self._starts[0]))
                del self._starts[0]

    def flush(self) -> None:
        """Wait until everything written is on the disk; nobody who appends waits for it."""
        with self._turn:
            position = self._position
            if position == self._synced:
                return
            file = self._disk.twin(self._file)
        try:
            self._disk.sync(file)
        finally:
            self._disk.close(file)
        self._synced = max(self._synced, position)

    def close(self) -> None:
        """Close the files; the folder may be used by another process."""
        if self._file >= 0:
            self._disk.close(self._file)
            self._file = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    def _path(self, start: int) -> Path:
        return self._folder / f"{start:020d}.log"

    def _write(self, data: bytes) -> None:
        """Write all of it or, as far as the disk lets us, nothing."""
        end = self._position - self._starts[-1]
        try:
            written = self._disk.write(self._file, data)
            while written < len(data):
                written += self._disk.write(self._file, data[written:])
            if self._sync:
                self._disk.sync(self._file)
        except OSError as failed:
            self._disk.cut(self._file, end)
            raise _full_or_same(failed, self._folder) from failed

    def _resume(self) -> None:
        """Continue the newest segment behind its last whole record, or begin the first one."""
        start = self._starts.pop() if self._starts else 0
        path = self._path(start)
        data = path.read_bytes() if path.exists() else b""
        if len(data) < HEADER or not any(data[:HEADER]):
            self.torn = len(data)
            self._begin(start)
            return
        self._mark, self._seed = segment_keys(path, data)
        end = HEADER
        while body := whole_record(data, end, self._mark, self._seed):
            end += FRAME + len(body)
        if synced_behind(data, end, self._mark, self._seed) > start + end:
            raise damaged(path, end)
        self.torn = len(data) - end
        self._file = self._disk.open_file(path, new=False)
        self._disk.cut(self._file, end)
        self._disk.sync(self._file)
        self._starts.append(start)
        self._position = self._synced = start + end

    def _begin(self, start: int) -> None:
        """Begin a new segment at a position. All before it is on the disk then, whatever the level:
        only the newest file can have lost something."""
        path, keys = self._path(start), os.urandom(8)
        if self._file >= 0:
            self._disk.sync(self._file)
        file = self._disk.open_file(path, new=True)
        try:
            self._disk.write(file, MAGIC + keys)
            self._disk.sync(file)
            self._disk.sync_folder(self._folder)
        except OSError as failed:
            self._disk.close(file)
            self._disk.remove(path)
            raise _full_or_same(failed, self._folder) from failed
        if self._file >= 0:
            self._disk.close(self._file)
        self._file = file
        self._mark, self._seed = segment_keys(path, MAGIC + keys)
        self._starts.append(start)
        self._position = self._synced = start + HEADER

    def _keep_folder(self) -> None:
        """Make the names of the folder and of those around it as durable as what is in them."""
        for folder in (self._folder, *self._folder.absolute().parents):
            with suppress(PermissionError):
                self._disk.sync_folder(folder)


def _segments(folder: Path) -> Iterator[int]:
    """Position of each segment's first byte; files of other names are not the journal's."""
    for path in folder.glob("*.log"):
        if re.fullmatch(r"[0-9]{20}", path.stem):
            yield int(path.stem)


def _full_or_same(failed: OSError, folder: Path) -> OSError:
    if failed.errno in _NO_SPACE:
        return JournalFull(f"no space for the journal in {folder}: {failed}")
    return failed


def _lock(path: Path) -> int:
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as held:
        os.close(file)
        raise BlockingIOError(
            f"another process uses the journal in {path.parent}; stop it, or name another state.dir"
        ) from held
    return file
