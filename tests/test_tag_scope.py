"""One model for each value of a tag: `scope = "tag:NAME"`."""

import io
import pickle
import re
from pathlib import Path

import numpy as np
import pytest

from serving.check import check
from stream_processor.changes import Changes, compare
from stream_processor.definition import definition
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load
from stream_processor.snapshot import capture, restore
from streamgauge.delivery import Readings
from streamgauge.output import Output
from streamgauge.predictions import LANE, ROW, STATUS, STEP, VERSION
from streamgauge.state import take_rows
from streamgauge.words import Status, Step
from tests.streams import share_evicted
from tests.test_eviction import evictions, shifts
from tests.test_walk import run

SITES = {"d0": "north", "d1": "south", "d2": "north", "d4": "south", "d5": "", "d6": "far"}
"""d3 and d7 stand in no table, d5 has no site; nobody else is far."""
N = 900
CONFIG = """
[devices]
limit = 9
evict_after = "{evict}"
{table}
[channels.load]
[channels.heat]
[channels.state]
kind = "category"
values = ["on", "off"]
[features]
lags = {{ load = [1, 3] }}
[tasks.unnamed]
kind = "forecast"
target = "load"
horizons = ["20s", {{ readings = 2 }}]
start = "empty"
[tasks.classes]
kind = "classification"
target = "state"
start = "empty"
[tasks.odd]
kind = "anomaly"
alarms = "none"
[tasks.line]
kind = "forecast"
target = "heat"
horizons = ["20s"]
ready_after = 20
select = {{ by = "variance" }}
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
[tasks.tree]
kind = "regression"
target = "heat"
model = [{{ use = "tree.HoeffdingTreeRegressor", grace_period = 20, delta = 0.9 }}]
[tasks.kinds]
kind = "classification"
target = "state"
model = [{{ use = "tree.HoeffdingTreeClassifier", grace_period = 20, delta = 0.9 }}]
[tasks.near]
kind = "forecast"
target = "heat"
horizons = ["20s"]
model = ["preprocessing.StandardScaler", {{ use = "neighbors.KNNRegressor", n_neighbors = 3 }}]
[tasks.modes]
kind = "clustering"
model = ["preprocessing.StandardScaler", {{ use = "cluster.KMeans", n_clusters = 3, seed = 1 }}]
[drift]
detector = "none"
"""


def made(
    folder: Path, scope: str = "tag:site", sites: dict[str, str] = SITES, evict: str = "4m"
) -> Pipeline:
    """A pipeline with every kind of model, of this scope."""
    rows = [f"{device},{site},x\n" for device, site in sites.items()]
    (folder / "devices.csv").write_text("".join(["device,site,type\n", *rows]), encoding="utf-8")
    text = CONFIG.format(table='tags = "devices.csv"', evict=evict)
    text = re.sub(r"(\[tasks.\w+\])", rf'\1\nscope = "{scope}"', text)
    (folder / "p.toml").write_text(text, encoding="utf-8")
    return Pipeline(load(folder / "p.toml", {}, for_replay=True))


def of_device(outputs: list[Output], device: str) -> list[tuple[bytes, ...]]:
    """Every record of a device, as bits."""
    found = []
    for output in outputs:
        records = output.predictions
        own = np.array([records.names[row] == device for row in records.codes[:, ROW]], bool)
        # When a prediction expires depends on the clock, which other devices move too.
        own &= records.codes[:, STEP] != Step.EXPIRE
        codes = records.codes[own]
        codes[:, ROW] = 0
        each = zip(codes, records.numbers[own], records.parts[own], strict=True)
        found += [tuple(part.tobytes() for part in one) for one in each]
    return found


def state(pipeline: Pipeline) -> dict[str, bytes]:
    """All arrays of state, as bits."""
    rows = np.arange(len(pipeline.walk.stages.devices))
    return {name: a.tobytes() for name, a in take_rows(pipeline.walk.blocks, rows).items()}


def defined(pipeline: Pipeline) -> dict[str, object]:
    """What its state is made for."""
    return definition(pipeline.settings, pipeline.walk.stages)


def carried(old: Pipeline, new: Pipeline) -> Changes:
    """Take the state over into another configuration."""
    changes = compare(defined(old), defined(new))
    restore(new.walk, capture(old.walk, defined(old), {}), changes)
    return changes


def group(pipeline: Pipeline, name: str) -> dict[str, object]:
    """All that is kept of a group: its rows in every block, and its River model's answers."""
    stages = pipeline.walk.stages
    place = np.array([stages.groups.names.index(name)])
    blocks = {k: b for k, b in stages.blocks().items() if b.keys == "group"}
    kept: dict[str, object] = {}
    for k, block in blocks.items():
        kept |= {f"{k}.{part}": a.tobytes() for part, a in block.take(place).items()}
    near = next(one for one in stages.learners if one.blobs is not None)
    assert near.blobs is not None
    blobs = near.blobs.dump(place)
    model = pickle.loads(blobs[0]) if blobs[0] else None
    told = [model.predict_one({"load": k, "heat": 1.0}) for k in range(9)] if model else []
    return kept | {"near": told}


@pytest.mark.parametrize("site", ["north", "south", "far", ""])
def test_a_group_is_a_fleet_of_its_own(tmp_path: Path, site: str) -> None:
    """Every record of its devices is, bit for bit, that of a fleet which has only them; those
    without the tag share a model too."""
    readings = shifts(N, 3)
    mixed = run(made(tmp_path), readings, [])
    members = {name for name in readings.devices if SITES.get(name, "") == site}
    own = np.array([name in members for name in readings.devices])
    alone = Readings(
        [name for name in readings.devices if name in members],
        readings.time[own], readings.received[own], readings.values[own],
    )  # fmt: skip
    fleet = run(made(tmp_path, "fleet"), alone, [])
    assert members
    for device in members:
        records = of_device(mixed, device)
        assert len(records) > 100
        assert records == of_device(fleet, device)


def test_groups_differ_from_one_fleet_and_from_each_device(tmp_path: Path) -> None:
    """The reference above would hold for nothing if all three scopes told the same."""
    readings = shifts(N, 3)
    told = {
        scope: of_device(run(made(tmp_path, scope), readings, []), "d2")
        for scope in ("tag:site", "fleet", "device")
    }
    assert told["tag:site"] != told["fleet"]
    assert told["tag:site"] != told["device"]


def test_any_cut_a_restart_and_evictions_change_nothing(tmp_path: Path) -> None:
    """Cut anywhere and restored half-way, the records and all state are the same bits; devices that
    leave the memory leave the model of their group as it is."""
    readings = shifts(N, 5)
    whole, first, second = made(tmp_path), made(tmp_path), made(tmp_path)
    expected = run(whole, readings, [])
    assert evictions(expected) > 0
    share_evicted(tmp_path, first)
    half = run(first, readings.part(0, 433), [7, 200, 201])
    share_evicted(tmp_path, second)
    restore(second.walk, capture(first.walk, defined(first), {}))
    found = [*half, *run(second, readings.part(433, N), [500 - 433])]
    for device in SITES:
        assert of_device(found, device) == of_device(expected, device)
    assert state(second) == state(whole)


def test_what_a_group_has_learned_follows_its_name(tmp_path: Path) -> None:
    """A table with other values in another order needs no consent and moves every group's models;
    they go on from there."""
    readings = shifts(N + 200, 7)
    old = made(tmp_path, evict="never")
    run(old, readings.part(0, N), [])
    more = {"new": "east", "d4": "south", "d6": "far", "d2": "north", "d0": "north", "d1": "south"}
    new = made(tmp_path, sites=more, evict="never")
    changes = carried(old, new)
    assert not changes
    for name in ("site", "site=north", "site=south", "site=far"):
        assert group(new, name) == group(old, name), name
    assert group(new, "site=east") == group(made(tmp_path, sites=more), "site=east")
    later = readings.part(N, N + 200)
    told, expected = run(new, later, []), run(old, later, [])
    for device in SITES:
        assert of_device(told, device) == of_device(expected, device)


def test_a_value_that_is_gone_is_listed(tmp_path: Path) -> None:
    """Its models would be dropped, so that it takes an --accept; the others stay."""
    old = made(tmp_path)
    run(old, shifts(N, 7), [])
    new = made(tmp_path, sites={"d1": "south", "d0": "north"})
    changes = carried(old, new)
    assert changes.dropped == ["models of site=far"]
    assert group(new, "site=south") == group(old, "site=south")


def test_another_tag_begins_anew(tmp_path: Path) -> None:
    """Models of another tag are other models."""
    old, new = made(tmp_path), made(tmp_path, "tag:type")
    run(old, shifts(200, 1), [])
    changes = carried(old, new)
    assert "model line@20s (changed)" in changes.anew
    assert not changes.dropped
    assert group(new, "type=x") == group(made(tmp_path, "tag:type"), "type=x")


def test_a_model_is_ready_by_the_labels_of_its_group(tmp_path: Path) -> None:
    """The version of an answer counts the labels of all who share the model, of nobody else."""
    outputs = run(made(tmp_path), shifts(N, 3), [])
    versions: dict[str, list[int]] = {site: [] for site in ("north", "south", "far", "")}
    learned: dict[str, int] = dict.fromkeys(versions, 0)
    lane = [k.name for k in outputs[0].predictions.lanes].index("line@20s")
    for output in outputs:
        records = output.predictions
        for code in records.codes[records.codes[:, LANE] == lane].tolist():
            site = SITES.get(str(records.names[code[ROW]]), "")
            learned[site] += code[STEP] == Step.LEARN
            if code[STEP] == Step.PREDICT:
                assert code[VERSION] == learned[site]
                assert code[STATUS] == Status.WARMING_UP or code[VERSION] >= 20
                versions[site].append(code[VERSION])
    assert all(max(seen) >= 20 for seen in versions.values())


def test_board_and_check_say_how_many_models_there_are(tmp_path: Path) -> None:
    """Models are counted by group; a device's selection is that of its group's model."""
    pipeline = made(tmp_path, evict="never")
    run(pipeline, shifts(N, 3), [])
    board = pipeline.board
    assert {(view.scope, view.models) for view in board.tasks()} == {("tag:site", 4)}
    one, other = (board.selections("line", device)[0].choices for device in ("d1", "d4"))
    assert one == other
    assert one != board.selections("line", "d0")[0].choices
    assert board.selections("line")[0].models == 4
    assert board.scores("unnamed", "d1")[0].follows == board.scores("unnamed", "d4")[0].follows
    assert board.scores("unnamed", "d1")[0].follows != board.scores("unnamed", "d0")[0].follows
    said = io.StringIO()
    assert check(tmp_path / "p.toml", {}, said) == 0
    assert (
        "line: forecast of heat, 20s (label at most 2s later) ahead, one model for each site;"
        in (said.getvalue())
    )
    assert "memory: 4 groups of devices, " in said.getvalue()
    assert "one instance per value of the tag" in said.getvalue()


@pytest.mark.parametrize(
    ("scope", "table", "message"),
    [
        ("tag:hall", True, "devices.tags has no such tag"),
        ("tag:site", False, "no table says which device has which tag"),
        ("tag:", True, "is no scope"),
        ("site", True, "is no scope"),
    ],
)
def test_a_scope_that_cannot_be(tmp_path: Path, scope: str, table: bool, message: str) -> None:
    """A tag must be in the table; the message says what to write."""
    (tmp_path / "devices.csv").write_text("device,site\nd0,north\n", encoding="utf-8")
    tags = 'tags = "devices.csv"' if table else ""
    text = CONFIG.format(table=tags, evict="4m").replace("ready_after = 20", f'scope = "{scope}"')
    (tmp_path / "p.toml").write_text(text, encoding="utf-8")
    with pytest.raises(Problems) as refused:
        load(tmp_path / "p.toml", {}, for_replay=True)
    (problem,) = refused.value.problems
    assert problem.key == "tasks.line.scope"
    assert message in problem.message
    assert problem.remedy
