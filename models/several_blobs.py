"""Pickles of several learners as one: a blob is their lengths, then theirs."""

import struct
from collections.abc import Sequence

from models.learner import Blobs
from streamgauge.arrays import Ints

__all__ = ["SeveralBlobs"]


class SeveralBlobs:
    """Model state of several learners whose rows mean the same; see `models.learner.Blobs`."""

    def __init__(self, of: Sequence[Blobs]) -> None:
        self._of = list(of)
        self._head = struct.Struct(f"<{len(of)}Q")
        self.dirty: set[int] = set()
        # One set for all: who changes a row says so once.
        for one in self._of:
            one.dirty = self.dirty

    def dump(self, rows: Sequence[int] | Ints) -> list[bytes]:
        """One blob per row; empty where no learner has a model yet."""
        each = zip(*(one.dump(rows) for one in self._of), strict=True)
        return [
            self._head.pack(*map(len, blobs)) + b"".join(blobs) if any(blobs) else b""
            for blobs in each
        ]

    def load(self, rows: Sequence[int] | Ints, blobs: Sequence[bytes]) -> None:
        """Take over what :meth:`dump` gave."""
        parts: list[list[bytes]] = [[] for _ in self._of]
        for blob in blobs:
            at = self._head.size
            lengths = self._head.unpack_from(blob) if blob else (0,) * len(self._of)
            for own, length in zip(parts, lengths, strict=True):
                own.append(blob[at : at + length])
                at += length
        for one, own in zip(self._of, parts, strict=True):
            one.load(rows, own)

    def drop(self, rows: Sequence[int] | Ints) -> None:
        """Forget these rows in all of them."""
        for one in self._of:
            one.drop(rows)
