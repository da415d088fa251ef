"""The `check` command: what it prints and how it exits."""

import io
import re
from pathlib import Path

import pytest

from serving.check import check, print_problems, print_summary
from stream_processor.settings import Problem

GOOD = """\
[channels.power]
unit = "kW"
range = [0, 500]
[channels.load]
[features]
lags = { power = [1, 2] }
[tasks.ahead]
kind = "forecast"
target = "power"
horizons = ["10m", { readings = 3 }]
model = ["preprocessing.StandardScaler", { use = "linear_model.LinearRegression", l2 = 0.1 }]
"""


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def checked(folder: Path, text: str, **env: str) -> tuple[int, list[str]]:
    """Exit code and lines of a check of this text."""
    path = folder / "pipeline.toml"
    path.write_text(text)
    out = io.StringIO()
    return check(path, env, out), out.getvalue().replace(str(path), "FILE").splitlines()


def test_every_problem_is_one_line_that_editors_understand(tmp_path: Path) -> None:
    """File, line, key, value, problem and remedy; the count at the end; exit code 2."""
    wrong = GOOD.replace('target = "power"', 'target = "powr"').replace("[0, 500]", "[500, 0]")
    wrong += '[[source]]\nuse = "none"\n'
    code, lines = checked(tmp_path, wrong)
    assert code == 2
    assert lines[0] == (
        "FILE:3: channels.power.range = [500, 0]: 500 is not below 0; "
        "write the lowest value, then the highest"
    )
    assert lines[1] == (
        "FILE:9: tasks.ahead.target = \"powr\": no such channel; did you mean 'power'?"
    )
    assert lines[2].startswith('FILE:13: source[0].use = "none": ')
    assert lines[3:] == ["3 problems in FILE"]


def test_a_good_file_is_summed_up(tmp_path: Path) -> None:
    """Channels, features by name, tasks with horizons and model, notes; exit code 0."""
    code, lines = checked(tmp_path, GOOD)
    assert code == 0
    assert "stream: stream" in lines
    assert "duplicates: by time, among the last 8 readings of a device" in lines
    assert "channel: power, number from 0 to 500 kW" in lines
    assert "channel: load, number" in lines
    assert "features: 4: power, load, power_lag1, power_lag2" in lines
    assert (
        "task: ahead: forecast of power, 10m (label at most 1m later) ahead, 3 readings ahead; "
        "preprocessing.StandardScaler | linear_model.LinearRegression"
    ) in lines
    assert "drift: error by adwin" in lines
    assert any("not watched for drift, since devices.limit is 100,000" in line for line in lines)
    assert any(line.startswith("note: no range for load") for line in lines)


def test_an_anomaly_task_is_told_with_its_budget(tmp_path: Path) -> None:
    """What it watches, how, and how many alarms there may be."""
    text = '[channels.a]\n[tasks.odd]\nkind = "anomaly"\n'
    for more, budget in (
        ("", "; 2 alarms per device and week"),
        ('alarms = "1 per device per day"\n', "; 7 alarms per device and week"),
        ('alarms = "none"\n', ""),
    ):
        code, lines = checked(tmp_path, text + more)
        assert code == 0
        assert f"task: odd: anomaly of all inputs; novelty{budget}" in lines


def test_what_is_watched_and_on_which_false_alarms(tmp_path: Path) -> None:
    """A small fleet's channels are watched; the threshold follows from devices and channels."""
    code, lines = checked(tmp_path, GOOD + "[devices]\nexpected = 100\n")
    assert code == 0
    assert "drift: error by adwin, level by cusum, noise by cusum, shape by chunk_ks" in lines
    [budget] = [line for line in lines if "false alarms a day" in line]
    assert "2 false alarms a day shared by error, level, noise, shape of 100 devices" in budget
    assert "h of a level is 49" in budget
    more = (
        "[devices]\nexpected = 100\n[drift]\nalarms_per_day = 0.2\nnoise = 'none'\nshape = 'none'\n"
    )
    _, lines = checked(tmp_path, GOOD + more)
    assert "drift: error by adwin, level by cusum" in lines
    assert any("0.2 false alarms a day" in line and "h of a level is 57" in line for line in lines)


def test_a_file_without_a_source_is_good_for_replay(tmp_path: Path) -> None:
    """A missing source alone is a note, also where channels come with the data."""
    code, lines = checked(tmp_path, "[tasks.ahead]" + GOOD.split("[tasks.ahead]")[1])
    assert code == 0
    assert "channels: the numeric columns of the file that is replayed" in lines
    assert "note: no [[source]]: good for replay, not for run" in lines


def test_a_missing_source_is_not_listed_among_other_problems(tmp_path: Path) -> None:
    """Whoever writes a configuration for replay is not told to add a source."""
    code, lines = checked(tmp_path, GOOD.replace('"power"', '"powr"'))
    assert code == 2
    assert lines[-1] == "1 problem in FILE"


def test_a_missing_file_is_a_problem(tmp_path: Path) -> None:
    """The file's own path is the key."""
    out = io.StringIO()
    assert check(tmp_path / "none.toml", {}, out) == 2
    assert "No such file" in out.getvalue()


def test_a_terminal_gets_tables() -> None:
    """On a terminal problems and summary are tables, and brackets in them are no markup."""
    out = Terminal()
    problem = Problem("source[0].use", '"[red]"', 3, "unknown", "choose one of: mqtt")
    print_problems(Path("pipeline.toml"), [problem], out)
    print_summary([("note", "[[source]]")], out)
    text = out.getvalue()
    assert "1 problem in pipeline.toml" in text
    assert "line" in text
    assert "source[0]" in text
    assert "[red]" in text
    assert "[[source]]" in text


def test_it_tells_what_was_compiled_and_what_a_device_costs(tmp_path: Path) -> None:
    """Each task says how its model runs and, where River runs it, why; memory is per device."""
    _, lines = checked(tmp_path, GOOD)
    assert any("all of it runs compiled: StandardScaler | " in line for line in lines)
    [memory] = [line for line in lines if line.startswith("memory: ")]
    told = re.match(
        r"memory: this configuration: ([\d.]+) KB per device, ([\d,]+) MB at ([\d,]+) ", memory
    )
    assert told, memory
    each, whole, devices = (float(number.replace(",", "")) for number in told.groups())
    assert whole == pytest.approx(each * devices / 1e3, rel=0.05, abs=1.0)
    tree = GOOD.replace("linear_model.LinearRegression", "tree.SGTRegressor")
    tree = tree.replace(", l2 = 0.1", "")
    _, lines = checked(tmp_path, tree)
    why = next(line for line in lines if line.startswith("model: "))
    assert "runs as River, one instance per device; SGTRegressor has no compiled" in why


@pytest.mark.parametrize(
    ("model", "grows"),
    [
        ('{ use = "time_series.SNARIMAX", p = 2, d = 1, q = 1 }', False),
        ('{ use = "neighbors.KNNRegressor" }', True),
        ('{ use = "multioutput.RegressorChain", model = { use = "rules.AMRules" } }', False),
    ],
)
def test_it_tells_how_large_a_model_of_rivers_becomes(
    tmp_path: Path, model: str, grows: bool
) -> None:
    """As in a checkpoint, and whether it is larger than after half the readings."""
    _, lines = checked(tmp_path, re.sub(r"model = \[.*\]", f"model = [{model}]", GOOD))
    why, _ = [line for line in lines if line.startswith("model: ")]
    told = re.search(r"; ([\d.]+) KB each in a checkpoint after 200 readings(, and grows: )?", why)
    assert told, why
    assert 0.5 < float(told[1]) < 100.0
    assert (told[2] is not None) == grows


def test_two_features_of_one_name_are_a_problem(tmp_path: Path) -> None:
    """A channel called `hour` would stand twice among the features."""
    config = GOOD.replace("[channels.load]", "[channels.hour]\n[channels.load]")
    code, lines = checked(tmp_path, config.replace("[features]", '[features]\ncalendar = ["hour"]'))
    assert code == 2
    assert any("a feature 'hour' exists already; rename that channel" in line for line in lines)


def test_what_is_arranged_is_told(tmp_path: Path) -> None:
    """How long readings wait for others, and how rows come about."""
    order = '[devices]\nreorder = "5s"\nassemble = { use = "wait", up_to = "2s" }\n'
    _, lines = checked(tmp_path, order + GOOD)
    assert (
        "order: what is up to 5s late finds its place; at most 32 readings of a device wait"
    ) in lines
    assert "rows: messages are joined until all channels are there, 2s at most" in lines
    last = '[devices]\nassemble = { use = "last", within = "10m" }\n'
    _, lines = checked(tmp_path, last + GOOD)
    assert "rows: each message with the last known values, at most 10m old" in lines


def test_a_unit_that_nobody_knows_is_noted(tmp_path: Path) -> None:
    """Any text may be a unit, but values in others convert to none that is unknown."""
    code, lines = checked(tmp_path, GOOD.replace('"kW"', '"kWatz"'))
    noted = [line for line in lines if "is no unit that is known here" in line]
    assert code == 0
    assert [line.partition(",")[0] for line in noted] == [
        "note: channels.power: 'kWatz' is no unit that is known here"
    ]
    assert not any("is no unit" in line for line in checked(tmp_path, GOOD)[1])
