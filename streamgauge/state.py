"""State as arrays: one packed float64 block per operator, with named fields as views.

Growth, snapshot, restore, eviction and moving devices are written here once, for every operator,
model and detector. An operator owns a `dict[str, Block]`; nothing else of it survives a restart.
"""

import mmap
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from platform import machine
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Block", "Field", "Keys", "put_rows", "reset_rows", "take_rows"]

Float = NDArray[np.float64]


class Keys(StrEnum):
    """What a row of a block stands for."""

    DEVICE = "device"
    """One row per device row; rows follow the device when it moves or is evicted."""
    FLEET = "fleet"
    """One row for the whole stream."""
    GROUP = "group"
    """One row per tag value, for example per site."""
    POOL = "pool"
    """Rows shared by all devices, handed out by the owner."""

    @classmethod
    def shared_by(cls, scope: str) -> "Keys":
        """The keys of models by who shares one: "device", "fleet" or "tag:NAME"."""
        return cls(scope) if scope in (cls.DEVICE, cls.FLEET) else cls.GROUP

    def rows(self, capacity: int) -> int:
        """Rows of a block of these keys, of which there may be `capacity`."""
        return 1 if self is Keys.FLEET else capacity


@dataclass(frozen=True, slots=True)
class Field:
    """A named part of a row: `shape` float64 values, each `start` at first.

    `along` says what its first axis counts ("lanes", "channels", "features"), so that a changed
    configuration finds what stayed; `later` is what a row that lived before has for an addition.
    Where `padded`, the other axes are as long as the longest of them needs, which may change.
    """

    name: str
    shape: tuple[int, ...] = ()
    start: float = 0.0
    along: str = ""
    later: float = 0.0
    padded: bool = False

    @property
    def size(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))


class Block:
    """float64[layers, capacity, width]: `capacity` rows reserved, none of them paid for until used.

    The memory is reserved, not allocated: the system maps a page when it is first written. A fleet
    therefore grows without a copy and without a stall. Fields that start at zero cost nothing until
    a device writes them; others are written when the device's row is handed out.

    `layers` is for state of variable depth (ADWIN's bucket rows, a device's ring of pending
    predictions): layer-major, so that a depth that no device has reached costs nothing. The owner
    keeps in `depth[row]` how many layers a row has in use; snapshots hold only those.
    """

    def __init__(
        self, fields: Iterable[Field], capacity: int, *, keys: Keys = Keys.DEVICE, layers: int = 1
    ) -> None:
        self.fields = tuple(fields)
        self.keys = keys
        self.capacity = capacity
        self.layers = layers
        self.width = max(1, sum(field.size for field in self.fields))
        self.stack = _reserve(layers, capacity, self.width)
        self.array = self.stack[0]
        self.depth: NDArray[Any] = np.zeros(capacity if layers > 1 else 0, np.int64)
        self._offsets: dict[str, tuple[int, Field]] = {}
        self.template = np.zeros(self.width)
        offset = 0
        for field in self.fields:
            self._offsets[field.name] = (offset, field)
            self.template[offset : offset + field.size] = field.start
            offset += field.size
        self.starts_at_zero = bool(np.array_equal(self.template, np.zeros(self.width)))

    def view(self, name: str, layer: int = 0) -> Float:
        """float64[capacity, *shape]: the named field of every row, sharing the block's memory."""
        offset, field = self._offsets[name]
        part = self.stack[layer, :, offset : offset + field.size]
        return part.reshape(self.capacity, *field.shape) if field.shape else part[:, 0]

    def offset(self, name: str) -> int:
        """Column at which the named field begins."""
        return self._offsets[name][0]

    def open(self, rows: NDArray[np.int64]) -> None:
        """Give rows that were never used their starting values (zero rows need nothing)."""
        if not self.starts_at_zero:
            self.stack[:, rows] = self.template

    def open_device(self, rows: NDArray[np.int64]) -> None:
        """:meth:`open` if this block's rows are devices."""
        if self.keys is Keys.DEVICE:
            self.open(rows)

    def reset(self, rows: NDArray[np.int64]) -> None:
        """Return rows to their starting values, as if their device had never been seen."""
        deepest = self._deepest(rows)
        self.stack[:deepest, rows] = self.template
        if self.layers > 1:
            self.depth[rows] = 0

    def take(self, rows: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
        """Copies of the given rows, as arrays that :meth:`put` understands."""
        if self.layers == 1:
            return {"rows": self.array[rows]}
        depth = self.depth[rows]
        parts = [self.stack[k, rows[depth > k]] for k in range(self._deepest(rows))]
        flat = np.concatenate(parts) if parts else np.zeros((0, self.width))
        return {"rows": flat, "depth": depth}

    def put(self, rows: NDArray[np.int64], saved: Mapping[str, NDArray[np.generic]]) -> None:
        """Write rows that :meth:`take` copied, here or in another process."""
        if self.layers == 1:
            self.array[rows] = saved["rows"]
            return
        self.reset(rows)
        depth = saved["depth"].astype(np.int64)
        begin = 0
        for k in range(int(depth.max(initial=0))):
            reached = rows[depth > k]
            self.stack[k, reached] = saved["rows"][begin : begin + len(reached)]
            begin += len(reached)
        self.depth[rows] = depth

    def chosen(
        self, saved: Mapping[str, NDArray[np.generic]], places: NDArray[np.int64]
    ) -> dict[str, NDArray[np.generic]]:
        """Of what :meth:`take` copied, the rows in these places."""
        if self.layers == 1:
            return {"rows": saved["rows"][places]}
        depth = saved["depth"].astype(np.int64)
        own, begin = depth[places], 0
        parts: list[NDArray[np.generic]] = [np.zeros((0, self.width))]
        for k in range(int(depth.max(initial=0))):
            reached = np.cumsum(depth > k) - 1
            parts.append(saved["rows"][begin + reached[places[own > k]]])
            begin += int((depth > k).sum())
        return {"rows": np.concatenate(parts), "depth": own}

    def _deepest(self, rows: NDArray[np.int64]) -> int:
        return 1 if self.layers == 1 else int(self.depth[rows].max(initial=0))

    @property
    def bytes_per_row(self) -> int:
        """Bytes of one row in one layer."""
        return self.width * 8


# Python names it from 3.13 on only. Without it the kernel refuses to reserve more than there is.
_LINUX = 0x4000 if sys.platform == "linux" and machine() in ("x86_64", "aarch64") else 0
NO_RESERVE: int = getattr(mmap, "MAP_NORESERVE", _LINUX)


def _reserve(layers: int, capacity: int, width: int) -> Float:
    size = max(1, layers * capacity * width * 8)
    if size < 1 << 20:
        return np.zeros((layers, capacity, width))
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | NO_RESERVE
    try:
        memory = mmap.mmap(-1, size, flags=flags)
    except OSError as refused:
        raise MemoryError(
            f"cannot reserve {size / 1e9:.1f} GB of address space for {capacity:,} devices "
            f"({refused}); lower devices.limit or the tasks' pending limit"
        ) from refused
    if layers > 1 and hasattr(mmap, "MADV_NOHUGEPAGE"):
        # One huge page per layer would cost 2 MB for each depth that a single device reaches.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(memory, np.float64).reshape(layers, capacity, width)


def take_rows(
    blocks: Mapping[str, Block], rows: NDArray[np.int64]
) -> dict[str, NDArray[np.generic]]:
    """Copies of these devices' rows in every device block, and of the other blocks whole."""
    saved: dict[str, NDArray[np.generic]] = {}
    for name, block in blocks.items():
        chosen = rows if block.keys is Keys.DEVICE else np.arange(block.capacity)
        saved |= {f"{name}.{part}": array for part, array in block.take(chosen).items()}
    return saved


def put_rows(
    blocks: Mapping[str, Block], rows: NDArray[np.int64], saved: Mapping[str, NDArray[np.generic]]
) -> None:
    """Write what :func:`take_rows` copied into these rows."""
    for name, block in _layers_first(blocks):
        chosen = rows if block.keys is Keys.DEVICE else np.arange(block.capacity)
        own = {
            key.removeprefix(f"{name}."): a
            for key, a in saved.items()
            if key.startswith(f"{name}.")
        }
        block.put(chosen, own)


def reset_rows(blocks: Mapping[str, Block], rows: NDArray[np.int64]) -> None:
    """Forget these devices in every device block."""
    for _, block in _layers_first(blocks):
        if block.keys is Keys.DEVICE:
            block.reset(rows)


def _layers_first(blocks: Mapping[str, Block]) -> list[tuple[str, Block]]:
    """How many layers of a block a row has in use may stand in another of the blocks."""
    return sorted(blocks.items(), key=lambda named: -named[1].layers)
