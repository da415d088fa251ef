"""The dashboards of deploy/grafana: each query runs against the real databases and finds rows."""

import re
from collections.abc import Iterator
from functools import partial
from itertools import combinations as pairs

import pytest
import yaml

from streamgauge.output import SCORE_COLUMNS
from tests.drifting import START
from tests.grafana import BOARDS, FOLDER, by_name, filled, panels, questions, span
from tests.plant import MINUTES, ODD, PART, Plant, planted
from tests.services.ports import wait_for

HOW_TO = FOLDER.parents[1] / "docs" / "how-to"
KAFKA_ONLY = "streamgauge_source_lag"
FUNCTIONS = {"abs", "bottom", "count", "last", "max", "mean", "min", "non_negative_difference"}
FUNCTIONS |= {"top", "time", "fill"}
"""Of InfluxQL, those that version 3 has too (InfluxDB 3 Core, "InfluxQL feature support")."""


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Plant]:
    """The service after four and a half days: a level that rose, a device that was silent."""
    with planted(tmp_path_factory.mktemp("plant")) as plant:
        for first in range(0, MINUTES - PART, PART):
            plant.post("pump-1", first, first + PART)
        plant.settle()
        plant.post("pump-1", MINUTES - PART, MINUTES)
        plant.post(ODD, MINUTES - 300, MINUTES)
        plant.settle()
        yield plant


@pytest.mark.parametrize("board", BOARDS)
def test_every_query_finds_rows(board: str, plant: Plant) -> None:
    """And something in each of their columns, with its variables filled in as Grafana does; of
    variables without "All", with some value."""
    choices = plant.choices(board)
    for one in questions(board):
        if one.kind == "prometheus":
            for asked in by_name(one):
                if KAFKA_ONLY not in asked.text:
                    wait_for(partial(plant.found, asked, choices), what=f"an answer to {asked}")
        else:
            assert plant.lacking(one, choices) == set(), one


def test_a_device_of_any_name_is_found_alone(plant: Plant) -> None:
    """Its name stands in regular expressions: it is escaped, and finds no other."""
    chosen = {"stream": "plant.1", "device": ODD, "task": "heat_soon"}
    (asked,) = (
        one for one in questions("device") if one.where == "Predictions and labels, how many A"
    )
    found = plant.rows(asked, chosen)
    assert sum(row["predictions"] for row in found) == 2 * 300
    other = plant.rows(asked, chosen | {"device": "pump-1"})
    assert sum(row["predictions"] for row in other) == 2 * MINUTES


def test_a_dashboard_says_what_the_service_says(plant: Plant) -> None:
    """Errors that InfluxDB reckons from single predictions, and those of the page."""
    chosen = {"stream": "plant.1", "device": ODD, "task": "heat_soon"}
    (asked,) = (one for one in questions("device") if one.where.startswith("Error beside"))
    text = filled(asked.text, chosen | span(START // 1_000, plant.now // 1_000))
    whole = text.replace("time(10m), ", "").replace(" fill(none)", "")
    near, far = (row["model"] for row in plant.ask(whole))
    own = plant.client.get("/v1/tasks/heat_soon/scores", params={"device": ODD}).json()["items"]
    by_horizon = {one["horizon"]: one["scores"]["mae"] for one in own}
    assert near == pytest.approx(by_horizon["1 reading"], rel=1e-9)
    assert far == pytest.approx(by_horizon["10m"], rel=1e-9)


def test_drifts_of_errors_and_of_channels_are_told_apart(plant: Plant) -> None:
    """By what they are tagged with; none is counted twice or left out."""
    every = plant.ask('SELECT "signal", "after" FROM "iot_drift"')
    of_channels = sum(row["signal"] is not None for row in every)
    asked = {one.where: one for one in questions("drift")}
    for where, count in (
        ("Drifts of errors A", len(every) - of_channels),
        ("Drifts of channels A", of_channels),
    ):
        (row,) = plant.rows(asked[where], {"stream": "plant.1"})
        assert row["drifts"] == count > 0


def test_every_part_works_meanwhile(plant: Plant) -> None:
    """Sinks, history and checkpoint take results of tasks of every kind."""
    said = plant.client.get("/readyz").json()
    assert said["ready"], said


def test_the_page_on_influxdb_tells_what_is_written(plant: Plant) -> None:
    """Measurements with their tags and fields, all that there are and no others."""
    page = (HOW_TO / "influxdb.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(iot_\w+)` \| (.*)$", page, re.MULTILINE))
    recovered = told.pop("iot_recovered")
    assert recovered == "`stream` `device` `channel` | `value` |"
    for measurement, text in told.items():
        tags, fields = (set(re.findall(r"`(\w+)`", part)) for part in text.split("|")[:2])
        known = {row["fieldKey"] for row in plant.ask(f"SHOW FIELD KEYS FROM {measurement}")}
        assert tags == {row["tagKey"] for row in plant.ask(f"SHOW TAG KEYS FROM {measurement}")}
        if measurement == "iot_model":
            assert known <= set(SCORE_COLUMNS)
        else:
            assert fields == {re.sub("^p_.*", "p_CLASS", name) for name in known}
    found = {row["name"] for row in plant.ask("SHOW MEASUREMENTS")}
    assert found == set(told)


@pytest.mark.parametrize("board", BOARDS)
def test_a_dashboard_can_be_loaded(board: str) -> None:
    """Its file is named in its uid, its panels have numbers of their own and do not overlap, and
    whom they ask is provisioned."""
    content = BOARDS[board]
    assert content["uid"] == f"streamgauge-{board}"
    rows = [one for one in content["panels"] if one["type"] == "row"]
    every = [*panels(board), *rows]
    assert len({one["id"] for one in every}) == len(every)
    places = [one["gridPos"] for one in every]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    assert not [both for both in pairs(places, 2) if _overlap(*both)]
    known = {
        (one["type"], one["uid"])
        for path in (FOLDER / "datasources").glob("*.yaml")
        for one in yaml.safe_load(path.read_text(encoding="utf-8"))["datasources"]
    }
    asked = [*content["templating"]["list"], *content.get("annotations", {}).get("list", [])]
    asked += [one for panel in panels(board) for one in (panel, *panel["targets"])]
    assert {(one["datasource"]["type"], one["datasource"]["uid"]) for one in asked} <= known


def _overlap(one: dict[str, int], other: dict[str, int]) -> bool:
    return all(
        one[at] < other[at] + other[size] and other[at] < one[at] + one[size]
        for at, size in (("x", "w"), ("y", "h"))
    )


@pytest.mark.parametrize("board", BOARDS)
def test_queries_use_what_every_version_has(board: str) -> None:
    """No function of InfluxQL that version 3 lacks, and no clause (SLIMIT, INTO)."""
    texts = [one.text for one in questions(board) if one.kind == "influxdb"]
    used = {name for text in texts for name in re.findall(r"([a-z_]+)\(", text)}
    assert used <= FUNCTIONS
    assert not [text for text in texts if re.search(r"\b(SLIMIT|SOFFSET|INTO)\b", text)]


def test_the_page_tells_what_there_is() -> None:
    """Each dashboard has its line, with whom it asks, and the data sources shown fit them."""
    page = (HOW_TO / "grafana.md").read_text(encoding="utf-8")
    told = dict(re.findall(r"^\| `(\w+)` \|.*\| (\w+) \|$", page, re.MULTILINE))
    both = {"influxdb": "InfluxDB", "prometheus": "Prometheus"}
    for board in BOARDS:
        kinds = {one.kind for one in questions(board)}
        assert told.pop(board) == ("both" if len(kinds) == 2 else both[kinds.pop()])
    assert not told
    shown = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    assert [one["datasources"][0]["uid"] for one in shown] == ["streamgauge-influxdb"] * 2
