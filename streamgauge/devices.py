"""Devices and the rows that their state lives in."""

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamgauge.tags import Tags

__all__ = ["Devices"]

REFUSED = -1


class Devices:
    """Device id ↔ row. The id is permanent; the row is recycled once the device is evicted.

    Rows are handed out in order of arrival, smallest free row first, so the same stream gives the
    same rows however it was cut into batches. At most `limit` devices are known at a time; the
    readings of a device beyond it get row -1 and are counted by the codec.

    `tags` are what is known of devices beforehand.
    """

    def __init__(self, limit: int, tags: Tags | None = None) -> None:
        self.limit = limit
        self.tags = tags or Tags((), {})
        self._watched: dict[str, NDArray[np.int64]] = {}
        self.row_of: dict[str, int] = {}
        self.ids: list[str | None] = []
        self.retired: dict[str, int] = {}
        """Readings of devices that were evicted, the last `limit` of them: a device that returns
        goes on counting, so that no two of its predictions have the same id."""
        self.away: Container[str] = ()
        """Devices that have no row, and whose state is kept."""
        self._free: list[int] = []
        self._fresh: list[int] = []

    def __len__(self) -> int:
        """Rows handed out so far, free ones included: the height of every device block."""
        return len(self.ids)

    @property
    def known(self) -> int:
        """Devices that have a row now."""
        return len(self.row_of)

    def row(self, device: str) -> int:
        """The device's row, a new one if it is unknown, or -1 beyond the limit."""
        row = self.row_of.get(device)
        return self._admit(device) if row is None else row

    def rows(self, devices: Sequence[str]) -> list[int]:
        """One row per id, in order."""
        get = self.row_of.__getitem__
        try:
            return list(map(get, devices))
        except KeyError:
            return [self.row(device) for device in devices]

    def recall(self, device: str) -> int:
        """The device's row, a new one if it is away; -1 if it is unknown, or beyond the limit."""
        row = self.row_of.get(device)
        if row is None:
            return self._admit(device) if device in self.away else REFUSED
        return row

    def _admit(self, device: str) -> int:
        if len(self.row_of) >= self.limit:
            return REFUSED
        if self._free:
            row = self._free.pop()
            self.ids[row] = device
        else:
            row = len(self.ids)
            self.ids.append(device)
        self.row_of[device] = row
        self._fresh.append(row)
        self._moved_in(row, device)
        return row

    def _moved_in(self, row: int, device: str) -> None:
        self.tags.place(row, device)
        if device in self._watched:
            self._watched[device][0] = row

    def watch(self, device: str) -> NDArray[np.int64]:
        """int64[1]: the row of this device as long as it has one, else -1; kept from now on."""
        place = self._watched.setdefault(device, np.full(1, REFUSED, np.int64))
        place[0] = self.row_of.get(device, REFUSED)
        return place

    def fresh(self) -> NDArray[np.int64]:
        """Rows handed out since the last call: their state must be opened before it is used."""
        rows = np.array(self._fresh, np.int64)
        self._fresh.clear()
        return rows

    @property
    def has_fresh(self) -> bool:
        return bool(self._fresh)

    def evict(self, rows: Iterable[int], readings: Iterable[int]) -> None:
        """Forget these devices, of which each had so many `readings`; their rows may be handed out
        again, smallest first.

        `ids` becomes a new list: who holds the old one still reads the old names from it.
        """
        self.ids = list(self.ids)
        for row, count in zip(rows, readings, strict=True):
            device = self.ids[row]
            if device is not None:
                del self.row_of[device]
                self.ids[row] = None
                self._free.append(row)
                if device in self._watched:
                    self._watched[device][0] = REFUSED
                if count:
                    self.retired[device] = count
        while len(self.retired) > self.limit:
            del self.retired[next(iter(self.retired))]
        self._free.sort(reverse=True)

    def returned(self, row: int) -> int:
        """Readings that the device in this row had before it was evicted; asked once."""
        return self.retired.pop(self.ids[row] or "", 0)

    def snapshot(self) -> dict[str, Any]:
        """Id of every row, None where the row is free, and the retired; JSON-able."""
        return {"ids": list(self.ids), "retired": dict(self.retired)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over what :meth:`snapshot` gave."""
        self.ids = list(saved["ids"])
        self.retired = dict(saved["retired"])
        self.row_of = {device: row for row, device in enumerate(self.ids) if device is not None}
        self._free = [row for row, device in enumerate(self.ids) if device is None]
        self._free.sort(reverse=True)
        self._fresh = list(self.row_of.values())
        for place in self._watched.values():
            place[0] = REFUSED
        for device, row in self.row_of.items():
            self._moved_in(row, device)
