"""Devices that were idle for long: their state leaves the memory, and comes back when they do."""

import json
import platform
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import numpy as np

import streamgauge
from stream_processor.changes import Changes, compare
from stream_processor.checkpoint import CheckpointRefused
from stream_processor.evicted import Evicted, stored
from stream_processor.moved import Moved, layout
from stream_processor.parts import models_of, put, taken
from stream_processor.stages import Stages
from streamgauge.arrays import Ints
from streamgauge.state import Block, Keys

__all__ = ["AT_ONCE", "Eviction", "moved_to", "origin_of", "pickled_by"]

AT_ONCE = 32
"""Devices that one tick evicts at most: some 20 ms, in which nothing else is done."""


def pickled_by() -> str:
    """Who pickles River models here, and may load such pickles."""
    return f"river {version('river')} on Python {platform.python_version()}"


def origin_of(blocks: Mapping[str, Block], definition: Mapping[str, Any]) -> dict[str, Any]:
    """What a saved state was made by and for; JSON-able."""
    return {
        "streamgauge": streamgauge.__version__,
        "models_pickled_by": pickled_by(),
        "definition": dict(definition),
        "layout": layout(blocks),
    }


def moved_to(
    blocks: Mapping[str, Block], origin: Mapping[str, Any], changes: Changes | None
) -> Moved | None:
    """Where the arrays of a saved state belong now, None where nothing changed; CheckpointRefused
    where they fit nowhere."""
    if changes is not None:
        return Moved(origin["layout"], blocks, changes)
    if origin["layout"] != layout(blocks):
        raise CheckpointRefused(
            "the checkpoint's state has another layout than this version of streamgauge gives the "
            f"same configuration (it was written by {origin['streamgauge']}); run that version, or "
            "move the state folder away to start anew"
        )
    return None


class Eviction:
    """Takes idle devices out of the blocks and models of a walk, into `store`, and back.

    A device leaves once nothing is due to it any more: the clock alone would change nothing of what
    it left behind. So what comes after its return is what would have come had it stayed.
    """

    def __init__(self, stages: Stages, definition: Mapping[str, Any], most: int) -> None:
        """`definition` says what was configured (`stream_processor.definition`); `most` bytes of
        state are kept of devices that left."""
        self.store = Evicted(most)
        self._stages = stages
        blocks = stages.blocks()
        self._definition = definition
        self._all = blocks
        self._origin = json.dumps(origin_of(blocks, definition))
        self._blocks = {name: one for name, one in blocks.items() if one.keys is Keys.DEVICE}
        self._models = models_of(stages.learners, stages.lanes, Keys.DEVICE)
        self._known_for = max((getattr(op, "known_for", 0) for op in stages.features), default=0)
        self._places: dict[str, tuple[Moved | None, set[str] | None]] = {self._origin: (None, None)}
        """By origin: where its arrays belong now, and which lanes have their models still."""

    def idle(self, clock: int, after: int) -> Ints:
        """Device rows of which nothing was admitted, or retained, for so long before `clock`, and
        to which nothing is due; the first of them."""
        stages, rows = self._stages, len(self._stages.devices)
        before = clock - max(after, self._known_for)
        received = stages.admit.blocks["admit"].view("received")[:rows]
        seen = np.maximum(received, stages.retained.received[:rows])
        found = np.flatnonzero((seen > 0.0) & (seen < before))
        if not len(found):
            return found
        due = stages.join.owes(found) | stages.silence.listens(found)
        if stages.arrange is not None:
            due |= stages.arrange.waits(rows)[found]
        return found[~due][:AT_ONCE]

    def keep(self, rows: Ints) -> bool:
        """Store the state of these devices; False where that failed, and they must stay."""
        ids = self._stages.devices.ids
        parts = {
            ids[row] or "": taken(self._blocks, self._models, np.array([row]))
            for row in rows.tolist()
        }
        return self.store.add(parts, self._origin)

    def bring_back(self, row: int) -> bool:
        """Put the stored state of the device in this row there; False where there is none."""
        found = self.store.take(self._stages.devices.ids[row] or "")
        if found is None:
            return False
        origin, part = found
        moved, kept = self._place(origin)
        part.rows = np.array([row])
        put(self._blocks, self._models, part, moved, kept)
        return True

    def back_to(self, facts: Mapping[str, Any]) -> None:
        """Have in the store what was there when a checkpoint with these facts was written.
        CheckpointRefused where a state in it cannot become one of the configuration of now."""
        for origin in self.store.back_to(stored(facts), facts["devices"]["ids"]):
            self._place(origin)

    def _place(self, origin: str) -> tuple[Moved | None, set[str] | None]:
        if origin not in self._places:
            made = json.loads(origin)
            same = made["definition"] == self._definition
            changes = None if same else compare(made["definition"], self._definition)
            kept = None if changes is None else changes.lane_names
            if made["models_pickled_by"] != pickled_by():
                kept = set()
            self._places[origin] = moved_to(self._all, made, changes), kept
        return self._places[origin]
