"""The journal when the power fails: what was promised is there, whatever else is lost."""

from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.journal import Journal, JournalFull
from streamgauge.delivery import Delivery
from tests.power import PowerLost, UnsafeDisk


def message(number: int, size: int) -> Delivery:
    """A numbered message, padded to a size."""
    return Delivery(payloads=[b"%d" % number + b" " * size], topics=["t"], received=[number])


class Run:
    """What a service does with its journal until the power fails."""

    def __init__(self, folder: Path, chance: Random, *, sync: bool, last: int) -> None:
        self.folder, self.chance, self.sync = folder, chance, sync
        self.disk = UnsafeDisk(last=last)
        self.written, self.acknowledged, self.checkpoint = 0, 0, (0, 0)
        """Messages; of which so many are acknowledged; place and messages of the checkpoint."""
        self.checkpoints = 0.2
        """How often there is one."""

    def go_on(self) -> None:
        """Groups of messages, and now and then a checkpoint, until the power is gone."""
        try:
            journal = Journal(self.folder, segment_bytes=3_000, sync=self.sync, disk=self.disk)
        except PowerLost:
            return
        try:
            while True:
                self._round(journal)
        except PowerLost:
            journal.close()

    def _round(self, journal: Journal) -> None:
        group = range(self.written, self.written + self.chance.randint(1, 4))
        sizes = [self.chance.choice([0, 40, 700, 1_500]) for _ in group]
        self.written = group.stop
        place = journal.append(*map(message, group, sizes))[-1]
        self.acknowledged = group.stop
        if self.chance.random() < self.checkpoints:
            self.checkpoint = place, group.stop
            journal.trim(place)

    def found(self) -> list[int]:
        """Messages that a restart reads again behind the checkpoint, once the power is back."""
        self.disk.lose_power(self.chance)
        journal = Journal(self.folder, sync=self.sync)
        try:
            return [int(delivery.payloads[0]) for delivery in journal.read(self.checkpoint[0])]
        finally:
            journal.close()


CUTS = st.integers(0, 250)
SEEDS = st.integers(0, 2**32)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(SEEDS, CUTS)
def test_what_was_acknowledged_survives_a_loss_of_power(
    tmp_path_factory: pytest.TempPathFactory, seed: int, last: int
) -> None:
    """With `durability = "power"`, wherever the power fails, whatever the disk keeps of the rest:
    every message behind the checkpoint is there, in order, and what else is there was sent."""
    run = Run(tmp_path_factory.mktemp("power"), Random(seed), sync=True, last=last)
    run.go_on()
    found = run.found()
    assert found == list(range(run.checkpoint[1], run.checkpoint[1] + len(found)))
    assert run.acknowledged <= run.checkpoint[1] + len(found) <= run.written


@settings(max_examples=400, deadline=None, derandomize=True)
@given(SEEDS, CUTS)
def test_what_the_end_of_a_process_may_cost_with_the_power(
    tmp_path_factory: pytest.TempPathFactory, seed: int, last: int
) -> None:
    """With `durability = "process"` a start finds an unbroken beginning of what was behind the
    checkpoint, and is never refused."""
    run = Run(tmp_path_factory.mktemp("process"), Random(seed), sync=False, last=last)
    run.go_on()
    found = run.found()
    assert found == list(range(run.checkpoint[1], run.checkpoint[1] + len(found)))


def lost(folder: Path, *, sync: bool) -> int:
    """Acknowledged messages that are gone after some losses of power."""
    missing = 0
    for seed in range(30):
        run = Run(folder / str(seed), Random(seed), sync=sync, last=60 + seed)
        run.go_on()
        missing += max(0, run.acknowledged - run.checkpoint[1] - len(run.found()))
    return missing


def test_only_the_level_power_keeps_its_promise(tmp_path: Path) -> None:
    """The disk above does lose what was not synced: the other level shows it."""
    assert lost(tmp_path / "power", sync=True) == 0
    assert lost(tmp_path / "process", sync=False) > 0


def test_a_service_goes_on_after_several_losses_of_power(tmp_path: Path) -> None:
    """A journal that was mended is a journal like any other: it can be lost and mended again."""
    chance, there = Random(5), 0
    for life in range(12):
        run = Run(tmp_path, chance, sync=True, last=40 + 9 * life)
        run.written = run.acknowledged = there
        run.checkpoints = 0.0
        run.go_on()
        found = run.found()
        assert found == list(range(len(found)))
        assert there <= run.acknowledged <= len(found)
        there = len(found)
    assert there > 100


def test_a_full_disk_takes_nothing_by_half_and_goes_on_when_there_is_room(tmp_path: Path) -> None:
    """A group that does not fit leaves no trace, even where its beginning was written."""
    disk = UnsafeDisk(room=2_000)
    journal = Journal(tmp_path, sync=True, disk=disk)
    journal.append(message(0, 700))
    with pytest.raises(JournalFull, match="no space"):
        journal.append(message(1, 700), message(2, 700))
    assert [d.received for d in journal.read()] == [[0]]
    disk.room = 4_000
    journal.append(message(1, 700), message(2, 700))
    assert [d.received for d in journal.read()] == [[0], [1], [2]]
    journal.close()
