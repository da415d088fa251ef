"""The embedded history: damage, strangers, kills and a full disk."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from monitoring.sinks import store
from monitoring.sinks.store import FILE, StoreDamaged, StoreInUse
from tests.histories import SLOW, Clock, committed, many, opened, sequences, table
from tests.outputs import (
    LANES,
)


def test_a_damaged_file_is_refused_by_name(tmp_path: Path) -> None:
    """The error names the file and says what to do; the file is left as it is."""
    with opened(tmp_path) as kept:
        committed(kept, many(1000))
    path = tmp_path / FILE
    damaged = bytearray(path.read_bytes())
    damaged[4096:12_288] = b"\x01" * 8192
    path.write_bytes(damaged)
    with pytest.raises(StoreDamaged, match=r"history\.duckdb cannot be read.*move it"):
        store.open(LANES, "pumps", tmp_path, Clock())
    assert path.read_bytes() == damaged


@pytest.mark.parametrize("half", [True, False])
def test_rubbish_and_half_a_file_are_refused_by_name(tmp_path: Path, half: bool) -> None:
    """However DuckDB stumbles over it, the error names the file and says what to do."""
    with opened(tmp_path) as kept:
        committed(kept, many(5000))
    path = tmp_path / FILE
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2] if half else b"garbage" * 1000)
    with pytest.raises(StoreDamaged, match=r"history\.duckdb cannot be read.*move it"):
        store.open(LANES, "pumps", tmp_path, Clock())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("update about set format = 999", "has format 999, this program writes format 1"),
        ("drop table outcomes", "no table outcomes"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, change: str, words: str) -> None:
    """A newer format and a stranger's file."""
    with opened(tmp_path):
        pass
    with duckdb.connect(str(tmp_path / FILE)) as file:
        file.execute(change)
    with pytest.raises(StoreDamaged, match=words):
        store.open(LANES, "pumps", tmp_path, Clock())


CHILD = """
import resource, sys
sys.path[:0] = [{root!r}]
from pathlib import Path
from monitoring.sinks import store
from streamgauge.output import Output
from tests.histories import Clock, many, opened
from tests.outputs import LANES
from tests.test_store_safe import _closing_on_a_full_disk, _full_disk
folder = Path({folder!r})
"""


def child(folder: Path, program: str) -> "subprocess.Popen[str]":
    """A process that works on the folder."""
    root = str(Path(__file__).resolve().parent.parent)
    code = CHILD.format(root=root, folder=str(folder)) + program
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_file_in_use_is_refused(tmp_path: Path) -> None:
    """Two services on one folder: the second is told."""
    with child(tmp_path, "with opened(folder): print('open', flush=True); input()") as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(StoreInUse, match=r"history\.duckdb is open in another process"):
            store.open(LANES, "pumps", tmp_path, Clock())
        holder.communicate("\n", timeout=SLOW)


def test_a_kill_loses_nothing_committed(tmp_path: Path) -> None:
    """SIGKILL in the middle of writing: all that a flush reported is there, nothing twice."""
    program = """
kept = store.open(LANES, "pumps", folder, Clock())
for k in range(10_000):
    one = many(3_000, first=k * 3_000)
    kept.write(Output(one.predictions, position=k + 1))
    if k % 7 == 6 and kept.flush(60):
        print(k + 1, flush=True)
"""
    for _ in range(2):
        with child(tmp_path, program) as writer:
            assert writer.stdout is not None
            for _line in range(8):
                reported = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
        with opened(tmp_path) as kept:
            assert kept.watermark >= reported
            reached = kept.watermark
        counts = "select count(*), count(distinct sequence), max(sequence) from "
        expected = (reached * 3_000, reached * 3_000, reached * 3_000 - 1)
        assert table(tmp_path, counts + "predictions") == [expected]
        assert table(tmp_path, counts + "outcomes") == [expected]


def _full_disk(folder: Path) -> None:
    """Write while no file may grow, then while they may: all is kept, once."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    with opened(folder) as kept:
        committed(kept, many(1_000))
        size = max(path.stat().st_size for path in folder.glob(FILE + "*"))
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        for k in range(1, 41):
            kept.write(many(20_000, first=k * 20_000))
        assert not kept.flush(4.0)
        state = kept.state()
        assert not state["ok"]
        assert FILE in state["why"], state
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert kept.flush(SLOW), kept.state()
        assert kept.state()["ok"]
        assert kept.state()["dropped_total"] == 0
        # A checkpoint of a full disk is fatal to the connection, which is opened anew.
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        with kept._file.reader() as cursor, pytest.raises(duckdb.FatalException):
            cursor.execute("checkpoint")
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        committed(kept, many(10, first=820_000))
        assert sequences(kept, limit=1)[0] > 820_000


def test_a_full_disk_delays_but_loses_nothing(tmp_path: Path) -> None:
    """In a process of its own, since the limit on files holds for a whole process."""
    with child(tmp_path, "_full_disk(folder)") as writer:
        _, errors = writer.communicate(timeout=2 * SLOW)
        assert writer.returncode == 0, errors
    counts = "select count(*), count(distinct sequence) from "
    expected = [(801_010, 801_010)]
    assert table(tmp_path, counts + "predictions") == expected
    assert table(tmp_path, counts + "outcomes") == expected


def _closing_on_a_full_disk(folder: Path) -> None:
    """Close while no file may grow: it ends, and says what is lost."""
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    kept = store.open(LANES, "pumps", folder, Clock())
    committed(kept, many(1_000))
    size = max(path.stat().st_size for path in folder.glob(FILE + "*"))
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    kept.write(many(50_000, first=1_000))
    assert not kept.flush(0.5)
    kept.close()
    assert kept.state()["dropped_total"] == 100_000


def test_closing_on_a_full_disk_ends_and_counts(tmp_path: Path) -> None:
    """What was committed before stays readable."""
    with child(tmp_path, "_closing_on_a_full_disk(folder)") as writer:
        _, errors = writer.communicate(timeout=2 * SLOW)
        assert writer.returncode == 0, errors
    assert table(tmp_path, "select count(*) from predictions") == [(1_000,)]
