"""Checkpoints: whole or refused, and a walk that goes on from one as if nothing had happened."""

import json
from pathlib import Path

import numpy as np
import pytest

from stream_processor import checkpoint as files
from stream_processor.checkpoint import Checkpoint, CheckpointRefused, Part
from stream_processor.key import key_file, signing_key
from stream_processor.snapshot import capture, restore
from tests.streams import COMPILED, RIVER, pipeline, share_evicted, stream
from tests.test_walk import run, state, told

KEY = b"k" * 32
NOW = {"definition": {"tasks": "same"}}


def sample() -> Checkpoint:
    """One of everything."""
    arrays = {"a.rows": np.arange(12.0).reshape(3, 4), "a.depth": np.arange(3)}
    some = Part(np.array([4, 0, 2]), arrays, {"lane": [b"one", b"", b"three"]})
    whole = Part(None, {"b.rows": np.ones((1, 2))}, {"fleet": [b"all"]})
    return Checkpoint({"devices": ["ü", None]}, [whole, some])


def written(path: Path, checkpoint: Checkpoint, key: bytes = KEY) -> int:
    """Write it; its size."""
    return files.write(path, checkpoint.facts, checkpoint.parts, key)


def content(part: Part) -> tuple[object, ...]:
    """All that a part says, to compare."""
    arrays = part.arrays if part.rows is None else part.arrays | {"rows": part.rows}
    return {n: (a.dtype, a.shape, a.tobytes()) for n, a in arrays.items()}, part.blobs


def test_what_is_written_is_read(tmp_path: Path) -> None:
    """Arrays, facts and blobs come back as they were."""
    path = tmp_path / "checkpoint"
    size = written(path, sample())
    found = files.read(path, KEY)
    assert path.stat().st_size == size
    assert found.facts == sample().facts
    for _ in range(2):
        assert list(map(content, found.parts)) == list(map(content, sample().parts))


def test_every_damaged_byte_is_noticed(tmp_path: Path) -> None:
    """A flipped bit anywhere, and a file cut off anywhere, is refused and nothing is loaded."""
    path = tmp_path / "checkpoint"
    written(path, sample())
    whole = path.read_bytes()
    for k in range(0, len(whole), 3):
        path.write_bytes(whole[:k] + bytes([whole[k] ^ 4]) + whole[k + 1 :])
        with pytest.raises(CheckpointRefused):
            files.read(path, KEY)
        path.write_bytes(whole[:k])
        with pytest.raises(CheckpointRefused):
            files.read(path, KEY)


def test_a_newer_format_is_refused_with_the_remedy(tmp_path: Path) -> None:
    """The message names both formats and says what to do."""
    path = tmp_path / "checkpoint"
    written(path, sample())
    path.write_bytes(path.read_bytes().replace(b"checkpoint 2\n", b"checkpoint 9\n", 1))
    with pytest.raises(CheckpointRefused, match=r"format 9, this version .* reads format 2.*move"):
        files.read(path, KEY)


def test_pickles_of_another_machine_are_not_loaded(tmp_path: Path) -> None:
    """River models are unpickled only when this machine's key signed them."""
    path = tmp_path / "checkpoint"
    written(path, sample(), b"other" * 8)
    with pytest.raises(CheckpointRefused, match="not signed with this machine's key"):
        files.read(path, KEY)


def test_arrays_need_no_key(tmp_path: Path) -> None:
    """Compiled models are plain numbers: losing the key does not lose them."""
    path = tmp_path / "checkpoint"
    whole = Part(None, {"b.rows": np.ones((1, 2))}, {})
    written(path, Checkpoint({}, [whole]), b"other" * 8)
    assert list(map(content, files.read(path, KEY).parts)) == [content(whole)]


def test_a_failed_write_leaves_the_old_one(tmp_path: Path) -> None:
    """The new file replaces the old one only once it is whole."""
    path = tmp_path / "checkpoint"
    written(path, sample())
    with pytest.raises(TypeError):
        written(path, Checkpoint({"not": {json}}, []))  # a set of a module: no JSON
    assert files.read(path, KEY).facts == sample().facts


@pytest.mark.parametrize("model", [COMPILED, RIVER])
def test_a_restored_walk_goes_on_identically(tmp_path: Path, model: str) -> None:
    """Half a stream, a checkpoint on disk, a new process's walk, the other half: the same bits."""
    readings = stream(1_500, 11)
    whole, first, second = pipeline(model), pipeline(model), pipeline(model)
    share_evicted(tmp_path, first)
    expected = run(whole, readings, [700])
    begun = run(first, readings.part(0, 700), [])
    written(tmp_path / "c", capture(first.walk, NOW, {"journal": 42}))
    share_evicted(tmp_path, second)
    assert restore(second.walk, files.read(tmp_path / "c", KEY)) == {"journal": 42}
    rest = run(second, readings.part(700, 1_500), [])
    assert told(begun + rest) == told(expected)
    assert state(second) == state(whole)
    assert second.board.counts()["labels"] == whole.board.counts()["labels"]


def test_a_limit_below_the_devices_is_refused() -> None:
    """Both numbers are named, and nothing of the walk is touched."""
    made = pipeline()
    run(made, stream(100, 1), [])
    saved = capture(made.walk, NOW, {})
    known = len(made.walk.stages.devices)
    fresh = pipeline()
    fresh.walk.stages.devices.limit = known - 1
    with pytest.raises(
        CheckpointRefused, match=rf"holds {known} devices, devices\.limit is {known - 1} now"
    ):
        restore(fresh.walk, saved)
    assert not fresh.walk.stages.devices.known


def test_pickles_of_other_versions_are_refused() -> None:
    """River's pickles do not survive an upgrade, so they are not tried."""
    made = pipeline(RIVER)
    run(made, stream(100, 1), [])
    saved = capture(made.walk, NOW, {})
    saved.facts["models_pickled_by"] = "river 0.21.0 on Python 3.11.0"
    with pytest.raises(CheckpointRefused, match=r"pickled by river 0\.21\.0.*replay"):
        restore(pipeline(RIVER).walk, saved)


def test_the_key_is_made_once_and_is_private(tmp_path: Path) -> None:
    """It lies where the environment says, readable by its owner only, and stays the same."""
    path = key_file({"STREAMGAUGE_KEY_FILE": str(tmp_path / "deep" / "key")})
    key = signing_key(path)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert signing_key(path) == key
    assert key_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/streamgauge/signing.key")
    path.write_bytes(b"short")
    with pytest.raises(ValueError, match="restore it from your backup"):
        signing_key(path)
