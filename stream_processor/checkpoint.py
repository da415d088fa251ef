"""All state and the place in the log, in one file, written in one step.

The file is a line of text (magic and format version), a JSON header with lengths and digests, then
the arrays as safetensors and, where models are opaque, their blobs. It is written beside the old
one, synced, and renamed over it: a crash leaves one or the other, whole. Reading verifies first and
loads after: a damaged, foreign or newer checkpoint is refused and nothing of it is used.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

__all__ = ["Checkpoint", "CheckpointRefused", "read", "write"]

MAGIC = b"streamgauge checkpoint "
FORMAT = 1
Arrays = dict[str, NDArray[Any]]


class CheckpointRefused(Exception):
    """The checkpoint cannot be used; the message says why and what to do. Nothing was loaded."""


@dataclass(slots=True)
class Checkpoint:
    """State at one moment, detached from the running walk.

    `arrays` by block and part; `facts` are small and JSON-able (devices, positions, definitions);
    `blobs` are pickles by lane, one per device row.
    """

    arrays: Arrays
    facts: dict[str, Any]
    blobs: dict[str, list[bytes]] = field(default_factory=dict)


def write(path: Path, checkpoint: Checkpoint, key: bytes) -> int:
    """Write the checkpoint in one atomic step, durable on return; returns its size in bytes."""
    tensors = save_tensors({name: np.ascontiguousarray(a) for name, a in checkpoint.arrays.items()})
    blobs = b"".join(blob for lane in checkpoint.blobs.values() for blob in lane)
    header = {
        "facts": checkpoint.facts,
        "blobs": {lane: [len(blob) for blob in blobs] for lane, blobs in checkpoint.blobs.items()},
        "tensors": {"bytes": len(tensors), "digest": _digest(tensors)},
        "pickles": {"bytes": len(blobs), "signature": _sign(blobs, key)},
    }
    text = json.dumps(header).encode()
    start = MAGIC + f"{FORMAT} {len(text)} {_digest(text)}\n".encode()
    beside = path.with_suffix(".new")
    with beside.open("wb") as file:
        for part in (start, text, tensors, blobs):
            file.write(part)
        file.flush()
        os.fsync(file.fileno())
        size = file.tell()
    beside.replace(path)
    _sync_folder(path.parent)
    return size


def read(path: Path, key: bytes) -> Checkpoint:
    """The checkpoint in that file, verified; raises CheckpointRefused or FileNotFoundError."""
    content = path.read_bytes()
    header, start = _header(path, content)
    size = header["tensors"]["bytes"]
    tensors = content[start : start + size]
    pickles = content[start + size :]
    whole = _digest(tensors) == header["tensors"]["digest"]
    if not whole or len(pickles) != header["pickles"]["bytes"]:
        raise _damaged(path, "its arrays do not match their digest")
    if pickles and not hmac.compare_digest(_sign(pickles, key), header["pickles"]["signature"]):
        raise CheckpointRefused(
            f"{path}: its River models were not signed with this machine's key, so they are not "
            "unpickled; put the key of the machine that wrote it in place (STREAMGAUGE_KEY_FILE), "
            "or move the state folder away to start anew"
        )
    return Checkpoint(load_tensors(tensors), header["facts"], _split(pickles, header["blobs"]))


def _header(path: Path, content: bytes) -> tuple[dict[str, Any], int]:
    line, found, _ = content.partition(b"\n")
    words = line.removeprefix(MAGIC).split()
    if not found or not line.startswith(MAGIC) or len(words) != 3 or not words[0].isdigit():
        raise _damaged(path, "it does not begin as a checkpoint does")
    version = int(words[0])
    if version != FORMAT:
        raise CheckpointRefused(
            f"{path}: format {version}, this version of streamgauge reads format {FORMAT}; "
            "run the version that wrote it, or move the state folder away to start anew"
        )
    start = len(line) + 1
    text = content[start : start + int(words[1])] if words[1].isdigit() else b""
    if _digest(text) != words[2].decode(errors="replace"):
        raise _damaged(path, "its header does not match its digest")
    return json.loads(text), start + len(text)


def _split(pickles: bytes, lengths: Mapping[str, list[int]]) -> dict[str, list[bytes]]:
    at = 0
    split: dict[str, list[bytes]] = {}
    for lane, sizes in lengths.items():
        split[lane] = []
        for size in sizes:
            split[lane].append(pickles[at : at + size])
            at += size
    return split


def _digest(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _sign(content: bytes, key: bytes) -> str:
    return hmac.new(key, content, hashlib.sha256).hexdigest()


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
