"""State of device rows, or what all share, as parts of a checkpoint, and back."""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

from models.cold_start import ColdStart
from models.learner import Blobs, Learner
from stream_processor.checkpoint import Part
from stream_processor.moved import Moved
from streamgauge.arrays import Ints
from streamgauge.schedule import Lane
from streamgauge.state import Block, Keys, take_rows

__all__ = ["Models", "dumped", "models_of", "put", "taken"]

Models = Mapping[str, Learner]
"""By the name of their lane."""


def models_of(learners: Sequence[Learner], lanes: Sequence[Lane], keys: Keys) -> Models:
    """Learners of these keys whose models only their own library understands, and those that the
    fleet has beside each device's."""
    beside = [one.fleet for one in learners if isinstance(one, ColdStart)]
    return {
        lanes[one.lane].name: one
        for one in [*learners, *beside]
        if one.blobs is not None and getattr(one, "keys", Keys.DEVICE) is keys
    }


def dumped(models: Models, rows: Ints) -> dict[str, list[bytes]]:
    """Their pickles, one per row."""
    return {name: one.blobs.dump(rows) for name, one in models.items() if one.blobs is not None}


def taken(blocks: Mapping[str, Block], models: Models, rows: Ints) -> Part:
    """A copy of these device rows in blocks and models that are kept by device."""
    return Part(rows, take_rows(blocks, rows), dumped(models, rows))


def put(
    blocks: Mapping[str, Block],
    models: Models,
    part: Part,
    moved: Moved | None,
    kept: Collection[str] | None,
) -> None:
    """Write a part into blocks and models of its keys, at its rows.

    `moved` says where arrays belong in another configuration, `kept` which lanes have their models
    still; None: the same, all.
    """
    for name, block in blocks.items():
        if (block.keys is Keys.DEVICE) != (part.rows is not None):
            continue
        if moved is None:
            names = {key: f"{name}.{key}" for key in ("rows", "depth")}
            saved = {key: part.arrays[own] for key, own in names.items() if own in part.arrays}
        else:
            found = moved.arrays(name, block, part.arrays)
            if found is None:
                continue
            saved = found
        rows = np.arange(block.capacity) if part.rows is None else part.rows
        if moved is not None and moved.by_group(name, block):
            rows, saved = moved.groups_now, block.chosen(saved, moved.groups_then)
        block.put(rows, saved)
    for name, one in models.items():
        if one.blobs is not None and name in part.blobs and (kept is None or name in kept):
            _load(one.blobs, one.keys, part.blobs[name], part.rows, moved)


def _load(
    blobs: Blobs, keys: Keys, saved: Sequence[bytes], rows: Ints | None, moved: Moved | None
) -> None:
    """Hand back pickles of these device rows, or of what devices share."""
    if moved is not None and keys is Keys.GROUP:
        blobs.load(moved.groups_now, [saved[place] for place in moved.groups_then])
    else:
        blobs.load(np.arange(len(saved)) if rows is None else rows, saved)
