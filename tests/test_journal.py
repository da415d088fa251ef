"""The journal: what was written is read back, whatever happens to the process or the tail."""

import errno
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.journal import Journal, JournalDamaged, JournalFull
from streamgauge.delivery import Delivery, Readings

HEADER = 16


def messages(first: int, n: int = 3) -> Delivery:
    """A delivery of n numbered messages."""
    return Delivery(
        source=1,
        payloads=[b'{"n":%d}' % i for i in range(first, first + n)],
        topics=["pumps/ä/telemetry"] * n,
        received=[1_700_000_000_000_000 + i for i in range(n)],
    )


def numbers(journal: Journal, after: int = 0) -> list[bytes]:
    """Every payload in the journal after a position."""
    return [payload for delivery in journal.read(after) for payload in delivery.payloads]


def segments(folder: Path) -> list[Path]:
    """The files of the log, oldest first."""
    return sorted(folder.glob("*.log"))


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    """Messages, ticks, positions and recorded columns come back equal, in order."""
    journal = Journal(tmp_path)
    tick = Delivery(clock=17)
    placed = Delivery(
        source=2, payloads=[b"\x00\xff"], topics=["t"], received=[5], position={"0": 9}
    )
    columns = Readings(
        ["a", "b"], np.array([1, 2]), np.array([3, 4]), np.array([[1.5, np.nan], [-0.0, 1e300]])
    )
    journal.append(messages(0))
    journal.append(tick)
    journal.append(placed)
    journal.append(Delivery(readings=columns, position={"rows": 2}))
    first, second, third, fourth = journal.read()
    assert (first, second, third) == (messages(0), tick, placed)
    assert second.is_tick
    assert fourth.readings is not None
    assert fourth.readings.devices == ["a", "b"]
    assert fourth.readings.time.tolist() == [1, 2]
    assert fourth.readings.received.tolist() == [3, 4]
    assert fourth.readings.values.tobytes() == columns.values.tobytes()
    assert fourth.position == {"rows": 2}


def test_reading_from_every_position(tmp_path: Path) -> None:
    """A position that append gave is where reading goes on, over all segments."""
    journal = Journal(tmp_path, segment_bytes=300)
    positions = [journal.append(messages(i, 1))[0] for i in range(20)]
    assert len(segments(tmp_path)) > 3
    assert positions == sorted(set(positions))
    for i, position in enumerate(positions):
        assert numbers(journal, position) == [b'{"n":%d}' % k for k in range(i + 1, 20)]
    assert [position for position, _ in journal.entries()] == positions


def test_a_restart_continues(tmp_path: Path) -> None:
    """A new process reads what the old one wrote and appends behind it."""
    with_first = Journal(tmp_path, segment_bytes=300)
    before = [with_first.append(messages(i, 1))[0] for i in range(7)]
    with_first.close()
    journal = Journal(tmp_path, segment_bytes=300)
    assert journal.position == before[-1]
    assert journal.torn == 0
    journal.append(messages(7, 1))
    assert numbers(journal) == [b'{"n":%d}' % k for k in range(8)]
    assert numbers(journal, before[3]) == [b'{"n":%d}' % k for k in range(4, 8)]


def test_a_tail_torn_at_any_byte_is_cut_off(tmp_path: Path) -> None:
    """Whatever part of the last record was written, the records before it survive and the log
    goes on."""
    journal = Journal(tmp_path)
    (whole,) = journal.append(messages(0, 2))
    (end,) = journal.append(messages(2, 2))
    journal.close()
    path = segments(tmp_path)[0]
    data = path.read_bytes()
    for cut in range(whole, end):
        path.write_bytes(data[:cut])
        journal = Journal(tmp_path)
        assert journal.torn == cut - whole
        assert journal.position == whole
        journal.append(messages(9, 1))
        assert numbers(journal) == [b'{"n":0}', b'{"n":1}', b'{"n":9}']
        journal.close()


@pytest.mark.parametrize("tail", [b"\0" * 500, b"\x8e\x01\xc3", b"\xff" * 64])
def test_rubbish_behind_the_last_record_is_cut_off(tmp_path: Path, tail: bytes) -> None:
    """What a power failure leaves behind the last record is no record."""
    journal = Journal(tmp_path)
    (end,) = journal.append(messages(0))
    journal.close()
    with segments(tmp_path)[0].open("ab") as file:
        file.write(tail)
    journal = Journal(tmp_path)
    assert (journal.position, journal.torn) == (end, len(tail))
    assert len(numbers(journal)) == 3


def test_a_header_torn_at_any_byte(tmp_path: Path) -> None:
    """A crash while a segment was begun leaves an empty log at that position."""
    for cut in range(HEADER):
        folder = tmp_path / str(cut)
        Journal(folder).close()
        path = segments(folder)[0]
        path.write_bytes(path.read_bytes()[:cut])
        journal = Journal(folder)
        journal.append(messages(0))
        assert len(numbers(journal)) == 3


def test_damage_in_the_middle_is_refused(tmp_path: Path) -> None:
    """Any changed byte of what was on the disk is reported with its file and the record's offset,
    and nothing of the file is changed."""
    journal = Journal(tmp_path, sync=True)
    (first,) = journal.append(messages(0, 1))
    (second,) = journal.append(messages(1, 1))
    journal.append(messages(2, 1))
    journal.close()
    path = segments(tmp_path)[0]
    data = path.read_bytes()
    for at in range(first, second):
        broken = bytearray(data)
        broken[at] ^= 0x40
        path.write_bytes(broken)
        with pytest.raises(JournalDamaged, match=rf"{path.name}: .* byte {first} "):
            Journal(tmp_path)
        assert path.read_bytes() == broken


def test_damage_in_an_older_segment_is_refused_when_read(tmp_path: Path) -> None:
    """Records before the damage are given, then the reader stops with the file's name."""
    journal = Journal(tmp_path, segment_bytes=200)
    for i in range(12):
        journal.append(messages(i, 1))
    victim = segments(tmp_path)[1]
    data = bytearray(victim.read_bytes())
    data[-1] ^= 1
    victim.write_bytes(data)
    seen: list[Delivery] = []
    with pytest.raises(JournalDamaged, match=victim.name):
        seen.extend(journal.read())
    assert 0 < len(seen) < 12


def test_a_foreign_file_is_refused(tmp_path: Path) -> None:
    """A segment that does not begin as one is named."""
    (tmp_path / f"{0:020d}.log").write_bytes(b"something else entirely")
    with pytest.raises(JournalDamaged, match="byte 0"):
        Journal(tmp_path)


def test_files_that_are_not_its_own_are_left_alone(tmp_path: Path) -> None:
    """Whatever somebody put into the folder neither breaks the start nor is touched."""
    for name in ("foo.log", "1.log", "notes.txt"):
        (tmp_path / name).write_text("mine")
    journal = Journal(tmp_path)
    (position,) = journal.append(messages(0))
    journal.trim(position)
    journal.close()
    again = Journal(tmp_path)
    assert again.position >= position
    again.close()
    assert (tmp_path / "foo.log").read_text() == "mine"


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    """A gap between files, or before the position that is asked for, is not passed over."""
    journal = Journal(tmp_path, segment_bytes=200)
    positions = [journal.append(messages(i, 1))[0] for i in range(12)]
    segments(tmp_path)[1].unlink()
    journal.close()
    journal = Journal(tmp_path, segment_bytes=200)
    with pytest.raises(JournalDamaged, match="missing"):
        list(journal.read())
    journal.trim(positions[-1])
    with pytest.raises(JournalDamaged, match="missing"):
        journal.read(positions[0])


def test_trim_deletes_whole_files_before_a_position(tmp_path: Path) -> None:
    """Files that lie before the position go; everything after it stays readable."""
    journal = Journal(tmp_path, segment_bytes=300)
    positions = [journal.append(messages(i, 1))[0] for i in range(30)]
    before = len(segments(tmp_path))
    journal.trim(positions[14])
    assert len(segments(tmp_path)) < before
    assert numbers(journal, positions[14]) == [b'{"n":%d}' % k for k in range(15, 30)]
    journal.trim(positions[-1])
    assert len(segments(tmp_path)) == 1
    assert journal.size == HEADER
    assert numbers(journal, positions[-1]) == []
    journal.trim(positions[-1])
    journal.close()
    journal = Journal(tmp_path, segment_bytes=300)
    assert journal.position >= positions[-1]
    journal.append(messages(30, 1))
    assert numbers(journal, positions[-1]) == [b'{"n":30}']


def test_trimming_while_another_thread_appends(tmp_path: Path) -> None:
    """A checkpoint's thread may trim at any moment: nothing that is kept is harmed or lost."""
    journal = Journal(tmp_path, segment_bytes=500)
    place, done = [0], threading.Event()

    def trim() -> None:
        while not done.is_set():
            journal.trim(place[0])

    thread = threading.Thread(target=trim)
    thread.start()
    positions = [0]
    for i in range(2_000):
        positions += journal.append(messages(i, 1))
        place[0] = positions[max(0, i - 20)]
    done.set()
    thread.join()
    journal.trim(place[0])
    assert numbers(journal, place[0]) == [b'{"n":%d}' % i for i in range(1_979, 2_000)]
    assert journal.size < 5_000


def test_a_full_journal_refuses_and_recovers(tmp_path: Path) -> None:
    """At its bound it refuses whole deliveries, changes nothing, and takes them after a trim."""
    journal = Journal(tmp_path, max_bytes=5_000)
    written, last = 0, 0
    while journal.size < 4_900:
        (last,) = journal.append(messages(written, 1))
        written += 1
    with pytest.raises(JournalFull, match="journal_max"):
        journal.append(messages(written))
    assert 10 < written < 1_000
    assert sum(path.stat().st_size for path in segments(tmp_path)) <= 5_000
    assert len(numbers(journal)) == written
    journal.trim(last)
    journal.append(messages(written, 1))
    assert numbers(journal, last) == [b'{"n":%d}' % written]


def test_a_full_disk_leaves_no_half_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails half way is undone, and the next one succeeds."""
    journal = Journal(tmp_path)
    journal.append(messages(0, 1))
    write, calls = os.write, []

    def fails_half_way(file: int, data: bytes) -> int:
        calls.append(len(data))
        if len(calls) == 1:
            return write(file, data[:7])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", fails_half_way)
        with pytest.raises(JournalFull, match="no space"):
            journal.append(messages(1, 1))
    journal.append(messages(2, 1))
    assert numbers(journal) == [b'{"n":0}', b'{"n":2}']


def test_positions_go_on_after_the_disk_lost_the_end(tmp_path: Path) -> None:
    """A checkpoint may be newer than what the disk kept of the log: nothing is replayed twice and
    new records come after its position."""
    journal = Journal(tmp_path)
    (kept,) = journal.append(messages(0, 1))
    checkpoint = kept + 1_000
    assert numbers(journal, checkpoint) == []
    (after,) = journal.append(messages(1, 1))
    assert after > checkpoint
    journal.close()
    journal = Journal(tmp_path)
    assert numbers(journal, checkpoint) == [b'{"n":1}']


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second opener is told that the folder is in use; a closed journal frees it."""
    journal = Journal(tmp_path)
    with pytest.raises(BlockingIOError, match="another process"):
        Journal(tmp_path)
    journal.close()
    Journal(tmp_path).close()


def test_a_bound_too_small(tmp_path: Path) -> None:
    """A bound that holds nothing is refused."""
    with pytest.raises(ValueError, match="holds nothing"):
        Journal(tmp_path, max_bytes=10)


KILLED = """
import sys
import threading
from pathlib import Path
from ingest.journal import Journal
from streamgauge.delivery import Delivery
journal = Journal(Path(sys.argv[1]), segment_bytes=20_000, sync=sys.argv[2] == "sync")
for i in range(10**9):
    journal.append(Delivery(payloads=[b"%d" % i] * 5, topics=["t"] * 5, received=[i] * 5))
    if i % 50 == 0:
        print(i, flush=True)
"""


@pytest.mark.parametrize("mode", ["sync", "no sync"])
def test_sigkill_loses_nothing_that_was_appended(tmp_path: Path, mode: str) -> None:
    """After a kill -9 everything that append returned from is there, in order, once."""
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path), mode],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parent.parent,
    )
    assert child.stdout is not None
    reported = [int(child.stdout.readline()) for _ in range(5)][-1]
    child.send_signal(signal.SIGKILL)
    child.communicate()
    journal = Journal(tmp_path)
    found = [int(delivery.payloads[0]) for delivery in journal.read()]
    assert found == list(range(len(found)))
    assert len(found) > reported


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_payload_is_kept(tmp_path_factory: pytest.TempPathFactory, payload: bytes) -> None:
    """No payload, however it looks, changes what is read back."""
    journal = Journal(tmp_path_factory.mktemp("journal"))
    inside = segments(journal._folder)[0].read_bytes() + payload
    delivery = Delivery(payloads=[payload, inside], topics=["", "t"], received=[0, 1])
    journal.append(delivery)
    assert list(journal.read()) == [delivery]
    journal.close()
