"""/metrics: Prometheus text about the fleet, never about one device."""

from httpx import Client
from prometheus_client.parser import text_string_to_metric_families

from serving.api.service import Part
from tests.services.stand import DEVICES, Stand


def scrape(stand: Stand, **headers: str) -> str:
    """The text that Prometheus would get."""
    with stand.served() as server, Client(base_url=server.url) as client:
        answer = client.get("/metrics", headers=headers)
    assert answer.status_code == 200
    return answer.text


def samples(text: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample by name and labels, as Prometheus reads it."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(stand: Stand, name: str, /, **labels: str) -> float:
    """One sample."""
    return samples(scrape(stand))[name, frozenset(labels.items())]


def test_the_walk_is_counted() -> None:
    """Counters of the board appear under their names, by verdict, flag and reason."""
    stand = Stand()
    assert value(stand, "streamgauge_readings_total", verdict="admitted") == 1200
    assert value(stand, "streamgauge_readings_total", verdict="late") == 3
    assert value(stand, "streamgauge_flags_total", flag="out_of_range") == 2
    assert value(stand, "streamgauge_rejected_total", reason="not_json") == 4
    assert value(stand, "streamgauge_labels_total") == 2300
    assert value(stand, "streamgauge_devices") == len(DEVICES)


def test_what_cleaning_did_is_told_by_channel() -> None:
    """Values and their share of the admitted readings, by channel and flag, over the fleet."""
    found = samples(scrape(Stand()))
    key = frozenset({("channel", "power"), ("flag", "outlier")})
    assert found["streamgauge_channel_flags_total", key] == 30
    assert found["streamgauge_channel_flag_share_ratio", key] == 30 / 1200


def test_every_scrape_reads_the_board_again() -> None:
    """What happened between two scrapes is in the second."""
    stand = Stand()
    scrape(stand)
    stand.board.readings += 5
    assert value(stand, "streamgauge_readings_total", verdict="admitted") == 1205


def test_scores_are_told_per_task_and_horizon() -> None:
    """Scores that are not defined yet are left out, not written as NaN."""
    text = scrape(Stand())
    found = samples(text)
    key = frozenset({("task", "power"), ("horizon", "10m")})
    assert found["streamgauge_task_mae", key] == 1.6
    assert abs(found["streamgauge_task_skill_ratio", key] - 0.2) < 1e-12
    assert ("streamgauge_task_r2", key) not in found
    assert "NaN" not in text


def test_parts_sources_and_sinks_tell_their_state() -> None:
    """A broken part is 0; numbers of sources and sinks carry the plug-in's name."""
    stand = Stand()
    stand.parts.append(Part("sink influxdb", False, "refused"))
    assert value(stand, "streamgauge_part_up", part="source mqtt") == 1
    assert value(stand, "streamgauge_part_up", part="sink influxdb") == 0
    assert value(stand, "streamgauge_source_received_total", name="mqtt") == 1200
    assert value(stand, "streamgauge_source_queued", name="mqtt") == 7
    assert value(stand, "streamgauge_sink_written_total", name="store") == 2400


def test_the_age_of_the_checkpoint_is_told() -> None:
    """By the clock of the service, in seconds; nothing before there is one."""
    stand = Stand()
    assert value(stand, "streamgauge_checkpoint_age_seconds") == 90
    stand.now += 10**6
    assert value(stand, "streamgauge_checkpoint_age_seconds") == 91


def test_what_is_compiled_is_told() -> None:
    """Per task and horizon, as the list of tasks has it."""
    stand = Stand()
    for horizon, compiled in (("10m", 1), ("1 reading", 0)):
        found = value(stand, "streamgauge_task_compiled", task="power", horizon=horizon)
        assert found == compiled


def test_no_metric_names_a_device() -> None:
    """The size of a scrape does not depend on the number of devices."""
    small, large = Stand(), Stand()
    large.board.ids = sorted([*DEVICES, *(f"pump-{i}" for i in range(3, 2000))])
    assert len(scrape(small).splitlines()) == len(scrape(large).splitlines())
    assert "pump-1" not in scrape(large)


def test_names_have_the_prefix() -> None:
    """Every metric begins with streamgauge_."""
    names = {name for name, _ in samples(scrape(Stand()))}
    assert len(names) > 15
    assert {name for name in names if not name.startswith("streamgauge_")} == set()


def test_the_format_follows_what_the_scraper_accepts() -> None:
    """OpenMetrics where it is asked for, which ends with an EOF mark."""
    text = scrape(Stand(), accept="application/openmetrics-text; version=1.0.0")
    assert text.endswith("# EOF\n")
    assert not scrape(Stand()).endswith("# EOF\n")
