"""The journal: an append-only log, on local disk, of every delivery in the order it was taken.

MQTT and HTTP keep nothing for us, so a message is written here before it is acknowledged; after a
crash the worker restores its checkpoint and reads on from the position that the checkpoint names.

A folder of segments `<position of its first byte, 20 digits>.log`. A segment is a 16-byte header
(magic, 4 random bytes that mark its records, 4 that seed their CRC) and records: mark, length,
CRC-32, body. One delivery is one record and one `write`. No payload can pose as a record, since
its sender cannot know the mark.

Positions count bytes over all segments and only grow.
"""

import errno
import fcntl
import os
import re
import threading
from collections.abc import Iterator
from pathlib import Path

from ingest.records import (
    FRAME,
    HEADER,
    MAGIC,
    JournalDamaged,
    damaged,
    framed,
    records,
    segment_keys,
    unpacked,
    whole_record,
    whole_record_behind,
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
    - `sync`: wait for the disk after every delivery (survives power loss, not only a crash)

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
    ) -> None:
        if max_bytes < 4_096:
            raise ValueError(f"a journal of {max_bytes} bytes holds nothing; allow at least 1 MB")
        self._folder = Path(folder)
        self._segment_bytes = max(HEADER + 1, min(segment_bytes, max_bytes // 4))
        self._max_bytes, self._sync = max_bytes, sync
        self._folder.mkdir(parents=True, exist_ok=True)
        self._lock = _lock(self._folder / "lock")
        self._file, self.torn = -1, 0
        self._turn = threading.Lock()
        try:
            self._starts = sorted(_segments(self._folder))
            self._resume()
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

    def append(self, delivery: Delivery) -> int:
        """Write a delivery; the position behind it. JournalFull, OSError: nothing was written."""
        with self._turn:
            if self._position - self._starts[-1] >= self._segment_bytes:
                self._begin(self._position)
            record = framed(delivery, self._mark, self._seed)
            size = len(record)
            if self.size + size > self._max_bytes:
                raise JournalFull(
                    f"the journal in {self._folder} has reached {self._max_bytes:,} bytes; see why "
                    "checkpoints do not come, or raise state.journal_max"
                )
            self._write(record)
            self._position += size
            return self._position

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
        """Delete whole files that lie before a position which a checkpoint has made needless."""
        with self._turn:
            if self._position <= position and self._position > self._starts[-1] + HEADER:
                self._begin(self._position)
            while len(self._starts) > 1 and self._starts[1] <= position:
                self._path(self._starts[0]).unlink(missing_ok=True)
                del self._starts[0]

    def flush(self) -> None:
        """Wait until everything written is on the disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the files; the folder may be used by another process."""
        if self._file >= 0:
            os.close(self._file)
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
            written = os.write(self._file, data)
            while written < len(data):
                written += os.write(self._file, data[written:])
            if self._sync:
                os.fsync(self._file)
        except OSError as failed:
            os.ftruncate(self._file, end)
            raise _full_or_same(failed, self._folder) from failed

    def _resume(self) -> None:
        """Continue the newest segment behind its last whole record, or begin the first one."""
        start = self._starts.pop() if self._starts else 0
        path = self._path(start)
        data = path.read_bytes() if path.exists() else b""
        if len(data) < HEADER:
            self._begin(start)
            return
        self._mark, self._seed = segment_keys(path, data)
        end = HEADER
        while body := whole_record(data, end, self._mark, self._seed):
            end += FRAME + len(body)
        if end < len(data) and whole_record_behind(data, end, self._mark, self._seed):
            raise damaged(path, end)
        self.torn = len(data) - end
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(self._file, end)
        self._starts.append(start)
        self._position = start + end

    def _begin(self, start: int) -> None:
        """Begin a new segment at a position."""
        path, keys = self._path(start), os.urandom(8)
        file = os.open(
            path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        try:
            os.write(file, MAGIC + keys)
            if self._sync:
                os.fsync(file)
                _sync_folder(self._folder)
        except OSError as failed:
            os.close(file)
            path.unlink(missing_ok=True)
            raise _full_or_same(failed, self._folder) from failed
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._mark, self._seed = segment_keys(path, MAGIC + keys)
        self._starts.append(start)
        self._position = start + HEADER


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


def _sync_folder(folder: Path) -> None:
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
