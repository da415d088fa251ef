"""The MLflow sink against a real tracking server."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from monitoring.sinks import mlflow
from monitoring.sinks._buffered import Buffered
from streamgauge.output import SCORE_COLUMNS
from tests.outputs import LANES, LEVEL, START, lane, made, output, predicted, scores
from tests.services.mlflow import MLflow
from tests.services.mlflow import mlflow as running
from tests.services.ports import wait_for
from tests.services.proxy import proxy

SLOW = 120.0
"""Seconds that a loaded machine may take."""
MAE = SCORE_COLUMNS.index("mae")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MLflow]:
    """One server for the tests of this file, each with an experiment of its own."""
    with running(tmp_path_factory.mktemp("mlflow")) as one:
        yield one


@contextmanager
def opened(
    url: str, experiment: str, lanes: Any = LANES, **options: Any
) -> Iterator[Buffered[Any]]:
    """A sink to that server."""
    sink = mlflow.open(
        lanes, "pumps", Path("unused"), lambda: START, url=url, experiment=experiment, **options
    )
    try:
        yield sink
    finally:
        sink.close()


def points(*minutes: int) -> list[tuple[int, int, float]]:
    """Step, milliseconds and mean error of the scores at these minutes."""
    return [(minute, made(minute) // 1000, float(minute + MAE)) for minute in minutes]


@pytest.mark.slow
def test_a_run_has_scores_as_metrics(server: MLflow) -> None:
    """By labels and by the log's time, over all devices, and drift beside them; what its tasks are,
    as parameters."""
    with opened(server.url, "scores") as sink:
        for minute in (3, 7):
            sink.write(output([predicted(1)], events=[LEVEL], scores=[scores(minute, (-1, 0))]))
        assert sink.flush(SLOW), sink.state()
        assert sink.state()["sent_total"] == 2 * (3 * (len(SCORE_COLUMNS) - 1) + 1)
        [run] = server.runs("scores")
        assert run["info"]["status"] == "RUNNING"
        assert run["info"]["run_name"] == "pumps"
        assert int(run["info"]["start_time"]) == made(3) // 1000
        name = run["info"]["run_id"]
        assert server.history(name, "power/10m/mae") == points(3, 7)
        assert server.history(name, "power/1 reading/mae") == points(3, 7)
        assert len(server.history(name, "flow/skill")) == 2
        assert server.history(name, "flow/labels") == []
        drift = (3, LEVEL.time // 1000, LEVEL.after - LEVEL.before)
        assert drift in server.history(name, "flow/drift")
        said = {one["key"]: one["value"] for one in run["data"]["tags"]}["flow/drift"]
        assert said.startswith("pump-1: level of flow fell from 20.5 to 18")
        params = {one["key"]: one["value"] for one in run["data"]["params"]}
        assert params["power/10m/kind"] == "forecast"
        assert params["flow/ready_after"] == "100"
    [run] = server.runs("scores")
    assert run["info"]["status"] == "FINISHED"


@pytest.mark.slow
def test_a_restart_goes_on_with_the_run(server: MLflow) -> None:
    """What is sent again is there once; another run stands beside it."""
    for minutes in ((3, 7), (7, 9)):
        with opened(server.url, "restart") as sink:
            for minute in minutes:
                sink.write(output([], scores=[scores(minute)]))
            assert sink.flush(SLOW), sink.state()
    with opened(server.url, "restart", run="model-2") as sink:
        sink.write(output([], scores=[scores(4)]))
        assert sink.flush(SLOW), sink.state()
    runs = {run["info"]["run_name"]: run["info"]["run_id"] for run in server.runs("restart")}
    assert len(server.runs("restart")) == 2
    assert server.history(runs["pumps"], "flow/mae") == points(3, 7, 9)
    assert server.history(runs["model-2"], "flow/mae") == points(4)


@pytest.mark.slow
def test_an_outage_loses_nothing(server: MLflow) -> None:
    """Said while it lasts."""
    with proxy(server.port) as way, opened(f"http://127.0.0.1:{way.port}", "outage") as sink:
        sink.write(output([], scores=[scores(3)]))
        assert sink.flush(SLOW), sink.state()
        way.refuse()
        for minute in (5, 7, 9):
            sink.write(output([], scores=[scores(minute)]))
        wait_for(lambda: "is not reached" in sink.state()["why"], SLOW)
        way.resume()
        assert sink.flush(SLOW), sink.state()
        assert sink.state()["ok"]
    [run] = server.runs("outage")
    assert server.history(run["info"]["run_id"], "flow/mae") == points(3, 5, 7, 9)


@pytest.mark.slow
def test_many_lanes_and_names_that_mlflow_does_not_take(server: MLflow) -> None:
    """More parameters and metrics than a request may have, and signs that no key may have."""
    lanes = tuple(lane(f"Öl {k} (bar)", "1h") for k in range(40))
    told = scores(5, [-1] * 14)
    with opened(server.url, "many", lanes) as sink:
        one = scores(5)
        many = type(one)(one.time, told.lane[:40] * 0 + range(40), told.row[:40], told.numbers[:40])
        sink.write(output([], lanes=lanes, scores=[many]))
        assert sink.flush(SLOW), sink.state()
        assert sink.state()["dead_total"] == 0
    [run] = server.runs("many")
    assert len(run["data"]["params"]) == 160
    assert len(run["data"]["metrics"]) == 40 * (len(SCORE_COLUMNS) - 1)
    assert server.history(run["info"]["run_id"], "_l 7 _bar_/1h/mae") == points(5)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"url": "localhost:5000"}, "is no address"),
        ({"url": "http://mlflow.example:5000"}, "unencrypted"),
        ({"run": "a/b"}, "is no name; write one like 'a_b'"),
        ({"experiment": ""}, "names none"),
        ({"token": "t", "username": "u"}, "leave one out"),
        ({"timeout": "soon"}, "not a duration"),
    ],
)
def test_options_that_mean_nothing(options: dict[str, Any], match: str) -> None:
    """A wrong option is refused before anything is connected."""
    chosen = {"url": "http://127.0.0.1:5000"} | options
    with pytest.raises(ValueError, match=match):
        mlflow.open(LANES, "pumps", Path("unused"), lambda: START, **chosen)
