"""A real Prometheus reads /metrics, and answers what a dashboard asks."""

from pathlib import Path

import pytest

from streamgauge.timing import Stage
from tests.services.ports import wait_for
from tests.services.prometheus import prometheus
from tests.services.stand import DEVICES, Stand

QUERIES: dict[str, dict[str, float]] = {
    'sum by (verdict) (streamgauge_readings_total{job="streamgauge"})': {
        "admitted": 1200,
        "late": 3,
    },
    "streamgauge_rejected_total": {"not_json": 4},
    "streamgauge_labels_total": {"": 2300},
    "streamgauge_devices": {"": len(DEVICES)},
    'streamgauge_task_skill_ratio{horizon="10m"}': {"power": 0.2},
    "min by (part) (streamgauge_part_up)": {"source mqtt": 1},
    "histogram_quantile(0.5, streamgauge_stage_duration_seconds_bucket)": {"decode": 0.375},
    "streamgauge_stage_duration_seconds_count": {"decode": 3},
    "histogram_quantile(0.5, streamgauge_batch_readings_bucket)": {"": 640},
    "streamgauge_batch_readings_sum": {"": 1000},
    "streamgauge_sink_written_total": {"store": 2400},
    "streamgauge_task_models{horizon='10m'}": {"power": len(DEVICES)},
}
"""What a dashboard asks, and what the answer is: values by the only label that is left."""
LABELS = ("verdict", "reason", "part", "task", "stage", "name")


def test_a_prometheus_scrapes_the_service(tmp_path: Path) -> None:
    """The scrape is in order, types are known, and queries give what the board has; what happens
    between two scrapes is seen as a rate."""
    stand = Stand()
    laps = stand.board.laps
    for _ in range(3):
        laps.spent(Stage.DECODE, laps.now() - 300_000_000)
    laps.sizes.add(1000)
    with stand.served() as server, prometheus(tmp_path, server.url) as monitor:
        wait_for(lambda: monitor.query("up == 1"), what="a scrape")
        assert monitor.target()["lastError"] == ""
        for query, expected in QUERIES.items():
            found = {
                next((one["metric"][key] for key in LABELS if key in one["metric"]), ""): float(
                    one["value"][1]
                )
                for one in monitor.query(query)
            }
            for key, value in expected.items():
                assert found[key] == pytest.approx(value), query
        known = monitor.metadata()
        # The type of a counter is under its name without _total in OpenMetrics.
        assert known["streamgauge_readings"][0]["type"] == "counter"
        assert known["streamgauge_devices"][0]["type"] == "gauge"
        assert known["streamgauge_stage_duration_seconds"][0]["type"] == "histogram"
        assert known["streamgauge_source_queued"][0]["type"] == "gauge"
        assert known["streamgauge_task_skill_ratio"][0]["type"] == "gauge"
        stand.board.readings += 60
        grown = 'increase(streamgauge_readings_total{verdict="admitted"}[1m]) > 0'
        wait_for(lambda: monitor.query(grown), what="the new readings")


def test_the_configuration_of_compose_scrapes_with_the_key(tmp_path: Path) -> None:
    """With another address, another file of the key and less patience, it is what compose runs."""
    key = tmp_path / "key"
    deployed = Path(__file__).resolve().parents[1] / "deploy" / "prometheus.yml"
    text = deployed.read_text(encoding="utf-8")
    for ours, here in (
        ("streamgauge:8000", "{target}"),
        ("/run/secrets/streamgauge_api_key", str(key)),
        ("15s", "200ms\n  scrape_timeout: 200ms"),
    ):
        assert text.count(ours) == 1
        text = text.replace(ours, here)
    key.write_text("the wrong key")
    with (
        Stand(keys=["the right key"]).served() as server,
        prometheus(tmp_path, server.url, text) as monitor,
    ):
        wait_for(lambda: monitor.query("up == 0"), what="a refusal")
        assert "401" in monitor.target()["lastError"]
        key.write_text("the right key")
        wait_for(lambda: monitor.query("streamgauge_devices"), what="a scrape")
