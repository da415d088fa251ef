"""State of one configuration as blocks of another: columns find their place by what they are."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from monitoring import answers, intervals
from monitoring.number_scores import SCORED
from monitoring.signals import RESIDUALS
from stream_processor.changes import ARRANGED, NONE, Changes
from stream_processor.checkpoint import CheckpointRefused
from streamgauge.arrays import Floats
from streamgauge.state import Block, Field, Keys

__all__ = ["Moved", "layout"]

WAITING = ("size", "free", "oldest", "newest", "cursor", "aside", "released")
"""Fields of a device's list of pending predictions: zero where none waits."""
OTHER = {"admit.recent": "devices.duplicates", "arrange.": ARRANGED}
"""How blocks begin, and the part of the configuration that their state belongs to."""
ZONE = "devices.timezone"
"""What the season of a channel is by."""
DRIFTS = "drift.all.totals"
"""Counts of drifts by signal: of what was not watched before there are none."""
Layout = Mapping[str, Sequence[Any]]


def layout(blocks: Mapping[str, Block]) -> dict[str, list[Any]]:
    """What each block's rows are made of; names and shapes only."""
    return {
        name: [block.keys.value, [[f.name, list(f.shape)] for f in block.fields]]
        for name, block in blocks.items()
    }


PENDING = ("labels.ring", "scores.pending", "scores.parts", "scores.halves")
"""Blocks whose layers are the places of predictions that wait for their label."""
MODELS_PENDING, MODELS_SLOTTED = ".waiting", (".device", ".start")
"""How a model calls its own such block, and those whose `slots` say how many it uses."""
SLOTTED = ("scores.device", "scores.answers", "scores.intervals")
AS_SCORED = ("scores.rolling", "scores.chances", "scores.confusion")
"""Blocks that begin anew with the scores."""
"""Blocks whose `slots` say how many places are in use."""


class Moved:
    """Where the arrays of a saved state belong now; made and checked before anything is changed.

    Raises CheckpointRefused where a block that is kept is made of other fields than it was, though
    nothing in the configuration says so.
    """

    def __init__(self, saved: Layout, blocks: Mapping[str, Block], changes: Changes) -> None:
        self._saved, self._changes = saved, changes
        self._counted = [field.name for field in blocks[DRIFTS].fields]
        self._axes = {
            "channels": changes.channels,
            "lanes": changes.lanes,
            "features": changes.columns,
        }
        now = [k for k, old in enumerate(changes.groups) if old != NONE]
        self.groups_now = np.array(now, np.int64)
        """Groups that there were before, and the places that they had."""
        self.groups_then = np.array([changes.groups[k] for k in now], np.int64)
        self._from: dict[str, str] = {}
        for name, block in blocks.items():
            old = self._before(name)
            if old in saved and self._fits(old, name, block):
                self._from[name] = old

    def _before(self, name: str) -> str:
        """The block that this one was; empty where its state starts anew."""
        kind, _, rest = name.partition(".")
        changes = self._changes
        if kind == "features":
            place, _, own = rest.partition(".")
            old = changes.operators[int(place)]
            return "" if old == NONE else f"features.{old}.{own}"
        owner = rest.rpartition(".")[0]
        if not changes.keeps_pending and (name in PENDING or rest.endswith(MODELS_PENDING)):
            return ""
        if kind in ("models", "selection"):
            return name if owner in changes.lane_names else ""
        if kind == "drift":
            seasons = set(RESIDUALS) if ZONE not in changes.other else set()
            return name if owner in {"all", *changes.drift, *seasons} else ""
        if kind == "clean":
            return name if owner in changes.cleaners else ""
        if name == "labels.elsewhere" and not changes.same_elsewhere:
            return ""
        if name in AS_SCORED and not changes.same_scores:
            return ""
        part = next((part for blocks, part in OTHER.items() if name.startswith(blocks)), "")
        return "" if part in changes.other else name

    def _fits(self, old: str, name: str, block: Block) -> bool:
        keys, fields = self._saved[old]
        shapes = {field: tuple(shape) for field, shape in fields}
        fresh = self._fresh(name)
        fits = keys == block.keys.value and all(
            f.name in fresh
            or shapes.get(f.name) == f.shape
            or (f.along and f.name in shapes and (f.padded or shapes[f.name][1:] == f.shape[1:]))
            for f in block.fields
        )
        if not fits:
            raise CheckpointRefused(
                f"the checkpoint's state has another layout in {name} than this version of "
                "streamgauge gives the same configuration; run the version that wrote it, or move "
                "the state folder away to start anew"
            )
        return fits

    def by_group(self, name: str, block: Block) -> bool:
        """Whether the block's rows are those of groups that share models."""
        return block.keys is Keys.GROUP and not name.startswith("features.")

    def arrays(self, name: str, block: Block, part: Mapping[str, Any]) -> dict[str, Any] | None:
        """What `Block.put` takes, of a part of the checkpoint; None where it starts anew."""
        if name not in self._from:
            return None
        old = self._from[name]
        saved = {k: part[f"{old}.{k}"] for k in ("rows", "depth") if f"{old}.{k}" in part}
        return saved | {"rows": self._rows(old, name, block, saved["rows"])}

    def _rows(self, old: str, name: str, block: Block, saved: Floats) -> Floats:
        """The rows with each field where it belongs."""
        n, begin = len(saved), 0
        rows = np.empty((n, block.width))
        rows[:] = block.template
        before: dict[str, Floats] = {}
        for field, shape in self._saved[old][1]:
            size = int(np.prod(shape, dtype=np.int64))
            before[field] = saved[:, begin : begin + size].reshape(n, *shape)
            begin += size
        fresh = self._fresh(name)
        for field in block.fields:
            if field.name not in fresh:
                values = before[field.name]
                if field.padded:
                    values = _padded(values, field)
                if field.along:
                    values = _along(values, self._axes[field.along], field.later)
                start = block.offset(field.name)
                rows[:, start : start + field.size] = values.reshape(n, field.size)
        return rows

    def _fresh(self, name: str) -> set[str]:
        """Fields that start anew in a block that is kept."""
        fields: set[str] = set()
        if name == DRIFTS:
            fields |= {*self._counted} - {field for field, _ in self._saved[name][1]}
        if name == "labels.head" and not self._changes.keeps_pending:
            fields |= set(WAITING)
        if name in SLOTTED and not self._changes.keeps_pending:
            fields.add("slots")
        if name.endswith(MODELS_SLOTTED) and not self._changes.keeps_pending:
            fields.add("slots")
        if name in ("scores.device", "scores.fleet") and not self._changes.same_scores:
            fields |= {*SCORED, "chunks", "recent"}
        if name.startswith("scores.intervals") and not self._changes.same_scores:
            fields |= {*intervals.SCORED}
        if name.startswith("scores.answers") and not self._changes.same_scores:
            fields |= {*answers.SCORED, "confusion", "chunks", "recent"}
        return fields


def _padded(values: Floats, field: Field) -> Floats:
    """The values with all axes but the first as long as they are now."""
    found = np.full((*values.shape[:2], *field.shape[1:]), field.later)
    both = np.minimum(field.shape[1:], values.shape[2:]).tolist()
    part = (slice(None), slice(None), *(slice(size) for size in both))
    found[part] = values[part]
    return found


def _along(values: Floats, places: Sequence[int], later: float) -> Floats:
    """The values of the parts of now, `later` for those that were not there."""
    moved = np.full((len(values), len(places), *values.shape[2:]), later)
    for k, place in enumerate(places):
        if place != NONE:
            moved[:, k] = values[:, place]
    return moved
