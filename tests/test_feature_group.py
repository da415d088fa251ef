"""stream_processor.features.group and .tags, and streamgauge.tags"""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stream_processor.checkpoint import Checkpoint, Part
from stream_processor.definition import definition
from stream_processor.features import group, tags
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Problems, load, load_text
from stream_processor.snapshot import begin, capture, restore
from streamgauge.batch import Batch, Features
from streamgauge.delivery import Delivery, Readings
from streamgauge.devices import Devices
from streamgauge.schema import Channel, Schema
from streamgauge.state import reset_rows, take_rows
from streamgauge.tags import Tags, read_tags
from tests.streams import share_evicted

SECOND = 10**6
BEGIN = 1_772_366_400 * SECOND
SCHEMA = Schema([Channel("heat"), Channel("load")])
SITES = ("north", "south", "north", "", "south", "north", "north")
NAMES = [f"d{k}" for k in range(len(SITES))]


def known(limit: int = len(SITES)) -> Devices:
    """Seven devices at two sites; one is at none."""
    table = {
        name: [site, str(3 * k)] for k, (name, site) in enumerate(zip(NAMES, SITES, strict=True))
    }
    return Devices(limit, Tags(["site", "depth"], table))


def stream(n: int, seed: int) -> Batch:
    """Readings of all devices, whose own clocks say something else than ours; gaps, silences."""
    random = np.random.default_rng(seed)
    batch = Batch(n, 2)
    batch.n = n
    batch.row[:] = random.integers(0, len(SITES), n)
    batch.received[:] = BEGIN + np.cumsum(random.choice([0, 1, 5, 40], n)) * SECOND
    batch.received[random.random(n) < 0.05] -= 3 * SECOND
    batch.time[:] = batch.received - 3600 * SECOND * batch.row.astype(np.int64)
    batch.values[:] = random.normal(50.0, 10.0, (n, 2))
    batch.values[random.random((n, 2)) < 0.3] = np.nan
    batch.verdict[:] = random.random(n) < 0.1
    return batch


class Plain:
    """What the feature should give, looked up in a dictionary of last values."""

    def __init__(self, at_most: float) -> None:
        self.at_most = at_most
        self.last: dict[int, tuple[float, float]] = {}
        self.clock: dict[str, float] = {}

    def reading(self, row: int, site: str, received: float, value: float) -> list[float]:
        """count, mean, median of the others, and the value less each."""
        alive = {r: v for r, v in self.last.items() if SITES[r] == site or site == "all"}
        now = max([received, *(heard for heard, _ in alive.values()), self.clock.get(site, 0)])
        alive = {r: v for r, v in alive.items() if now - v[0] <= self.at_most}
        for r in list(self.last):
            if (SITES[r] == site or site == "all") and r not in alive:
                del self.last[r]
        self.clock[site] = now if alive else 0
        others = [v for r, (_, v) in alive.items() if r != row]
        mean, median = (np.mean(others), np.median(others)) if others else (np.nan, np.nan)
        if np.isfinite(value):
            self.last[row] = (now, value)
            self.clock[site] = now
        return [len(others), float(mean), float(median), float(value - mean), float(value - median)]


STATS = ["count", "mean", "median", "from_mean", "from_median"]


@pytest.mark.parametrize("by", ["site", ""])
@pytest.mark.parametrize("seed", range(3))
def test_equals_a_plain_look_at_the_last_values(by: str, seed: int) -> None:
    """Of the same site or of the fleet, with devices that are evicted in between."""
    devices = known()
    operator: Any = group.build(
        SCHEMA, 7, 0, devices, of=["load"], by=by, stats=STATS, at_most="1m"
    )
    devices.rows(NAMES)
    plain, batch, random = Plain(60.0 * SECOND), stream(600, seed), np.random.default_rng(seed)
    for start in range(0, 600, 50):
        part = batch.part(start, start + 50)
        features = Features(operator.names, operator.channels, 50)
        operator.call(part, features).run(n=50)
        wanted = []
        for i in range(50):
            row, site = int(part.row[i]), SITES[part.row[i]] if by else "all"
            if part.verdict[i] or not site:
                wanted.append([np.nan] * 5)
                continue
            heard, value = float(part.received[i]), float(part.values[i, 1])
            wanted.append(plain.reading(row, site, heard, value))
        np.testing.assert_allclose(features.x, np.array(wanted), rtol=1e-12, atol=1e-12)
        gone = np.flatnonzero(random.random(7) < 0.2)
        operator.evict(gone)
        reset_rows(operator.blocks, gone)
        for row in gone.tolist():
            plain.last.pop(row, None)
    assert operator.names[0] == f"load_count_of_{by or 'fleet'}"


def heats(operator: Any, rows: list[int], values: list[float]) -> pd.DataFrame:
    """Features of readings a second apart."""
    batch = Batch(len(rows), 2)
    batch.n = len(rows)
    batch.row[:] = rows
    batch.time[:] = batch.received[:] = BEGIN + np.arange(len(rows)) * SECOND
    batch.values[:, 0] = values
    features = Features(operator.names, operator.channels, len(rows))
    operator.call(batch, features).run(n=len(rows))
    return pd.DataFrame(features.x, columns=list(operator.names))


def test_one_wild_value_leaves_no_error_behind() -> None:
    """A value beyond all others is out of the sum again when it has gone, to the last bit."""
    operator = group.build(SCHEMA, 7, 0, known(), of=["heat"], stats=["mean"])
    rows, values = [0, 1, 2, 1, 0, 1], [1.5, 1e24, 2.5, 3.5, 1.5, 0.0]
    found = heats(operator, rows, values)["heat_mean_of_fleet"].to_numpy()
    np.testing.assert_array_equal(found[[0, 3, 4, 5]], [np.nan, 2.0, 3.0, 2.0])


def test_the_median_is_of_so_many_members() -> None:
    """Devices beyond the limit are compared, but not compared with, until there is room."""
    operator: Any = group.build(
        SCHEMA, 7, 0, known(), of=["heat"], stats=["median", "count"], members_max=2
    )
    found = heats(operator, [0, 1, 2, 2, 3], [1.0, 3.0, 90.0, 91.0, 5.0])
    np.testing.assert_array_equal(found["heat_median_of_fleet"], [np.nan, 1.0, 2.0, 2.0, 2.0])
    np.testing.assert_array_equal(found["heat_count_of_fleet"], [0, 1, 2, 2, 3])
    operator.evict(np.array([0]))
    reset_rows(operator.blocks, np.array([0]))
    again = heats(operator, [2, 3], [91.0, 5.0])
    np.testing.assert_array_equal(again["heat_median_of_fleet"], [3.0, 47.0])


def test_tags_are_features() -> None:
    """Numbers as they are, texts as one of their values; nothing of a device that has none."""
    devices = known(9)
    operator = tags.build(SCHEMA, 9, 0, devices)
    devices.rows(["d1", "d3", "stranger"])
    found = heats(operator, [0, 1, 2], [1.0, 1.0, 1.0])
    assert list(found.columns) == ["site_north", "site_south", "depth"]
    nan = np.nan
    np.testing.assert_array_equal(found, [[0, 1, 3], [nan, nan, 9], [nan, nan, nan]])
    devices.evict([0], [1])
    assert devices.row("d0") == 0
    np.testing.assert_array_equal(heats(operator, [0], [1.0]), [[1, 0, 0]])


CONFIG = """
[devices]
tags = { file = "devices.csv" }
evict_after = "2m"
limit = 8
[channels.heat]
[channels.load]
[features]
tags = { of = ["depth"] }
group = [
  { of = ["heat"], by = "site", stats = ["from_mean", "median"], at_most = "1m" },
  { of = ["heat", "load"], stats = ["mean"], at_most = "90s" },
]
[tasks.heat]
target = "heat"
kind = "forecast"
horizons = [{ readings = 1 }]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""
TABLE = "device,site,depth\nd0,north,1\nd1,south,2\nd2,north,5\n\nd4,north,\nd5,south,2.5\n"


@pytest.fixture
def configured(tmp_path: Path) -> Path:
    """A pipeline.toml with its table of devices."""
    (tmp_path / "devices.csv").write_text(TABLE, encoding="utf-8")
    path = tmp_path / "pipeline.toml"
    path.write_text(CONFIG, encoding="utf-8")
    return path


def recorded(n: int) -> Readings:
    """Six devices, some of them evicted and back."""
    random = np.random.default_rng(5)
    clock = BEGIN + np.cumsum(random.choice([1, 4, 30], n)) * SECOND
    who = np.where(np.arange(n) // 40 % 2 == 0, random.integers(0, 6, n), random.integers(0, 2, n))
    return Readings([f"d{k}" for k in who], clock, clock, random.normal(size=(n, 2)))


def everything(made: Pipeline) -> list[Any]:
    """All that was put out, as bits."""
    outputs = made.sealed()
    codes = np.concatenate([output.predictions.codes for output in outputs]).tobytes()
    return [codes, np.concatenate([output.predictions.numbers for output in outputs]).tobytes()]


def fed(made: Pipeline, readings: Readings, size: int) -> None:
    """Readings in batches of a size, with ticks that evict; the same log for every size."""
    for start in range(0, len(readings), 60):
        for k in range(start, start + 60, size):
            made.feed(Delivery(readings=readings.part(k, min(k + size, start + 60))))
        made.feed(Delivery(clock=int(readings.received[start + 59])))


def test_groups_hold_through_batches_evictions_and_restarts(configured: Path) -> None:
    """One at a time, all at once, or with a restart in between: the same bits."""
    readings = recorded(480)
    whole, single = Pipeline(load(configured, {}, for_replay=True)), Pipeline.from_toml(configured)
    fed(whole, readings, 60)
    fed(single, readings, 1)
    wanted = everything(whole)
    assert everything(single) == wanted
    first, second = Pipeline.from_toml(configured), Pipeline.from_toml(configured)
    share_evicted(configured.parent, first)
    fed(first, readings.part(0, 240), 7)
    share_evicted(configured.parent, second)
    restore(second.walk, capture(first.walk, {}, {}))
    fed(second, readings.part(240, 480), 11)
    before, after = everything(first), everything(second)
    assert [a + b for a, b in zip(before, after, strict=True)] == wanted
    assert whole.walk.feature_names[2:5] == (
        "depth",
        "heat_from_mean_of_site",
        "heat_median_of_site",
    )
    assert len(whole.walk.stages.devices.retired) > 0
    groups = [block for name, block in whole.walk.blocks.items() if name.endswith(".groups")]
    assert [int((block.array[:, 3] > 0).sum()) for block in groups] == [2, 1]


def test_an_evicted_device_leaves_its_group(configured: Path) -> None:
    """Its row may be another's soon; it stays for as long as its last value counts."""
    made = Pipeline(load_text(CONFIG.replace('"1m"', '"1h"'), configured, {}, for_replay=True))
    made.feed(Delivery(readings=recorded(20)))
    groups = [block for name, block in made.walk.blocks.items() if name.endswith(".groups")]
    assert len(groups) == 2
    assert all(block.array.any() for block in groups)
    made.feed(Delivery(clock=BEGIN + 3600 * SECOND))
    assert made.walk.stages.devices.known > 0
    assert all(block.array.any() for block in groups)
    made.feed(Delivery(clock=BEGIN + 2 * 3600 * SECOND))
    assert made.walk.stages.devices.known == 0
    assert not any(block.array.any() for block in groups)


def test_a_checkpoint_is_of_one_moment_for_all_members(configured: Path) -> None:
    """A reading changes what is kept of other devices: none of it gets into a copy begun before."""
    made, at_once, later = (Pipeline.from_toml(configured) for _ in range(3))
    made.feed(Delivery(readings=recorded(40).part(0, 20)))
    restore(at_once.walk, capture(made.walk, {}, {}))
    parts: list[Part | None] = []
    facts = begin(made.walk, {}, {}, parts.append)
    last = recorded(20).received[-1:] + SECOND
    made.feed(Delivery(readings=Readings(["d0"], last, last, np.ones((1, 2)))))
    made.walk.copied()
    restore(later.walk, Checkpoint(facts, [part for part in parts if part is not None]))
    rows = np.arange(len(at_once.walk.stages.devices))
    wanted, found = (take_rows(one.walk.blocks, rows) for one in (at_once, later))
    assert {name: a.tobytes() for name, a in found.items()} == {
        name: a.tobytes() for name, a in wanted.items()
    }


def test_a_changed_vocabulary_starts_the_groups_anew(configured: Path) -> None:
    """Groups are known by the place of their value; those of the fleet are kept."""
    before = Pipeline.from_toml(configured)
    configured.with_name("devices.csv").write_text("device,site,depth\nd0,east,1\n")
    after = Pipeline.from_toml(configured)
    parts = [definition(one.settings, one.walk.stages)["features"] for one in (before, after)]
    same = [old == new for old, new in zip(*parts, strict=True)]
    assert same == [True, True, False, True]


def refusal(text: str, folder: Path) -> str:
    """What is wrong with a configuration beside its table."""
    with pytest.raises(Problems) as raised:
        load_text(text, folder / "pipeline.toml", {}, for_replay=True)
    [found] = raised.value.problems
    return str(found)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ('by = "site"', 'by = "sity"', "name one of the tags in devices.tags: site, depth"),
        ('["depth"]', '["deep"]', "name each of the tags in devices.tags once"),
        ('["from_mean", "median"]', '["mode"]', "name each of mean, median, count"),
        ('"devices.csv"', '"nothing.csv"', "nothing.csv cannot be read"),
        ('at_most = "1m"', 'at_most = "1m", members_max = 0', "give 1 to 4096"),
    ],
)
def test_wrong_options_are_explained(configured: Path, before: str, after: str, said: str) -> None:
    """Errors name what was found and what to write."""
    assert said in refusal(CONFIG.replace(before, after), configured.parent)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ("", r"write device and the name of each tag"),
        ("id,site\na,b\n", "write device"),
        ("device,site,site\na,b,c\n", "each once"),
        ("device,site\na,b\na,c\n", "line 3 of .* is 'a,c'; .* each device once"),
        ("device,site\na\n", "line 2 of .* write 2 values"),
        ("device,site\n,b\n", "line 2"),
    ],
)
def test_a_table_that_is_wrong_is_explained(tmp_path: Path, table: str, said: str) -> None:
    """With its line."""
    (tmp_path / "t.csv").write_text(table, encoding="utf-8")
    with pytest.raises(ValueError, match=said):
        read_tags(tmp_path / "t.csv")


def test_a_tag_of_too_many_values_becomes_no_features() -> None:
    """A serial number is no category."""
    table = {f"d{k}": [f"x{k}"] for k in range(65)}
    with pytest.raises(ValueError, match="'serial' with 65 different values, more than 64"):
        tags.build(SCHEMA, 1, 0, Devices(1, Tags(["serial"], table)))
