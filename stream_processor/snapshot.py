"""A walk's state as a checkpoint, and back."""

import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

import streamgauge
from stream_processor.changes import Changes
from stream_processor.checkpoint import Checkpoint, CheckpointRefused, Part
from stream_processor.copying import Copy, keys_of
from stream_processor.moved import Moved, layout
from stream_processor.walk import Walk
from streamgauge.state import Keys

__all__ = ["begin", "capture", "restore"]


def begin(
    walk: Walk,
    definition: Mapping[str, Any],
    place: Mapping[str, Any],
    give: Callable[[Part | None], None],
) -> dict[str, Any]:
    """Begin to copy everything the walk would need to go on as it is now; returns the facts.

    Call it between batches. The parts come to `give`, the first ones now, the others while the walk
    goes on, None behind the last. `definition` says what was configured, part by part;
    `place` is the position in the log.
    """
    stages = walk.stages
    facts = {
        "streamgauge": streamgauge.__version__,
        "models_pickled_by": _pickled_by(),
        "definition": dict(definition),
        "layout": layout(walk.blocks),
        "devices": stages.devices.snapshot(),
        "clock": walk.clock,
        "place": dict(place),
    }
    rows = len(stages.devices)
    walk.copying = Copy(walk.blocks, stages.learners, stages.lanes, rows, give)
    return facts


def capture(walk: Walk, definition: Mapping[str, Any], place: Mapping[str, Any]) -> Checkpoint:
    """The state as it is now, copied at once; see `begin`."""
    parts: list[Part | None] = []
    facts = begin(walk, definition, place, parts.append)
    walk.copied()
    return Checkpoint(facts, [part for part in parts if part is not None])


def restore(walk: Walk, checkpoint: Checkpoint, changes: Changes | None = None) -> dict[str, Any]:
    """Put a fresh walk into the checkpoint's state; returns the position in the log.

    `changes` say what of it the configuration of now keeps; None where it is the same. Raises
    CheckpointRefused, before anything is changed, when the state does not fit, or its pickled
    models are of other versions.
    """
    facts = checkpoint.facts
    moved = None
    if changes is not None:
        moved = Moved(facts["layout"], walk.blocks, changes)
    elif facts["layout"] != layout(walk.blocks):
        raise CheckpointRefused(
            "the checkpoint's state has another layout than this version of streamgauge gives the "
            f"same configuration (it was written by {facts['streamgauge']}); run that version, or "
            "move the state folder away to start anew"
        )
    has_models = any(learner.blobs is not None for learner in walk.stages.learners)
    if has_models and facts["models_pickled_by"] != _pickled_by():
        raise CheckpointRefused(
            f"the River models were pickled by {facts['models_pickled_by']}, this is "
            f"{_pickled_by()}; pickles do not survive an upgrade: go back to those versions, or "
            "move the state folder away and replay your recordings to start anew"
        )
    _refuse_too_many(facts["devices"]["ids"], walk.stages.devices.limit)
    walk.stages.devices.restore(facts["devices"])
    rows = np.arange(len(walk.stages.devices))
    for block in walk.blocks.values():
        block.open_device(rows)
    walk.stages.devices.fresh()
    for part in checkpoint.parts:
        _put_blocks(walk, part, moved)
        _put_blobs(walk, part, None if changes is None else changes.lane_names)
    walk.clock = facts["clock"]
    place: dict[str, Any] = facts["place"]
    return place if changes is None else changes.place(place)


def _put_blocks(walk: Walk, part: Part, moved: Moved | None) -> None:
    """Write the arrays of one part of a checkpoint into the walk."""
    for name, block in walk.blocks.items():
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
        block.put(np.arange(block.capacity) if part.rows is None else part.rows, saved)


def _put_blobs(walk: Walk, part: Part, kept: set[str] | None) -> None:
    """Load the pickled models of one part, of the lanes that are kept (None: all)."""
    rows = np.zeros(1, np.int64) if part.rows is None else part.rows
    for learner in walk.stages.learners:
        name = walk.stages.lanes[learner.lane].name
        of_devices = keys_of(learner) is Keys.DEVICE
        if learner.blobs is None or of_devices != (part.rows is not None):
            continue
        if kept is None or name in kept:
            learner.blobs.load(rows, part.blobs[name])


def _pickled_by() -> str:
    return f"river {version('river')} on Python {platform.python_version()}"


def _refuse_too_many(ids: Sequence[str | None], limit: int) -> None:
    """Rows that evicted devices left free count too: every one of them needs its place."""
    if len(ids) > limit:
        raise CheckpointRefused(
            f"the checkpoint holds {len(ids):,} devices, devices.limit is {limit:,} now; set it to "
            f"{len(ids)} or more, or give [state] another dir (or move the folder away) to start "
            "anew"
        )
