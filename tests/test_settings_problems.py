"""Mistakes in a configuration: each has its place and its remedy, and all are reported at once."""

import threading
from pathlib import Path

import pytest

from stream_processor.settings import Problem, Problems, load, load_text

HERE = Path("/somewhere/pipeline.toml")
BASE = """\
[channels.temperature]
range = [-40, 125]
[channels.power]
range = [0, 500]
[tasks.ahead]
kind = "forecast"
target = "power"
horizons = ["10m"]
model = ["preprocessing.StandardScaler", "linear_model.LinearRegression"]
"""


def problems(text: str, *, for_replay: bool = True) -> list[Problem]:
    """All that is wrong with a text."""
    with pytest.raises(Problems) as raised:
        load_text(text, HERE, {}, for_replay=for_replay)
    return raised.value.problems


def problem(text: str) -> Problem:
    """The only thing that is wrong with a text."""
    found = problems(text)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


TWELVE = """\
[stream]
nam = "pumps"
[state]
checkpoint_every = "30 seconds"
[devices]
limit = 0
timezone = "Berlin/Europe"
[[source]]
use = "mqqt"
[channels.temperature]
range = [125, -40]
[channels.power]
kind = "texts"
[features]
lags = { temprature = [1] }
rolling = [
  { of = ["power"], window = "10m", stats = ["mean"] },
  { of = ["power"], window = "10m", stats = ["mean", "medium"] },
]
[tasks.ahead]
kind = "forecast"
target = "powr"
horizons = ["10m", { readings = 0 }]
model = ["preprocessing.StandardScalr"]
password = "hunter2"
"""


def test_all_problems_are_reported_at_once() -> None:
    """Twelve mistakes in one file are twelve problems and a thirteenth for the key of a secret."""
    found = [(p.line, p.key, p.remedy) for p in problems(TWELVE, for_replay=False)]
    expected = [
        (2, "stream.nam", "'name'"),
        (4, "state.checkpoint_every", "us, ms, s, m, h, d"),
        (6, "devices.limit", "a number greater than or equal to 1"),
        (7, "devices.timezone", "Europe/Berlin"),
        (9, "source[0].use", "mqtt"),
        (11, "channels.temperature.range", "lowest value"),
        (13, "channels.power.kind", "'category' or 'text'"),
        (15, "features.lags.temprature", "'temperature'"),
        (18, "features.rolling[1].stats[1]", "mean"),
        (22, "tasks.ahead.target", "'power'"),
        (23, "tasks.ahead.horizons[1]", "from 1"),
        (24, "tasks.ahead.model[0]", "StandardScaler"),
        (25, "tasks.ahead.password", "environment"),
        (25, "tasks.ahead.password", "choose one of"),
    ]
    assert len(found) == len(expected), found
    for (line, key, remedy), wanted in zip(found, expected, strict=True):
        assert (line, key) == wanted[:2]
        assert wanted[2] in remedy


@pytest.mark.parametrize(
    ("extra", "key", "remedy"),
    [
        ("[colour]\n", "colour", "choose one of"),
        ("[source]\nuse = 'mqtt'\n", "source", "[[source]]"),
        ("[devices]\nlimit = 5\nexpected = 6\n", "devices.expected", "limit to 6"),
        ("[devices]\nlimit = true\n", "devices.limit", "integer"),
        ("[devices]\nlimit = '5'\n", "devices.limit", "integer"),
        ("[devices]\nmax_ahead = '0s'\n", "devices.max_ahead", "above 0"),
        ("[devices]\nmax_ahead = 5\n", "devices.max_ahead", "us, ms"),
        ("[devices]\nduplicates = 'id'\n", "devices.duplicates", "'sequence' or 'none'"),
        ("[devices.duplicates]\nby = 'time'\nremember = 101\n", "devices.duplicates.remember",
         "less than or equal to 100"),
        ("[state]\njournal_max = '5 gigs'\n", "state.journal_max", "GB"),
        ("[state]\ndurability = 'yes'\n", "state.durability", "'process' or 'power'"),
        ("[serve]\nport = 70000\n", "serve.port", "65535"),
        ("[drift]\ndetector = 'adwn'\n", "drift.detector", "adwin"),
        ("[devices]\nlimit = 1" + 400 * "0" + "\n", "devices.limit", "9007199254740992"),
        ("[drift.detector]\nuse = 'adwin'\ndelt = 1\n", "drift.detector.delt", "'delta'"),
        ("[drift.detector]\nuse = 'adwin'\ndelta = 'x'\n", "drift.detector.delta", "number"),
        ("[[sink]]\n", "sink[0].use", "add use"),
        ("[drift.detector]\nuse = 'adwin'\ndelta = 2.0\n", "drift.detector.delta", "probability"),
        ("[[sink]]\nuse = 'influx'\n", "sink[0].use", "there are"),
        ("[[sink]]\nuse = 'store'\n", "sink[0]", "[store]"),
        ("[stream]\nname = 'a/b'\n", "stream.name", "letters"),
        ("[features]\nraw = ['powr']\n", "features.raw[0]", "'power'"),
        ("[features]\nlags = {power = [0]}\n", "features.lags.power[0]", "greater than"),
        ("[features]\nlags = {power = [1, 1]}\n", "features.lags", "once"),
        ("[features]\ncalendar = ['our']\n", "features.calendar[0]", "'hour'"),
        ("[features.calendar]\nof = ['our']\n", "features.calendar.of[0]", "'hour'"),
        ("[tasks.b]\n" + BASE.split("]\n", 5)[5].replace('"10m"', '"10m", "600s"'),
         "tasks.b.horizons[1]", "remove one"),
    ],
)  # fmt: skip
def test_each_mistake_has_its_place_and_remedy(extra: str, key: str, remedy: str) -> None:
    """One mistake in an otherwise good file is one problem, at its key, with what to write."""
    text = BASE + extra
    found = problem(text)
    assert found.key == key
    assert remedy in found.remedy
    assert found.line is not None
    assert found.line > BASE.count("\n")


@pytest.mark.parametrize(
    ("old", "new", "key", "remedy"),
    [
        ('horizons = ["10m"]', "", "tasks.ahead.horizons", "add horizons"),
        ('kind = "forecast"', 'kind = "regression"', "tasks.ahead.horizons", "remove it"),
        ('kind = "forecast"', 'kind = "regresion"', "tasks.ahead.kind", "'regression'"),
        ('target = "power"', "", "tasks.ahead.target", "add target"),
        ('"10m"]', '"10m"]\nscope = "site"', "tasks.ahead.scope", '"tag:NAME" for'),
        ('"10m"]', '"10m"]\ntolerance = "0s"', "tasks.ahead.tolerance", "above 0"),
        ('"10m"]', '"10m"]\ninputs = ["powr"]', "tasks.ahead.inputs[0]", "'power'"),
        ('"10m"]', '"10m"]\ninputs = ["*", "!*"]', "tasks.ahead.inputs", "widen"),
        ("[tasks.ahead]", '[tasks."a b"]', 'tasks."a b"', "letters"),
        (
            'linear_model.LinearRegression"',
            'linear_model.Linear"',
            "tasks.ahead.model[1]",
            "Linear",
        ),
        ('"linear_model.LinearRegression"', "3", "tasks.ahead.model", "use ="),
    ],
)
def test_each_mistake_in_a_task(old: str, new: str, key: str, remedy: str) -> None:
    """What a task misses, or has too much, is named with its remedy."""
    assert old in BASE
    found = problem(BASE.replace(old, new))
    assert found.key == key
    assert remedy in found.remedy


def test_river_says_what_is_wrong_with_its_options() -> None:
    """An option that River does not know, or refuses, is a problem of the model."""
    unknown = BASE.replace(
        '"linear_model.LinearRegression"', '{ use = "linear_model.LinearRegression", l3 = 1 }'
    )
    assert "l3" in str(problem(unknown))
    both = BASE.replace(
        '"linear_model.LinearRegression"',
        '{ use = "linear_model.LinearRegression", l1 = 1.0, l2 = 1.0 }',
    )
    assert problem(both).key == "tasks.ahead.model[1]"


def test_a_file_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """Missing, a folder, not UTF-8, not TOML: each says so, with the line where there is one."""
    path = tmp_path / "pipeline.toml"
    for content, message, line in [
        (None, "No such file", None),
        (b"[stream]\nname = '\xff'\n", "UTF-8", 2),
        (b"[stream]\nname = \n", "column 8", 2),
        (b"[stream]\nname = 'x'\nport =", "end of", 3),
        (b"a = " + b"[" * 10_000, "nested", None),
        (b"a = " + b"9" * 10_000, "digits", None),
    ]:
        if content is not None:
            path.write_bytes(content)
        with pytest.raises(Problems) as raised:
            load(path, {})
        (found,) = raised.value.problems
        assert message in found.message
        assert found.line == line
    with pytest.raises(Problems, match="directory"):
        load(tmp_path, {})


def test_windows_files_are_read(tmp_path: Path) -> None:
    """A byte order mark and carriage returns change nothing, not even lines."""
    path = tmp_path / "pipeline.toml"
    path.write_bytes(
        b"\xef\xbb\xbf" + (BASE + "[serve]\nport = -1\n").replace("\n", "\r\n").encode()
    )
    with pytest.raises(Problems) as raised:
        load(path, {}, for_replay=True)
    assert [p.line for p in raised.value.problems] == [11]


@pytest.mark.parametrize(
    ("option", "key"),
    [
        ("qos = 3", "source[0].qos"),
        ("url = 'http://broker'", "source[0].url"),
        ("device = 'here'", "source[0].device"),
        ("ca = 'none.pem'", "source[0]"),
    ],
)
def test_plugins_themselves_say_what_they_refuse(option: str, key: str) -> None:
    """What only the source or the codec can judge is a problem at the option it speaks of."""
    mqtt = f"[[source]]\nuse = 'mqtt'\ntopics = ['a']\ncodec = 'json'\n{option}\n"
    wrong = BASE.replace("[0, 500]", "[500, 0]")
    assert len(problems(wrong + mqtt, for_replay=False)) == 2
    (found,) = problems(BASE + mqtt, for_replay=False)
    assert found.key.startswith(key)
    assert not problems_of_replay(BASE + mqtt)


@pytest.mark.parametrize(
    "source",
    [
        "use = 'file'\npath = '/not/there.csv'",
        "use = 'folder'\npath = '/not/there'",
        "use = 'sql'\nurl = 'nonsense'\ntable = 't'",
    ],
)
def test_one_mistake_is_told_once(source: str) -> None:
    """What stands in for a wrong option, so that others can be tried, is no mistake of the user."""
    (found,) = problems(f"{BASE}[[source]]\n{source}\n", for_replay=False)
    assert found.key in {"source[0].path", "source[0].url"}


def problems_of_replay(text: str) -> tuple[str, ...]:
    """Keys of what is wrong with a text for a replay."""
    try:
        load_text(text, HERE, {}, for_replay=True)
    except Problems as found:
        return tuple(p.key for p in found.problems)
    return ()


def test_a_broken_module_of_the_users_is_a_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever goes wrong while a model's module is imported is said, not thrown."""
    (tmp_path / "broken_pumps.py").write_text("1 / 0\n")
    monkeypatch.syspath_prepend(tmp_path)
    steps = '["preprocessing.StandardScaler", "linear_model.LinearRegression"]'
    found = problem(BASE.replace(steps, '"broken_pumps:make"'))
    assert found.key == "tasks.ahead.model"
    assert "division by zero" in found.message


WRONG_OPTIONS = """\
[[source]]
use = "mqtt"
url = "http://localhost:1883"
topics = ["a/#/b"]
qos = 3
keepalive = 0
queue = 0
device = "topic:x"
time = "fild:ts"
version = "4"
insecure = "yes"
ca = "none.pem"
zone = "Mars"
[drift]
detector = { use = "adwin", delta = 5.0, clock = 0, grace_period = -1 }
[[sink]]
use = "influxdb"
url = "nonsense"
batch = -5
timeout = "x"
[serve]
host = "not a host!!"
[state]
journal_max = "1KB"
"""


def test_every_wrong_option_of_a_plugin_is_told() -> None:
    """Not only the first that a plug-in would refuse, and whatever else is wrong beside it."""
    source = [
        "url",
        "topics",
        "qos",
        "keepalive",
        "queue",
        "device",
        "time",
        "version",
        "insecure",
        "ca",
        "zone",
    ]
    threads = set(threading.enumerate())
    found = [p.key for p in problems(BASE + WRONG_OPTIONS, for_replay=False)]
    assert set(threading.enumerate()) == threads
    assert sorted(found) == sorted(
        [
            *(f"source[0].{key}" for key in source),
            *(f"drift.detector.{key}" for key in ("delta", "clock", "grace_period")),
            *(f"sink[0].{key}" for key in ("url", "batch", "timeout")),
            "serve.host",
            "state.journal_max",
        ]
    )


def test_a_wrong_type_hides_nothing_of_a_source() -> None:
    """A required option that is no list, a codec that does not exist: the others are tried."""
    text = "[[source]]\nuse = 'mqtt'\ntopics = 'a'\nqos = 7\ncodec = 'jsn'\nkeepalive = -1\n"
    found = [p.key for p in problems(BASE + text, for_replay=False)]
    assert found == [
        "source[0].topics",
        "source[0].qos",
        "source[0].codec",
        "source[0].keepalive",
    ]


def test_what_the_environment_lacks_is_one_problem() -> None:
    """What is not set is not also said to be a wrong address."""
    sink = "[[sink]]\nuse = 'influxdb'\nurl = '${INFLUX}'\nbatch = 0\n"
    found = problems(BASE + sink)
    assert [p.key for p in found] == ["sink[0].url", "sink[0].batch"]
    assert "environment" in found[0].message


def test_every_wrong_step_of_a_model_is_told() -> None:
    """Each at its own place."""
    steps = '["preprocessing.StandardScaler", "linear_model.LinearRegression"]'
    wrong = (
        '["preprocessing.StandrdScaler", { use = "clip", limt = 5 },\n'
        '{ use = "linear_model.LinearRegression", foo = 3 }]'
    )
    found = problems(BASE.replace(steps, wrong))
    assert [(p.key, p.line) for p in found] == [
        ("tasks.ahead.model[0]", 9),
        ("tasks.ahead.model[1]", 9),
        ("tasks.ahead.model[2]", 10),
    ]


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("0.0.0.0", True),
        ("localhost", True),
        ("gauge-1.example.com", True),
        ("127.0.0.256", False),
        ("", False),
        ("http://x", False),
        ("localhost:8000", False),
        ("-a.b", False),
    ],
)
def test_where_it_may_listen(host: str, good: bool) -> None:
    """An address, or what may be the name of a host."""
    assert problems_of_replay(BASE + f"[serve]\nhost = '{host}'\n") == (
        () if good else ("serve.host",)
    )


def test_a_journal_has_a_least_size() -> None:
    """16 MB are taken; less is a problem with the remedy."""
    assert not problems_of_replay(BASE + "[state]\njournal_max = '16MB'\n")
    assert "16MB" in problem(BASE + "[state]\njournal_max = '15.9MB'\n").remedy
