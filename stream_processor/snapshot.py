"""A walk's state as a checkpoint, and back."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from stream_processor.changes import Changes
from stream_processor.checkpoint import Checkpoint, CheckpointRefused, Part
from stream_processor.copying import Copy
from stream_processor.eviction import moved_to, origin_of, pickled_by
from stream_processor.parts import models_of, put
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
    walk.open()
    stages = walk.stages
    facts = {
        **origin_of(walk.blocks, definition),
        "devices": stages.devices.snapshot(),
        "evicted": walk.eviction.store.facts,
        "clock": walk.clock,
        "place": dict(place),
    }
    rows = len(stages.devices)
    groups = len(stages.groups)
    walk.copying = Copy(walk.blocks, stages.learners, stages.lanes, rows, give, groups)
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
    moved = moved_to(walk.blocks, facts, changes)
    has_models = any(learner.blobs is not None for learner in walk.stages.learners)
    if has_models and facts["models_pickled_by"] != pickled_by():
        raise CheckpointRefused(
            f"the River models were pickled by {facts['models_pickled_by']}, this is "
            f"{pickled_by()}; pickles do not survive an upgrade: go back to those versions, or "
            "move the state folder away and replay your recordings to start anew"
        )
    _refuse_too_many(facts["devices"]["ids"], walk.stages.devices.limit)
    walk.stages.devices.restore(facts["devices"])
    rows = np.arange(len(walk.stages.devices))
    for block in walk.blocks.values():
        block.open_device(rows)
    walk.stages.devices.fresh()
    walk.eviction.back_to(facts)
    models = {keys: models_of(walk.stages.learners, walk.stages.lanes, keys) for keys in Keys}
    shared = {**models[Keys.FLEET], **models[Keys.GROUP]}
    kept = None if changes is None else changes.lane_names
    for part in checkpoint.parts:
        own = shared if part.rows is None else models[Keys.DEVICE]
        put(walk.blocks, own, part, moved, kept)
    walk.clock = facts["clock"]
    place: dict[str, Any] = facts["place"]
    return place if changes is None else changes.place(place)


def _refuse_too_many(ids: Sequence[str | None], limit: int) -> None:
    """Rows that evicted devices left free count too: every one of them needs its place."""
    if len(ids) > limit:
        raise CheckpointRefused(
            f"the checkpoint holds {len(ids):,} devices, devices.limit is {limit:,} now; set it to "
            f"{len(ids)} or more, or give [state] another dir (or move the folder away) to start "
            "anew"
        )
