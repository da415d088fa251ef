"""All state and the place in the log, in one file, written in one step.

The file is a line of text (magic and format version), the state in parts (arrays as safetensors
and, where models are opaque, their pickles), an index as JSON with the facts and a digest of each
part, and a last line with the index's length and digest. A part is written as soon as it is there,
so the state is never in memory twice. The file is written beside the old one, synced, and renamed
over it: a crash leaves one or the other, whole. Reading verifies first and loads after: a damaged,
foreign or newer checkpoint is refused and nothing of it is used.
"""

import hashlib
import hmac
import json
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from streamgauge.arrays import Ints

__all__ = [
    "Checkpoint",
    "CheckpointRefused",
    "ConfigurationChanged",
    "Fault",
    "Part",
    "decode",
    "encode",
    "facts_of",
    "fault",
    "read",
    "write",
]

MAGIC = b"streamgauge checkpoint "
FORMAT = 2
ROWS = "device rows"
"""Name of the array that says which rows a part is about; no block has a space in its name."""
END = len(f"{0:016d} {'':32}\n")
"""Bytes of the last line."""
Arrays = dict[str, NDArray[Any]]
Blobs = dict[str, list[bytes]]
Stored = bytes | memoryview


class CheckpointRefused(Exception):
    """The checkpoint cannot be used; the message says why and what to do. Nothing was loaded."""


class ConfigurationChanged(CheckpointRefused):
    """The checkpoint is of another configuration; the message lists what that would mean."""


@dataclass(slots=True)
class Part:
    """Some of the state: of these device rows, or, where `rows` is None, what is kept for all.

    `arrays` by block and part; `blobs` are pickles by lane, one per row.
    """

    rows: Ints | None
    arrays: Arrays
    blobs: Blobs = field(default_factory=dict)


@dataclass(slots=True)
class Checkpoint:
    """State at one moment, detached from the running walk.

    `facts` are small and JSON-able (devices, positions, definitions); the parts, which may be gone
    through more than once, hold each device row once, in any order.
    """

    facts: dict[str, Any]
    parts: Iterable[Part]


def write(path: Path, facts: Mapping[str, Any], parts: Iterable[Part], key: bytes) -> int:
    """Write a checkpoint in one atomic step, durable on return; returns its size in bytes.

    `parts` may come as they are made: each is written before the next is asked for.
    """
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        file.write(MAGIC + f"{FORMAT}\n".encode())
        index = [_write_part(file, part, key) for part in parts]
        text = json.dumps({"facts": facts, "parts": index}).encode()
        file.write(text)
        file.write(f"{len(text):016d} {_digest(text)}\n".encode())
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    beside.replace(path)
    _sync_folder(path.parent)
    return size


def _write_part(file: IO[bytes], part: Part, key: bytes) -> dict[str, Any]:
    """What the index says of the part."""
    entry, tensors, pickles = encode(part, key)
    file.write(tensors)
    file.write(pickles)
    return entry


class Fault(Enum):
    """What is wrong with a stored part."""

    DAMAGED = auto()
    UNSIGNED = auto()
    """Its pickles were not signed with this key."""


def encode(part: Part, key: bytes) -> tuple[dict[str, Any], bytes, bytes]:
    """A part as it is stored: what an index says of it, its arrays, its pickles."""
    arrays = part.arrays if part.rows is None else part.arrays | {ROWS: part.rows}
    tensors = save_tensors({name: np.ascontiguousarray(a) for name, a in arrays.items()})
    pickles = b"".join(blob for lane in part.blobs.values() for blob in lane)
    lengths = {lane: [len(blob) for blob in blobs] for lane, blobs in part.blobs.items()}
    entry = {
        "tensors": [len(tensors), _digest(tensors)],
        "pickles": [len(pickles), _digest(pickles), _sign(pickles, lengths, key)],
        "blobs": lengths,
    }
    return entry, tensors, pickles


def fault(entry: Mapping[str, Any], tensors: Stored, pickles: Stored, key: bytes) -> Fault | None:
    """What is wrong with a part that :func:`encode` made; None where it may be loaded."""
    if [_digest(tensors), _digest(pickles)] != [entry["tensors"][1], entry["pickles"][1]]:
        return Fault.DAMAGED
    signed = _sign(pickles, entry["blobs"], key)
    if len(pickles) and not hmac.compare_digest(signed, entry["pickles"][2]):
        return Fault.UNSIGNED
    return None


def decode(entry: Mapping[str, Any], tensors: Stored, pickles: Stored) -> Part:
    """The part that :func:`encode` made, once :func:`fault` found none."""
    arrays = load_tensors(bytes(tensors))
    return Part(arrays.pop(ROWS, None), arrays, _split(pickles, entry["blobs"]))


def read(path: Path, key: bytes) -> Checkpoint:
    """The checkpoint in that file, verified; raises CheckpointRefused or FileNotFoundError."""
    content = _content(path)
    index, start, stop = _index(path, content)
    stored = _Stored(content, index["parts"], start)
    if stored.end != stop:
        raise _damaged(path, "its parts do not fill it")
    for entry, tensors, pickles in stored.entries():
        found = fault(entry, tensors, pickles, key)
        if found is Fault.DAMAGED:
            raise _damaged(path, "its state does not match its digest")
        if found is Fault.UNSIGNED:
            raise CheckpointRefused(
                f"{path}: its River models were not signed with this machine's key, so they are "
                "not unpickled; put the key of the machine that wrote it in place "
                "(STREAMGAUGE_KEY_FILE), or move the state folder away to start anew"
            )
    return Checkpoint(index["facts"], stored)


def facts_of(path: Path) -> dict[str, Any]:
    """The facts in that file, without a look at the state; raises as `read` does."""
    facts: dict[str, Any] = _index(path, _content(path))[0]["facts"]
    return facts


def _content(path: Path) -> memoryview:
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            raise _damaged(path, "it is empty")
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


class _Stored:
    """The parts of a verified file, each loaded when its turn comes."""

    def __init__(self, content: memoryview, index: Sequence[Mapping[str, Any]], start: int) -> None:
        self._content, self._index, self._start = content, index, start
        self.end = start + sum(part["tensors"][0] + part["pickles"][0] for part in index)

    def entries(self) -> Iterator[tuple[Mapping[str, Any], memoryview, memoryview]]:
        """What the index says of each part, its tensors and its pickles."""
        at = self._start
        for entry in self._index:
            middle = at + entry["tensors"][0]
            end = middle + entry["pickles"][0]
            yield entry, self._content[at:middle], self._content[middle:end]
            at = end

    def __iter__(self) -> Iterator[Part]:
        for entry, tensors, pickles in self.entries():
            yield decode(entry, tensors, pickles)


def _index(path: Path, content: memoryview) -> tuple[dict[str, Any], int, int]:
    """The index, and where the parts begin and end."""
    line, found, _ = bytes(content[:64]).partition(b"\n")
    words = line.removeprefix(MAGIC).split()
    if not found or not line.startswith(MAGIC) or not words or not words[0].isdigit():
        raise _damaged(path, "it does not begin as a checkpoint does")
    version = int(words[0])
    if version != FORMAT:
        raise CheckpointRefused(
            f"{path}: format {version}, this version of streamgauge reads format {FORMAT}; "
            "run the version that wrote it, or move the state folder away to start anew"
        )
    last = bytes(content[-END:]).decode(errors="replace").split(" ")
    stop = len(content) - END - int(last[0]) if last[0].isdigit() else -1
    text = bytes(content[max(stop, 0) : -END])
    if stop < len(line) + 1 or last[1:] != [_digest(text) + "\n"]:
        raise _damaged(path, "its index does not match its digest")
    return json.loads(text), len(line) + 1, stop


def _split(pickles: Stored, lengths: Mapping[str, list[int]]) -> Blobs:
    at = 0
    split: Blobs = {}
    for lane, sizes in lengths.items():
        split[lane] = []
        for size in sizes:
            split[lane].append(bytes(pickles[at : at + size]))
            at += size
    return split


def _digest(content: Stored) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _sign(pickles: Stored, lengths: Mapping[str, list[int]], key: bytes) -> str:
    """Signs the pickles and where each begins and ends."""
    signed = hmac.new(key, json.dumps(lengths, sort_keys=True).encode(), hashlib.sha256)
    signed.update(pickles)
    return signed.hexdigest()


def _damaged(path: Path, why: str) -> CheckpointRefused:
    return CheckpointRefused(
        f"{path}: damaged ({why}); restore it from a backup, or move the state folder away to "
        "start anew (the journal beside it still holds the readings since the last checkpoint)"
    )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
