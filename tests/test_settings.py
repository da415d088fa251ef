"""The settings: what a pipeline.toml may say, and what it means."""

import math
import re
from pathlib import Path
from typing import Any

import pytest

from stream_processor.duplicates import Policy
from stream_processor.settings import Problem, Problems, Settings, load, load_text, with_channels
from stream_processor.settings.features import choose_inputs
from stream_processor.settings.kinds import Span
from stream_processor.settings.tasks import TaskSettings
from streamgauge.schema import Kind, Outside

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
HERE = Path("/somewhere/pipeline.toml")
SECOND = 10**6

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


def replayed(text: str, **env: str) -> Settings:
    """The settings of a text that names no source."""
    return load_text(text, HERE, env, for_replay=True)


def problems(text: str, *, for_replay: bool = True, **env: str) -> list[Problem]:
    """All that is wrong with a text."""
    with pytest.raises(Problems) as raised:
        load_text(text, HERE, env, for_replay=for_replay)
    return raised.value.problems


def problem(text: str, *, for_replay: bool = True, **env: str) -> Problem:
    """The only thing that is wrong with a text."""
    found = problems(text, for_replay=for_replay, **env)
    assert len(found) == 1, "\n".join(map(str, found))
    return found[0]


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.toml")), ids=lambda path: path.name)
def test_every_example_loads(path: Path) -> None:
    """The examples are valid, whatever they are for."""
    assert load(path, {}, for_replay=True).tasks


def test_the_sample_means_what_it_says() -> None:
    """Durations, sizes, spans, ranges, options and models come out typed."""
    pumps = load(EXAMPLES / "pumps.toml", {})
    assert pumps.state.dir == EXAMPLES / "state"
    assert pumps.state.journal_max == 5_000_000_000
    assert pumps.devices.evict_after == 30 * 86_400 * SECOND
    assert pumps.sources[0].use == "mqtt"
    assert pumps.sources[0].options["topics"] == ["sensors/+/telemetry"]
    assert pumps.sources[0].codec is not None
    assert pumps.sources[0].codec.options == {
        "device": "topic:1",
        "time": "field:ts",
        "zone": "Europe/Berlin",
    }
    assert pumps.features.rolling[1].window == Span("10 readings", 0, 10)
    ahead = pumps.tasks["power_ahead"]
    assert [horizon.text for horizon in ahead.horizons] == ["10m", "1h", "1 reading"]
    assert ahead.tolerance == 30 * SECOND
    assert ahead.model[1] == {"use": "linear_model.LinearRegression", "l2": 1e-4}
    assert ahead.change
    assert not pumps.tasks["power_now"].change
    assert pumps.drift.detector is not None
    assert pumps.drift.detector.options == {"delta": 0.002}


def test_channels_become_a_schema() -> None:
    """The schema has the channels in the file's order, without a range where none is declared."""
    text = BASE + '[channels."PM2.5"]\nunit = "ug/m3"\n[channels.on]\nkind = "boolean"\n'
    text += 'outside = "reject"\npath = "data.on"\n'
    schema = replayed(text).schema()
    assert schema.names == ("temperature", "power", "PM2.5", "on")
    assert schema.channels[0].low == -40
    assert schema.channels[2].high == math.inf
    assert schema.channels[3].kind is Kind.BOOLEAN
    assert schema.channels[3].outside is Outside.REJECT
    assert schema.channels[3].path == "data.on"


def test_defaults() -> None:
    """What the file leaves out has its documented value."""
    found = replayed("")
    assert found.state.checkpoint_every == 30 * SECOND
    assert found.devices.limit == 100_000
    assert found.devices.max_ahead == 300 * SECOND
    assert found.devices.evict_after is None
    assert found.devices.duplicates.kept == (Policy.TIME, 8)
    assert found.drift.detector is not None
    assert found.drift.detector.use == "adwin"
    assert (found.serve.host, found.serve.port) == ("127.0.0.1", 8000)
    assert found.scores.window == 50


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("'content'", (Policy.CONTENT, 16)),
        ("'none'", (Policy.NONE, 0)),
        ("{ by = 'sequence' }", (Policy.SEQUENCE, 64)),
        ("{ by = 'sequence', remember = 100 }", (Policy.SEQUENCE, 100)),
    ],
)
def test_how_duplicates_are_recognised(text: str, kept: tuple[Policy, int]) -> None:
    """A word, or a table that says how far back as well."""
    found = replayed(f"[devices]\nduplicates = {text}\n")
    assert found.devices.duplicates.kept == kept


def test_who_may_be_served() -> None:
    """Names of hosts, and whether there is a page; a host's address with a port is refused."""
    found = replayed('[serve]\nhosts = ["gauge.example", "[fd00::1]"]\npage = false\n').serve
    assert (found.hosts, found.page) == (("gauge.example", "[fd00::1]"), False)
    refused = problem(BASE + '[serve]\nhosts = ["https://gauge.example:8000"]\n')
    assert (refused.key, refused.line) == ("serve.hosts[0]", 11)
    assert "without https:// and port" in str(refused)


def test_references_are_resolved_from_the_environment() -> None:
    """${NAME} stands for a variable anywhere in a text, and for a number where one is wanted."""
    text = BASE + '[stream]\nname = "${SITE}-pumps"\n[serve]\nport = "${PORT}"\n'
    found = replayed(text, SITE="north", PORT="8080")
    assert found.stream.name == "north-pumps"
    assert found.serve.port == 8080


def test_a_name_that_is_not_set_is_a_problem() -> None:
    """Every missing variable is named, with its place."""
    found = problem(BASE + '[serve]\nhost = "${HOST}"\n')
    assert (found.key, found.value, found.line) == ("serve.host", '"${HOST}"', 11)
    assert "export HOST=" in found.remedy


def test_what_the_environment_holds_is_never_shown() -> None:
    """A value from the environment that is refused is shown as its reference."""
    found = problem(BASE + '[stream]\nname = "${SECRET}"\n', SECRET="hunter 2")
    assert found.value == '"${SECRET}"'
    assert "hunter" not in str(found)


def test_a_secret_in_the_file_is_refused_and_not_shown() -> None:
    """A literal password, key or address with a password is a problem that does not repeat it."""
    mqtt = "[[source]]\nuse = 'mqtt'\ntopics = ['a']\ncodec = 'json'\n"
    found = [
        problem(BASE + mqtt + "password = 'hunter2'\n"),
        problem(BASE + mqtt + "url = 'mqtt://me:hunter2@broker'\n"),
        problem(BASE + "[serve]\napi_keys = ['hunter2']\n"),
    ]
    assert [p.key for p in found] == ["source[0].password", "source[0].url", "serve.api_keys[0]"]
    assert "hunter2" not in "".join(map(str, found))
    assert all("environment" in p.remedy for p in found)


def test_api_keys_come_from_the_environment() -> None:
    """References in the file and STREAMGAUGE_API_KEY give the keys; a repr shows none of them."""
    text = BASE + "[serve]\napi_keys = ['${ONE}']\n"
    found = replayed(text, ONE="first", STREAMGAUGE_API_KEY="second")
    assert found.serve.api_keys == ("first", "second")
    assert "first" not in repr(found)


def test_keys_may_be_for_reading_or_writing_only() -> None:
    """They come from the environment like all secrets, and no repr shows them."""
    text = BASE + "[serve]\nread_keys = ['${ONE}']\nwrite_keys = ['${TWO}']\n"
    found = replayed(text, ONE="first", TWO="second")
    assert (found.serve.read_keys, found.serve.write_keys) == (("first",), ("second",))
    assert "first" not in repr(found)
    for key in ("read_keys", "write_keys"):
        assert problem(BASE + f"[serve]\n{key} = ['hunter2']\n").key == f"serve.{key}[0]"


def test_one_source_takes_what_is_posted() -> None:
    """There is one POST /v1/readings; of two sources `http` none could tell which is meant."""
    http = "[[source]]\nuse = 'http'\n"
    assert problem(BASE + http + http, for_replay=False).key == "source[1].use"


def test_a_source_is_needed_to_run_but_not_to_replay() -> None:
    """Without a source there is nothing to run; a replay needs neither it nor its variables."""
    found = problem(BASE, for_replay=False)
    assert (found.key, found.line) == ("source", None)
    mqtt = "[[source]]\nuse = 'mqtt'\ntopics = ['a']\ncodec = 'json'\npassword = '${PASSWORD}'\n"
    assert problem(BASE + mqtt, for_replay=False).key == "source[0].password"
    assert replayed(BASE + mqtt).sources[0].options["password"] == ""


def test_options_of_source_and_codec_stand_in_one_table() -> None:
    """An option that neither knows is a problem that suggests one of either; types are checked."""
    mqtt = "[[source]]\nuse = 'mqtt'\ntopics = ['a']\ncodec = 'json'\n"
    assert "'keepalive'" in problem(BASE + mqtt + "keepaliv = 3\n").remedy
    assert "'device'" in problem(BASE + mqtt + "devise = 'topic:1'\n").remedy
    assert problem(BASE + mqtt + "qos = 'one'\n").key == "source[0].qos"
    assert problem(BASE + mqtt.replace("['a']", "[1]")).key == "source[0].topics[0]"
    assert problem(BASE + mqtt.replace("topics = ['a']\n", "")).key == "source[0].topics"


def test_files_of_certificates_are_looked_for_beside_the_configuration(tmp_path: Path) -> None:
    """As all paths are that the file names: where the service was started makes no difference."""
    path = tmp_path / "pipeline.toml"
    mqtt = "[[source]]\nuse = 'mqtt'\ntopics = ['a']\ncodec = 'json'\nca = 'tls/ca.pem'\n"
    path.write_text(BASE + mqtt)
    settings = load(path, {}, for_replay=True)
    assert settings.sources[0].options["ca"] == tmp_path / "tls" / "ca.pem"


@pytest.mark.parametrize(
    ("topics", "device", "right"),
    [
        ("['plant/+']", "topic:1", True),
        ("['plant/+']", "topic:2", False),
        ("['plant/+']", "topic:-2", True),
        ("['plant/+']", "topic:-3", False),
        ("['plant/#']", "topic:7", True),
        ("['$share/all/plant/+']", "topic:2", False),
        ("['plant/+', 'labels/+/done']", "topic:2", True),
        ("['plant/+']", "field:id", True),
    ],
)
def test_a_level_that_no_topic_has_is_refused(topics: str, device: str, right: bool) -> None:
    """Levels count from 0, or from the end; # stands for any number of them."""
    mqtt = f"[[source]]\nuse = 'mqtt'\nurl = 'mqtt://localhost'\ntopics = {topics}\n"
    text = BASE + mqtt + f"codec = 'json'\ndevice = '{device}'\n"
    if right:
        load_text(text, Path("x.toml"), {})
    else:
        found = problem(text, for_replay=False)
        assert found.key == "source[0].device"
        assert "write topic:0 to topic:1" in found.remedy


def test_a_codec_is_named_not_opened() -> None:
    """The codec's options stand in the source's table, where they are looked for."""
    mqtt = (
        "[[source]]\nuse = 'mqtt'\ntopics = ['a']\ncodec = { use = 'json', device = 'topic:1' }\n"
    )
    found = problem(BASE + mqtt)
    assert (found.key, found.remedy) == ("source[0].codec.device", "write device beside codec")


def test_channels_may_come_with_the_replayed_file() -> None:
    """Names are checked once the channels are known, with the lines of the file."""
    text = BASE.split("[tasks", maxsplit=1)
    deferred = replayed("[features]\nlags = { heat = [1] }\n[tasks" + text[1])
    known = with_channels(deferred, ["heat", "power"])
    assert list(known.channels) == ["heat", "power"]
    with pytest.raises(Problems) as raised:
        with_channels(deferred, ["heat", "powre"])
    (found,) = raised.value.problems
    assert (found.key, found.line) == ("tasks.ahead.target", 5)
    assert found.remedy == "did you mean 'powre'?"


def test_a_missing_range_is_a_note() -> None:
    """A channel without a range is allowed, and said."""
    assert replayed(BASE).notes == ("no [[source]]: good for replay, not for run",)
    more = "[channels.pressure]\n[channels.running]\nkind = 'boolean'\n"
    (note,) = [note for note in replayed(BASE + more).notes if "no range" in note]
    assert "pressure" in note
    assert "running" not in note


def test_the_tolerance_follows_the_horizon() -> None:
    """A tenth of the horizon, at least a second, nothing where readings are counted."""
    task = TaskSettings()
    assert task.tolerance_of(Span("10m", 600 * SECOND, 0)) == 60 * SECOND
    assert task.tolerance_of(Span("5s", 5 * SECOND, 0)) == SECOND
    assert task.tolerance_of(Span("3 readings", 0, 3)) == 0
    assert TaskSettings(tolerance=7).tolerance_of(Span("10m", 600 * SECOND, 0)) == 7


@pytest.mark.parametrize(
    ("kind", "inputs", "chosen"),
    [
        ("forecast", ("*",), (0, 1, 2)),
        ("forecast", ("*", "!power*"), (0,)),
        ("forecast", ("*", "!power*", "power_lag1"), (0, 2)),
        ("forecast", ("!power",), ()),
        ("regression", ("*",), (0,)),
    ],
)
def test_inputs_choose_features(
    kind: Any, inputs: tuple[str, ...], chosen: tuple[int, ...]
) -> None:
    """The last pattern that fits decides; a regression never sees what its target went into."""
    task = TaskSettings(kind=kind, target="power", inputs=inputs)
    channels = [frozenset({"load"}), frozenset({"power"}), frozenset({"power"})]
    assert choose_inputs(task, ["load", "power", "power_lag1"], channels) == chosen


@pytest.mark.parametrize("model", ['"{}:make"', '["{}:make"]'])
def test_a_model_may_be_a_function_of_the_users(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A "module:function" stays text, alone or in a list, for the builder of models."""
    (tmp_path / "my_pumps.py").write_text(
        "from river.linear_model import LinearRegression\ndef make(): return LinearRegression()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    steps = '["preprocessing.StandardScaler", "linear_model.LinearRegression"]'
    found = replayed(BASE.replace(steps, model.format("my_pumps")))
    assert found.tasks["ahead"].model == "my_pumps:make"


def test_what_source_and_codec_both_take_holds_for_both() -> None:
    """A limit on the size of messages is one limit, whoever looks first."""
    source = replayed(
        BASE + '[[source]]\nuse = "mqtt"\ntopics = ["a"]\nmax_bytes = 5_000_000\n'
    ).sources[0]
    assert source.codec is not None
    assert source.options["max_bytes"] == source.codec.options["max_bytes"] == 5_000_000


def test_every_configuration_in_the_readme_loads_and_the_example_is_the_files() -> None:
    """What a newcomer copies works, and the recording's configuration is the one that is tested."""
    root = Path(__file__).parent.parent
    blocks = re.findall(r"```toml\n(.*?)```", (root / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 2
    for block in blocks:
        load_text(block, root / "pipeline.toml", {})
    example = (root / "examples" / "beijing.toml").read_text()
    assert blocks[1].removeprefix("# examples/beijing.toml\n") == example


def test_a_calendar_may_have_a_country() -> None:
    """Holidays by country and subdivision, in the zone of the devices; a wrong one is explained."""
    text = BASE + '[features.calendar]\nof = ["hour", "holiday"]\ncountry = "DE"\n'
    found = replayed(text + 'subdivision = "BY"\n').features.calendar
    assert found is not None
    assert (found.country, found.subdivision) == ("DE", "BY")
    refused = problem(text.replace('"DE"', '"Atlantis"'))
    assert refused.key.startswith("features.calendar")
    assert "ISO 3166" in str(refused)
