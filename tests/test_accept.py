"""A restart with a changed configuration: refused with a list, done with `--accept`."""

import io
from pathlib import Path

import pytest

from serving.check import check
from stream_processor.checkpoint import CheckpointRefused, ConfigurationChanged, facts_of
from stream_processor.worker import CHECKPOINT
from streamgauge.delivery import Delivery
from tests.services.ports import wait_for
from tests.services.service import Service
from tests.streams import COMPILED
from tests.workers import CONFIG, Stand, killed

OTHER = (
    CONFIG
    + """
[tasks.later]
kind = "forecast"
target = "load"
horizons = ["9s"]
ready_after = 0
model = {model}
"""
)


def lanes(stand: Stand) -> dict[str, int]:
    """Labels that each lane has learned."""
    scorer = stand.pipeline.walk.stages.scorer
    learned = scorer.blocks["fleet"].view("learned")[0].tolist()
    return {lane.name: int(n) for lane, n in zip(scorer.lanes, learned, strict=True)}


def stopped(folder: Path) -> dict[str, int]:
    """A worker that learned 40 readings and was stopped; what it had learned."""
    stand = Stand(folder).start()
    stand.work(range(40))
    stand.worker.stop()
    return lanes(stand)


def test_a_changed_configuration_is_refused_with_a_list(tmp_path: Path) -> None:
    """The message names each part and the option; the checkpoint stays as it is."""
    stopped(tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    stand = Stand(tmp_path, config=OTHER)
    with pytest.raises(ConfigurationChanged) as refused:
        stand.start()
    text = str(refused.value)
    assert "kept:\n  channel load\n" in text
    assert "starts anew:\n  model later@9s (new)\n" in text
    assert text.endswith("start with --accept to go on like this, or put the configuration back")
    stand.worker.stop()
    assert (tmp_path / CHECKPOINT).read_bytes() == before


def test_a_change_before_the_first_checkpoint_is_due_is_refused_too(tmp_path: Path) -> None:
    """What the first run was is known from its start: its journal is not read as another's."""
    first = Stand(tmp_path, every="1h").start()
    first.work(range(40))
    killed(first)
    with pytest.raises(ConfigurationChanged):
        Stand(tmp_path, config=OTHER, every="1h").start()


def test_a_journal_of_more_sources_than_there_are(tmp_path: Path) -> None:
    """Without a checkpoint too, a source that is gone is told, not stumbled over."""
    stand = Stand(tmp_path)
    stand.journal.append(Delivery(2, [b"{}"], ["t"], [stand.now]))
    with pytest.raises(CheckpointRefused, match=r"source 3, and the configuration has 1"):
        stand.worker.recover()
    stand.worker.stop()


def test_accepted_it_is_saved_at_once_and_asks_no_more(tmp_path: Path) -> None:
    """What was learned is still there, and a kill right after the start changes nothing."""
    learned = stopped(tmp_path)
    first = Stand(tmp_path, config=OTHER).start(accept=True)
    assert lanes(first) == {**learned, "later@9s": 0}
    assert len(facts_of(tmp_path / CHECKPOINT)["definition"]["lanes"]) == 2
    killed(first)
    second = Stand(tmp_path, config=OTHER).start()
    second.work(range(40, 80))
    found = lanes(second)
    assert found["soon@3s"] > learned["soon@3s"]
    assert found["later@9s"] > 0
    second.worker.stop()


def test_accept_without_a_change_changes_nothing(tmp_path: Path) -> None:
    """Nor without a state: the option may stay in a unit file."""
    learned = stopped(tmp_path)
    before = (tmp_path / CHECKPOINT).read_bytes()
    stand = Stand(tmp_path).start(accept=True)
    assert lanes(stand) == learned
    assert (tmp_path / CHECKPOINT).read_bytes() == before
    stand.worker.stop()
    (tmp_path / "new").mkdir()
    Stand(tmp_path / "new").start(accept=True).worker.stop()


def test_the_journal_is_read_with_the_configuration_of_now(tmp_path: Path) -> None:
    """After a kill the readings since the checkpoint teach what was added, and what was kept."""
    first = Stand(tmp_path)
    first.start()
    first.work(range(40))
    saved = first.worker._save()
    saved.result()
    first.work(range(40, 80))
    killed(first)
    second = Stand(tmp_path, config=OTHER)
    second.start(accept=True)
    assert second.worker.replayed
    assert lanes(second)["soon@3s"] == lanes(first)["soon@3s"]
    assert 0 < lanes(second)["later@9s"] < lanes(second)["soon@3s"]
    second.worker.stop()


def test_readings_of_a_source_that_is_gone_are_not_dropped(tmp_path: Path) -> None:
    """While the journal holds some, the source must stay; after an orderly stop it may go."""
    first = Stand(tmp_path)
    first.start()
    first.work(range(40))
    first.worker._save().result()
    first.work(range(40, 80))
    killed(first)
    without = CONFIG.replace('use = "mqtt"\ntopics = ["t"]\ncodec = "json"', 'use = "simulator"')
    without = without.replace("[channels.load]", "[channels.load]\n[channels.vibration]")
    second = Stand(tmp_path, config=without)
    with pytest.raises(CheckpointRefused, match=r"readings of source mqtt .*stop the service"):
        second.start(accept=True)
    second.worker.stop()
    Stand(tmp_path).start().worker.stop()
    third = Stand(tmp_path, config=without).start(accept=True)
    assert third.admitted() == 80
    third.worker.stop()


def test_a_state_that_cannot_be_saved_does_not_start(tmp_path: Path) -> None:
    """Else the journal would get messages whose source the checkpoint does not know."""
    stopped(tmp_path)
    stand = Stand(tmp_path, config=OTHER)
    stand.worker.recover(accept=True)
    (tmp_path / "checkpoint.new").mkdir()
    with pytest.raises(CheckpointRefused, match="not yet in force: cannot write"):
        stand.worker.start()
    assert not stand.source.running
    stand.worker.stop()


def test_check_says_what_a_restart_would_change(tmp_path: Path) -> None:
    """Beside the summary, as lines of their own; the exit code stays 0."""
    learned = stopped(tmp_path / "state")
    assert learned
    for text, lines in (
        (CONFIG, ["restart: goes on with the state that there is"]),
        (
            OTHER,
            [
                "restart: needs --accept, for the configuration is not the one of the state",
                "restart: starts anew: model later@9s (new)",
            ],
        ),
    ):
        path, out = tmp_path / "pipeline.toml", io.StringIO()
        path.write_text(text.format(model=COMPILED, every="1h"))
        assert check(path, {}, out) == 0
        assert [k for k in out.getvalue().splitlines() if k.startswith("restart")] == lines
    (tmp_path / "state" / CHECKPOINT).write_bytes(b"something else")
    out = io.StringIO()
    assert check(tmp_path / "pipeline.toml", {}, out) == 0
    assert "restart: " in out.getvalue()
    assert "does not begin as a checkpoint does" in out.getvalue()


def selecting(select: str) -> str:
    """The configuration with four inputs and this `select`."""
    features = "[features]\nlags = {{ load = [1, 2, 3] }}\n[tasks.soon]"
    return CONFIG.replace("[tasks.soon]", features) + f"select = {{{{ {select} }}}}\n"


def cells(stand: Stand) -> bytes:
    """What the selection knows of two devices."""
    [selection] = stand.pipeline.walk.stages.selections
    return b"".join(block.array[:2].tobytes() for block in selection.blocks.values())


KEPT = 'by = "mutual_information", keep = 2'


@pytest.mark.parametrize(
    "other",
    ['by = "mutual_information", keep = 3', 'by = "correlation", keep = 2', 'by = "redundancy"'],
)
def test_a_selection_goes_on_unless_it_is_another(tmp_path: Path, other: str) -> None:
    """Unchanged, what it knows is kept; with another `keep` or `by` the list names its model, and
    once accepted both begin with nothing."""
    first = Stand(tmp_path, config=selecting(KEPT)).start()
    first.work(range(40))
    first.worker.stop()
    known = cells(first)
    assert any(known)
    same = Stand(tmp_path, config=selecting(KEPT)).start()
    assert cells(same) == known
    same.worker.stop()
    refused = Stand(tmp_path, config=selecting(other))
    with pytest.raises(ConfigurationChanged, match=r"starts anew:\n  model soon@3s \(changed\)\n"):
        refused.start()
    refused.worker.stop()
    accepted = Stand(tmp_path, config=selecting(other)).start(accept=True)
    assert not any(cells(accepted))
    accepted.work(range(40, 80))
    assert any(cells(accepted))
    accepted.worker.stop()


SERVICE = """
[[source]]
use = "mqtt"
url = "mqtt://127.0.0.1:9"
topics = ["t"]
[channels.load]
[tasks.soon]
kind = "forecast"
target = "load"
horizons = ["{horizon}"]
model = "linear_model.LinearRegression"
"""


@pytest.mark.slow
def test_the_command_exits_with_2_until_it_is_told_to_accept(tmp_path: Path) -> None:
    """As a user sees it: the lists on stderr, then a service that runs."""
    service = Service(tmp_path, SERVICE.format(horizon="3s"))
    try:
        service.launch()
        wait_for(service.answers, 60.0, what="the service")
        assert service.stop()[0] == 0
        service.configure(SERVICE.format(horizon="4s"))
        code, said = service.refused()
        assert code == 2
        assert "starts anew:\n  model soon@4s (new)\ndropped:\n  model soon@3s\n" in said
        service.options = ("--accept",)
        checkpoint = service.state / "checkpoint"
        before = checkpoint.stat().st_mtime_ns
        service.launch()
        wait_for(lambda: checkpoint.stat().st_mtime_ns != before, 60.0, what="a checkpoint")
        service.kill()
        service.options = ()
        service.launch()
        wait_for(service.answers, 60.0, what="the service")
        assert service.stop()[0] == 0
    finally:
        service.kill()
