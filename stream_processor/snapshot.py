"""A walk's state as a checkpoint, and back."""

import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

import streamgauge
from models.learner import Learner
from stream_processor.checkpoint import Checkpoint, CheckpointRefused
from stream_processor.walk import Walk
from streamgauge.arrays import Ints
from streamgauge.state import Block, Keys, put_rows, take_rows

__all__ = ["capture", "restore"]


def capture(walk: Walk, definition: Mapping[str, Any], place: Mapping[str, Any]) -> Checkpoint:
    """Copy everything the walk would need to go on; call it between batches.

    `definition` says what was configured, part by part: a restart must match it. `place` is the
    position in the log.
    """
    rows = np.arange(len(walk.stages.devices))
    blobs = {
        walk.stages.lanes[learner.lane].name: learner.blobs.dump(_models(learner, rows))
        for learner in walk.stages.learners
        if learner.blobs is not None
    }
    facts = {
        "streamgauge": streamgauge.__version__,
        "models_pickled_by": _pickled_by(),
        "definition": dict(definition),
        "layout": _layout(walk.blocks),
        "devices": walk.stages.devices.snapshot(),
        "clock": walk.clock,
        "place": dict(place),
    }
    return Checkpoint(take_rows(walk.blocks, rows), facts, blobs)


def restore(walk: Walk, checkpoint: Checkpoint, definition: Mapping[str, Any]) -> dict[str, Any]:
    """Put a fresh walk into the checkpoint's state; returns the position in the log.

    Raises CheckpointRefused, before anything is changed, when the checkpoint is of another
    configuration or its pickled models of other versions.
    """
    facts = checkpoint.facts
    _refuse_other(facts["definition"], definition)
    if facts["layout"] != _layout(walk.blocks):
        raise CheckpointRefused(
            "the checkpoint's state has another layout than this version of streamgauge gives the "
            f"same configuration (it was written by {facts['streamgauge']}); run that version, or "
            "move the state folder away to start anew"
        )
    if checkpoint.blobs and facts["models_pickled_by"] != _pickled_by():
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
    put_rows(walk.blocks, rows, checkpoint.arrays)
    for learner in walk.stages.learners:
        if learner.blobs is not None:
            blobs = checkpoint.blobs[walk.stages.lanes[learner.lane].name]
            learner.blobs.load(_models(learner, rows), blobs)
    walk.clock = facts["clock"]
    place: dict[str, Any] = facts["place"]
    return place


def _models(learner: Learner, rows: Ints) -> Ints:
    """The rows of a learner's models, the device rows in use being these."""
    return rows if learner.keys is Keys.DEVICE else np.zeros(1, np.int64)


def _pickled_by() -> str:
    return f"river {version('river')} on Python {platform.python_version()}"


def _layout(blocks: Mapping[str, Block]) -> dict[str, list[Any]]:
    """What each block's rows are made of; names and shapes only."""
    return {
        name: [block.keys.value, [[f.name, list(f.shape)] for f in block.fields]]
        for name, block in blocks.items()
    }


def _refuse_other(saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    changed = sorted(part for part in {*saved, *now} if saved.get(part) != now.get(part))
    if changed:
        raise CheckpointRefused(
            f"the configuration changed since the checkpoint was written: {_list(changed)}; "
            "put it back, or give [state] another dir (or move the folder away) to start anew"
        )


def _refuse_too_many(ids: Sequence[str | None], limit: int) -> None:
    """Rows that evicted devices left free count too: every one of them needs its place."""
    if len(ids) > limit:
        raise CheckpointRefused(
            f"the checkpoint holds {len(ids):,} devices, devices.limit is {limit:,} now; set it to "
            f"{len(ids)} or more, or give [state] another dir (or move the folder away) to start "
            "anew"
        )


def _list(parts: Sequence[str]) -> str:
    return ", ".join(parts)
