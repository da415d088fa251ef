"""/metrics: Prometheus text about the fleet, never about one device."""

from httpx import Client
from prometheus_client.parser import text_string_to_metric_families

from serving.api.service import Part
from streamgauge.timing import Stage
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


def test_checkpoints_and_the_journal_are_told() -> None:
    """How many and how long, and what the journal holds."""
    stand = Stand()
    assert value(stand, "streamgauge_checkpoints_total") == 3
    assert value(stand, "streamgauge_checkpoint_write_seconds") == 0.5
    assert value(stand, "streamgauge_journal_bytes") == 4096


def test_stages_delays_and_batches_are_histograms() -> None:
    """Buckets that add up, sums and counts; a stage that never ran is left out."""
    stand = Stand()
    laps = stand.board.laps
    laps.spent(Stage.DECODE, laps.now() - 3_000_000)
    laps.spent(Stage.DECODE, laps.now() - 20_000_000_000)
    laps.delays.add(0.5)
    laps.sizes.add(100)
    found = samples(scrape(stand))

    def of(name: str, **labels: str) -> float:
        return found[f"streamgauge_{name}", frozenset(labels.items())]

    stage = "stage_duration_seconds"
    assert of(f"{stage}_bucket", stage="decode", le="0.001") == 0
    assert of(f"{stage}_bucket", stage="decode", le="10.0") == 1
    assert of(f"{stage}_bucket", stage="decode", le="+Inf") == 2
    assert of(f"{stage}_count", stage="decode") == 2
    assert of(f"{stage}_sum", stage="decode") >= 20.003
    assert of("delivery_delay_seconds_bucket", le="0.25") == 0
    assert of("delivery_delay_seconds_bucket", le="0.5") == 1
    assert of("batch_readings_bucket", le="64.0") == 0
    assert of("batch_readings_bucket", le="256.0") == 1
    assert of("batch_readings_sum") == 100
    assert "models" not in {dict(labels).get("stage") for _, labels in found}


def test_what_is_lost_is_counted_by_reason() -> None:
    """Dropped by us, or refused for good, beside the sums."""
    lost = {"dropped": {"memory": 3, "damaged": 1}, "dead": {"too_large": 2}}
    sink = {"ok": True, "why": "", "dropped_total": 4, "dead_total": 2, "lost": lost}
    found = samples(scrape(Stand(states={"sink": {"kafka": sink}})))

    def of(fate: str, reason: str) -> float:
        labels = {"name": "kafka", "fate": fate, "reason": reason}
        return found["streamgauge_sink_lost_total", frozenset(labels.items())]

    assert (of("dropped", "memory"), of("dropped", "damaged"), of("dead", "too_large")) == (3, 1, 2)


def test_what_parts_say_is_a_counter_or_a_gauge() -> None:
    """What waits rises and falls; what happened only rises, and is named so."""
    source = {"ok": True, "why": "", "queued": 2, "dropped_qos0": 5, "received_total": 7, "lag": 1}
    sink = {"ok": True, "why": "", "backlog": 3, "backlog_bytes": 9, "dead_total": 4,
            "spilled": 2, "spilled_bytes": 99}  # fmt: skip
    stand = Stand(states={"source": {"mqtt": source}, "sink": {"influxdb": sink}})
    types = {family.name: family.type for family in text_string_to_metric_families(scrape(stand))}
    told = ("streamgauge_source", "streamgauge_sink")
    assert {name: of for name, of in types.items() if name.startswith(told)} == {
        "streamgauge_source_queued": "gauge",
        "streamgauge_source_dropped_qos0": "counter",
        "streamgauge_source_received": "counter",
        "streamgauge_source_lag": "gauge",
        "streamgauge_sink_backlog": "gauge",
        "streamgauge_sink_backlog_bytes": "gauge",
        "streamgauge_sink_spilled": "gauge",
        "streamgauge_sink_spilled_bytes": "gauge",
        "streamgauge_sink_dead": "counter",
    }
    assert value(stand, "streamgauge_source_dropped_qos0_total", name="mqtt") == 5


def test_what_is_compiled_is_told() -> None:
    """Per task and horizon, as the list of tasks has it."""
    stand = Stand()
    for horizon, compiled in (("10m", 1), ("1 reading", 0)):
        found = value(stand, "streamgauge_task_compiled", task="power", horizon=horizon)
        assert found == compiled


def test_models_are_counted() -> None:
    """One for each device where each has its own."""
    stand = Stand()
    found = value(stand, "streamgauge_task_models", task="power", horizon="10m")
    assert found == len(DEVICES)


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
