"""A disk that is really full: nothing acknowledged is lost, and all goes on when there is room."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamgauge.delivery import Delivery
from tests.services.ports import wait_for
from tests.streams import BEGIN
from tests.test_walk import state
from tests.workers import Stand, killed


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system of two megabytes, in memory."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("a small file system cannot be mounted here; that takes root")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that leaves no room."""
    free, path = os.statvfs(folder), folder / "filler"
    path.write_bytes(bytes(free.f_bavail * free.f_frsize))
    return path


def padded(stand: Stand, numbers: range) -> None:
    """Readings whose messages need more room than a checkpoint could make."""
    for k in numbers:
        reading = {"device": "d", "time": BEGIN / 1e6 + k, "load": float(k % 7), "pad": "x" * 9_000}
        payload = json.dumps(reading).encode()
        stand.source.messages.append(Delivery(0, [payload], ["t"], [stand.now], tokens=[k]))


def test_a_full_disk_stops_acknowledging_and_loses_nothing(tmp_path: Path, small: Path) -> None:
    """Journal and checkpoint say that there is no room; once there is, everything is acknowledged
    in order, and the state after a kill is that of a run that had room all the time."""
    whole = Stand(tmp_path / "whole", every="50ms").start()
    padded(whole, range(60))
    wait_for(lambda: whole.admitted() == 60)
    whole.worker.stop()

    stand = Stand(small, every="50ms").start()
    padded(stand, range(10))
    wait_for(lambda: stand.source.acknowledged == list(range(10)))
    filler = fill(small)
    padded(stand, range(10, 60))
    wait_for(lambda: not stand.worker.journal_state["ok"] and not stand.worker.checkpoints["ok"])
    assert "no space" in stand.worker.journal_state["why"]
    assert "checkpoint" in stand.worker.checkpoints["why"]
    assert len(stand.source.acknowledged) < 60
    filler.unlink()
    wait_for(lambda: stand.source.acknowledged == list(range(60)))
    wait_for(lambda: bool(stand.worker.journal_state["ok"] and stand.worker.checkpoints["ok"]))
    wait_for(lambda: stand.admitted() == 60)
    killed(stand)

    again = Stand(small)
    again.worker.recover()
    assert again.admitted() == 60
    assert state(again.pipeline) == state(whole.pipeline)
    again.worker.stop()
