"""The worker: checkpoint and recovery."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stream_processor import worker
from stream_processor.checkpoint import CheckpointRefused
from stream_processor.evicted import FILE
from stream_processor.worker import CHECKPOINT
from tests.services.ports import wait_for
from tests.streams import COMPILED, RIVER, SECOND
from tests.test_walk import state
from tests.workers import CONFIG, Stand, killed


@pytest.mark.parametrize("model", [COMPILED, RIVER])
def test_a_killed_worker_goes_on_from_checkpoint_and_journal(tmp_path: Path, model: str) -> None:
    """State after checkpoint, kill, recovery and more readings: the same bits as uninterrupted."""
    whole = Stand(tmp_path / "whole", model=model)
    (tmp_path / "whole").mkdir(exist_ok=True)
    whole.start()
    whole.work(range(120))
    whole.worker.stop()

    first = Stand(tmp_path / "cut", model=model)
    first.start()
    first.work(range(40))
    first.worker._save().result()
    first.work(range(40, 80))
    killed(first)

    second = Stand(tmp_path / "cut", model=model)
    second.start()
    assert second.worker.replayed
    assert second.admitted() == 80
    second.work(range(80, 120))
    second.worker.stop()
    assert state(second.pipeline) == state(whole.pipeline)


def test_idle_devices_are_beside_the_checkpoint_and_missed_there(tmp_path: Path) -> None:
    """They come back after a restart; without their file the start is refused, unless they are to
    begin anew."""
    config = CONFIG + '[devices]\nevict_after = "1m"\n'

    def known() -> int:
        return stand.pipeline.walk.stages.devices.known

    def readings() -> list[int]:
        views = [stand.pipeline.board.device(f"d{k}") for k in range(2)]
        return [view.readings for view in views if view is not None]

    stand = Stand(tmp_path, config=config).start()
    stand.work(range(40))
    stand.now += 3_600 * SECOND
    wait_for(lambda: not known())
    stand.worker.stop()
    stand = Stand(tmp_path, config=config).start()
    assert not known()
    assert len(stand.pipeline.walk.eviction.store) == 2
    stand.work(range(40, 44))
    assert readings() == [22, 22]
    stand.now += 7_200 * SECOND
    wait_for(lambda: not known())
    stand.worker.stop()
    (tmp_path / FILE).unlink()
    stand = Stand(tmp_path, config=config)
    with pytest.raises(CheckpointRefused, match=r"evicted\.db has no state of 2 of 2 idle dev"):
        stand.start()
    stand.worker.stop()
    stand = Stand(tmp_path, config=config).start(accept=True)
    stand.work(range(44, 48))
    assert readings() == [2, 2]
    stand.worker.stop()


def test_results_after_a_restart_carry_the_same_places(tmp_path: Path) -> None:
    """A sink can tell what it has had: the same results come again with the same positions."""
    first = Stand(tmp_path)
    first.start()
    first.work(range(40))
    wait_for(lambda: first.sink.records > 0)
    killed(first)
    reached = max(output.position for output in first.sink.outputs)
    second = Stand(tmp_path)
    second.worker.recover()
    again = [output for output in second.sink.outputs if output.position <= reached]
    assert sum(len(output.predictions) for output in again) == first.sink.records
    assert [o.position for o in second.sink.outputs] == sorted(
        o.position for o in second.sink.outputs
    )
    second.worker.stop()


def test_a_checkpoint_trims_the_journal(tmp_path: Path) -> None:
    """What a checkpoint holds need not be kept: whole segments before it are deleted."""
    stand = Stand(tmp_path, every="200ms")
    stand.start()
    stand.work(range(400))
    wait_for(lambda: stand.worker.checkpoints["count"] >= 1 and stand.journal.size < 5_000)
    assert stand.worker.checkpoints["write_seconds"] > 0.0
    assert (tmp_path / CHECKPOINT).exists()
    stand.worker.stop()


def test_a_worker_that_could_not_recover_leaves_the_checkpoint_alone(tmp_path: Path) -> None:
    """Stopping after a refused checkpoint must not write an empty one over it."""
    first = Stand(tmp_path).start()
    first.work(range(40))
    first.worker.stop()
    path = tmp_path / CHECKPOINT
    damaged = path.read_bytes()[:-1]
    path.write_bytes(damaged)
    second = Stand(tmp_path)
    with pytest.raises(CheckpointRefused):
        second.start()
    second.worker.stop()
    assert path.read_bytes() == damaged


def test_a_checkpoint_that_went_missing_is_noticed(tmp_path: Path) -> None:
    """A journal that was trimmed cannot stand alone: starting from nothing would lose it all."""
    first = Stand(tmp_path).start()
    first.work(range(40))
    first.worker.stop()
    (tmp_path / CHECKPOINT).unlink()
    second = Stand(tmp_path)
    with pytest.raises(CheckpointRefused, match=r"checkpoint is missing.*begins at position"):
        second.start()
    second.worker.stop()


def test_a_checkpoint_waits_for_the_history(tmp_path: Path) -> None:
    """While results are not durable no checkpoint is written, and the state says why."""
    stand = Stand(tmp_path, every="50ms")
    stand.worker._history = stand.sink
    stand.sink.durable = False
    stand.start()
    stand.work(range(40))
    wait_for(lambda: not stand.worker.checkpoints["ok"])
    assert "the history did not have all results" in stand.worker.checkpoints["why"]
    assert not (tmp_path / CHECKPOINT).exists()
    stand.sink.durable = True
    wait_for(lambda: stand.worker.checkpoints["ok"])
    stand.worker.stop()
    assert (tmp_path / CHECKPOINT).exists()


def test_a_checkpoint_waits_for_other_sinks_for_a_while(tmp_path: Path) -> None:
    """What a sink could not take is computed again after a kill, unless the sink was away for
    longer than was allowed."""
    stand = Stand(tmp_path, every="1h")
    stand.sink.durable = False
    stand.worker.recover()
    stand.put(range(40))
    for _ in range(10):
        stand.worker._round()
    stand.worker.save()
    assert "the sink Kept did not have all results" in stand.worker.checkpoints["why"]
    assert not (tmp_path / CHECKPOINT).exists()
    stand.worker._patience = 0.0
    stand.worker.save()
    assert stand.worker.checkpoints["ok"]
    assert (tmp_path / CHECKPOINT).exists()
    stand.worker.stop()


def test_the_journal_is_trimmed_only_behind_a_checkpoint_that_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is removed from the journal before the file, its name and the folder were synced; and
    nothing at all where the checkpoint could not be written."""
    stand, done = Stand(tmp_path), list[str]()
    stand.worker.recover()
    stand.put(range(40))
    for _ in range(10):
        stand.worker._round()

    def noted(word: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*given: Any) -> Any:
            done.append(word)
            return function(*given)

        return wrapped

    monkeypatch.setattr(os, "fsync", noted("sync", os.fsync))
    monkeypatch.setattr(Path, "replace", noted("rename", Path.replace))
    monkeypatch.setattr(stand.journal, "trim", noted("trim", stand.journal.trim))
    stand.worker.save()
    assert done[: done.index("trim") + 1] == ["sync", "rename", "sync", "trim"]
    size, kept = stand.journal.size, len(done)

    def refused(*_: Any) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(worker, "write", refused)
    stand.worker.save()
    assert "trim" not in done[kept:]
    assert stand.journal.size == size
    assert "No space left" in stand.worker.checkpoints["why"]
    monkeypatch.undo()
    stand.worker.stop()
