"""The routes of the HTTP API: what they answer, and what they say when they cannot."""

import json
import socket
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from httpx import Client

from serving.api.history import NoHistory
from serving.api.problems import MEDIA_TYPE
from serving.api.server import CannotListen, HttpServer
from serving.api.service import Part
from serving.live import Live
from tests.services.stand import DEVICES, EVIL, SLASHED, Stand, actual

PATH_DEVICES = [EVIL, SLASHED, "pump-1/predictions", "Ölpumpe 7", "pump-1"]


@pytest.fixture
def stand() -> Stand:
    """What is served."""
    return Stand()


@pytest.fixture
def client(stand: Stand) -> Iterator[Client]:
    """A client on this machine."""
    with stand.served() as server, Client(base_url=server.url) as client:
        yield client


def strict(text: str) -> Any:
    """JSON in which NaN and Infinity are errors."""

    def refuse(word: str) -> None:
        raise ValueError(f"{word} is not JSON")

    return json.loads(text, parse_constant=refuse)


def test_devices_come_in_pages_that_hold_each_once(client: Client) -> None:
    """Following `next` visits every device exactly once, in alphabetical order."""
    seen: list[str] = []
    after: str | None = ""
    while after is not None:
        page = client.get("/v1/devices", params={"after": after, "limit": 2}).json()
        assert len(page["items"]) <= 2
        seen += [one["id"] for one in page["items"]]
        after = page["next"]
    assert seen == DEVICES


def test_search_finds_devices_whatever_the_case(client: Client) -> None:
    """`search` keeps the ids that contain the text, beyond the first page too."""
    found = client.get("/v1/devices", params={"search": "ÖLPUMPE", "limit": 1}).json()
    assert [one["id"] for one in found["items"]] == ["Ölpumpe 7"]
    assert found["next"] is None


@pytest.mark.parametrize("device", PATH_DEVICES)
def test_a_device_is_found_whatever_its_id_holds(client: Client, device: str) -> None:
    """Slashes, markup and other alphabets in an id survive the path of the URL."""
    path = f"/v1/devices/{quote(device, safe='')}"
    assert client.get(path).json()["id"] == device
    predictions = client.get(f"{path}/predictions").json()
    assert predictions["device"] == device
    assert len(predictions["items"]) == 2


def test_times_are_iso_and_nan_is_null(client: Client) -> None:
    """Times are ISO 8601 in UTC; what is not a number is null, never NaN."""
    answer = client.get("/v1/devices/pump-1")
    body = strict(answer.text)
    assert body["time"] == "2026-03-01T14:30:00.000000Z"
    assert body["received"] == "2026-03-01T14:30:00.040000Z"
    assert body["values"]["humidity"] is None
    assert body["values"]["flow"] == 3.25


def test_a_device_says_what_cleaning_did_to_its_values(client: Client) -> None:
    """By channel and flag: how many values, and their share of the device's readings."""
    flags = client.get("/v1/devices/pump-1").json()["flags"]
    assert flags == {
        "power": {
            "outlier": {"values": 30, "share": 0.025},
            "capped": {"values": 6, "share": 0.005},
        }
    }


def test_a_device_says_which_channels_are_watched(client: Client) -> None:
    """Until it is known what is usual for a channel it is calibrating."""
    found = client.get("/v1/devices/pump-1").json()
    channels = {"humidity": "calibrating", "power": "watched"}
    assert found["watched"] == channels
    assert found["signals"] == {"level": channels, "error": {"ahead@10m": "watched"}}


def test_an_unknown_device_is_a_problem_with_a_remedy(client: Client) -> None:
    """404 as a problem document that names the device and where to look."""
    for path in ("/v1/devices/nobody", "/v1/devices/nobody/predictions"):
        answer = client.get(path)
        body = answer.json()
        assert answer.status_code == body["status"] == 404
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert "'nobody'" in body["detail"]
        assert "GET /v1/devices" in body["detail"]
        assert body["instance"] == path


def test_scores_can_be_of_one_horizon(client: Client) -> None:
    """`horizon` leaves only that one, over all devices and of each."""
    path = "/v1/tasks/power/scores"
    both = client.get(path).json()["items"]
    assert [item["horizon"] for item in both] == ["10m", "1 reading"]
    one = client.get(path, params={"horizon": "1 reading", "devices": 2}).json()["items"]
    assert [item["horizon"] for item in one] == ["1 reading"] * 3
    assert [item["device"] is None for item in one] == [True, False, False]


def test_history_comes_newest_first_after_the_newest_predictions(client: Client) -> None:
    """`history=N` adds N past predictions with outcomes; without it there are none."""
    path = "/v1/devices/pump-1/predictions"
    assert client.get(path).json()["history"] == []
    body = strict(client.get(path, params={"history": 40, "horizon": "10m"}).text)
    made = [one["made_at"] for one in body["history"]]
    assert len(made) == 40
    assert made == sorted(made, reverse=True)
    labelled = [one for one in body["history"] if one["status"] == "labelled"]
    assert len(labelled) == 30
    assert labelled[0]["label"] == actual(150)
    assert labelled[0]["residual"] == pytest.approx(actual(150) - labelled[0]["prediction"])


def test_predictions_can_be_filtered(client: Client) -> None:
    """`task` and `horizon` leave only what they name."""
    path = "/v1/devices/pump-1/predictions"
    one = client.get(path, params={"task": "power", "horizon": "1 reading"}).json()["items"]
    assert [item["horizon"] for item in one] == ["1 reading"]
    assert one[0]["status"] == "warming_up"
    assert client.get(path, params={"task": "other", "history": 5}).json()["items"] == []


def test_tasks_say_what_is_compiled(client: Client) -> None:
    """Each task and horizon, with its model and why it runs as it does."""
    items = client.get("/v1/tasks").json()["items"]
    assert [(one["horizon"], one["compiled"]) for one in items] == [
        ("10m", True),
        ("1 reading", False),
    ]


def test_scores_can_be_by_a_tag_of_devices(client: Client) -> None:
    """One score per value; what is no tag is refused with those there are."""
    path = "/v1/tasks/power/scores"
    (found,) = client.get(path, params={"by": "tag:site", "horizon": "10m"}).json()["items"]
    assert (found["group"], found["of_devices"], found["device"]) == ("north", 1, None)
    assert found["skill"] == 1.0 - found["scores"]["mae"] / found["scores"]["persistence_mae"]
    assert client.get(path).json()["items"][0]["group"] is None
    refused = client.get(path, params={"by": "tag:sight"})
    assert refused.status_code == 404
    assert "site" in refused.json()["detail"]
    assert client.get(path, params={"by": "site"}).status_code == 422
    assert client.get(path, params={"by": "tag:site", "device": DEVICES[0]}).status_code == 422


def test_scores_stand_beside_persistence(client: Client) -> None:
    """Overall, of one device, and of the worst devices; the skill is 1 - mae / persistence."""
    path = "/v1/tasks/power/scores"
    overall = strict(client.get(path).text)["items"]
    assert [one["device"] for one in overall] == [None, None]
    assert overall[0]["skill"] == pytest.approx(1 - 1.6 / 2.0)
    assert overall[0]["scores"]["r2"] is None
    own = client.get(path, params={"device": SLASHED}).json()["items"]
    assert {one["device"] for one in own} == {SLASHED}
    worst = client.get(path, params={"devices": 2}).json()["items"]
    assert [one["device"] for one in worst[2:]] == list(reversed(DEVICES))[:2]


def test_a_selection_is_told_over_all_devices_and_of_one(client: Client) -> None:
    """Shares over all, the decision and its reason of one; what is not known is null."""
    path = "/v1/tasks/power/selection"
    [everyone] = strict(client.get(path).text)["items"]
    assert (everyone["device"], everyone["by"], everyone["models"]) == (None, "redundancy", 2)
    assert [(one["feature"], one["kept"], one["score"]) for one in everyone["choices"]] == [
        ("power", 0.5, None),
        ("flow", None, None),
    ]
    [own] = client.get(path, params={"device": SLASHED}).json()["items"]
    assert (own["device"], own["horizon"]) == (SLASHED, "10m")
    assert own["choices"] == [
        {"feature": "power", "kept": 1.0, "score": 0.75, "why": "kept for long"}
    ]
    assert client.get(path, params={"device": "nobody"}).status_code == 404


def test_score_history_stops_at_the_limit_and_at_the_time(client: Client) -> None:
    """Past scores are newest first, within the hours that were asked for."""
    path = "/v1/tasks/power/scores/history"
    items = client.get(path, params={"horizon": "10m", "hours": 2, "limit": 1000}).json()["items"]
    assert items[0]["time"] == "2026-03-01T13:00:00.000000Z"
    assert items[-1]["time"] == "2026-03-01T12:31:00.000000Z"
    assert items[0]["scores"]["persistence_mae"] is None
    assert len(client.get(path, params={"limit": 3}).json()["items"]) == 3


def test_an_unknown_task_is_told_which_there_are(client: Client) -> None:
    """404 lists the tasks; so does the score of a device that is not known."""
    for path in (
        "/v1/tasks/pwoer/scores",
        "/v1/tasks/pwoer/scores/history",
        "/v1/tasks/pwoer/selection",
    ):
        answer = client.get(path)
        assert answer.status_code == 404
        assert "there are: power" in answer.json()["detail"]
    assert client.get("/v1/tasks/power/scores?device=nobody").status_code == 404


def test_events_name_device_and_channel(client: Client) -> None:
    """Silences and evictions with null where there is nothing to say."""
    items = client.get("/v1/events").json()["items"]
    assert [one["kind"] for one in items] == ["evicted", "silent"]
    assert (items[0]["channel"], items[0]["seconds"]) == (None, None)
    assert (items[1]["channel"], items[1]["seconds"]) == ("power", 600.0)
    own = client.get("/v1/events", params={"device": SLASHED, "limit": 1}).json()["items"]
    assert [one["device"] for one in own] == [SLASHED]


def test_drift_names_its_device(client: Client) -> None:
    """Drift of the fleet has no device; `device` and `limit` narrow the list."""
    items = client.get("/v1/drift").json()["items"]
    assert [one["device"] for one in items] == ["pump-1", None]
    assert items[0]["kind"] == "drift_up"
    assert items[0]["text"] == "error of power rose from 0.8 to 2.1"
    assert (items[0]["channel"], items[0]["since"]) == (None, None)
    own = client.get("/v1/drift", params={"device": SLASHED}).json()["items"]
    assert [one["device"] for one in own] == [SLASHED]
    assert len(client.get("/v1/drift?limit=1").json()["items"]) == 1


def test_readyz_names_the_part_that_does_not_work(stand: Stand, client: Client) -> None:
    """200 with every part, then 503 with the one that fails; /livez stays 200."""
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {
        "ready": True,
        "parts": [{"name": "source mqtt", "ok": True, "why": "", "since": None}],
    }
    stand.parts.append(Part("sink influxdb", False, "connection refused; start it", 10**15))
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == MEDIA_TYPE
    body = answer.json()
    assert body["detail"] == "sink influxdb: connection refused; start it"
    assert [part["ok"] for part in body["parts"]] == [True, False]
    assert body["parts"][1]["since"] == "2001-09-09T01:46:40.000000Z"
    assert client.get("/livez").status_code == 200


def test_status_counts_the_walk(client: Client) -> None:
    """The stream's name, the clock and the counters of the board."""
    body = client.get("/v1/status").json()
    assert body["name"] == "pumps of <b>hall 3</b>"
    assert body["time"] == "2026-03-01T14:30:00.000000Z"
    assert body["counts"]["readings"] == {"admitted": 1200, "late": 3}
    assert body["counts"]["devices"] == len(DEVICES)


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/v1/devices?limit=0", 422, "query limit"),
        ("GET", "/v1/devices?limit=many", 422, "'many'"),
        ("GET", "/v1/stream?kind=gossip", 422, "there are: prediction"),
        ("GET", "/v1/stream?task=pwoer", 404, "there are: power"),
        ("GET", "/v1/nothing", 404, "GET /openapi.json"),
        ("GET", "/static/nothing.js", 404, "/static/nothing.js"),
        ("DELETE", "/v1/tasks", 405, "use GET"),
        ("POST", "/login", 422, "body"),
    ],
)
def test_every_refusal_is_a_problem_document(
    client: Client, method: str, path: str, status: int, words: str
) -> None:
    """Whatever is wrong with a request, the answer says what was found and what to do."""
    answer = client.request(method, path)
    body = answer.json()
    assert answer.status_code == body["status"] == status
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert words in body["detail"]


def test_a_defect_is_a_problem_document_too(
    stand: Stand, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An exception in a route becomes a 500 that tells nothing secret."""

    def broken() -> None:
        raise RuntimeError("password=secret")

    monkeypatch.setattr(stand.board, "tasks", broken)
    answer = client.get("/v1/tasks")
    assert answer.status_code == 500
    assert answer.headers["content-type"] == MEDIA_TYPE
    assert "secret" not in answer.text


def test_openapi_names_every_operation_and_its_problems(client: Client) -> None:
    """Each /v1 operation has an id of its own, a description, and its 401 as a problem."""
    document = client.get("/openapi.json").json()
    operations = [one for path in document["paths"].values() for one in path.values()]
    ids = [one["operationId"] for one in operations]
    assert len(ids) == len(set(ids))
    assert all(one.get("description") for one in operations)
    for path, methods in document["paths"].items():
        if path.startswith("/v1/"):
            for one in methods.values():
                assert MEDIA_TYPE in one["responses"]["401"]["content"], path
    assert "/v1/devices/{device}/predictions" in document["paths"]


def test_answers_do_not_wait_for_the_client(stand: Stand) -> None:
    """Connections switch Nagle's delay off: it would hold each answer of a kept one back."""
    with stand.served() as server, socket.create_connection(("127.0.0.1", server.port)) as one:
        one.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert one.recv(100).startswith(b"HTTP/1.1 200")
        [connection] = server._server.server_state.connections
        transport: Any = connection.transport
        accepted = transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_answers_confine_the_browser(client: Client) -> None:
    """Every answer forbids foreign scripts, framing and sniffing."""
    for path in ("/", "/static/app.js", "/v1/tasks", "/v1/nothing"):
        headers = client.get(path).headers
        assert headers["content-security-policy"].startswith("default-src 'self'"), path
        assert headers["x-content-type-options"] == "nosniff"


def test_the_page_can_be_left_out() -> None:
    """An API without the page has no login either, and answers everything else."""
    with Stand(with_page=False).served() as server, Client(base_url=server.url) as client:
        for path in ("/", "/static/app.js"):
            assert client.get(path).status_code == 404
        assert client.post("/login", json={"key": "k"}).status_code == 404
        assert client.get("/v1/tasks").status_code == 200


def test_a_service_without_a_store_has_no_past() -> None:
    """The empty history answers every question with nothing."""
    none = NoHistory()
    assert none.predictions("a", "b", None, 1) == []
    assert none.drift(1, None) == none.events(1, None) == []
    assert none.score_history("a", "b", 0, 1) == []


def test_a_port_that_is_taken_is_named() -> None:
    """The server says which port it cannot have, and what to change."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(CannotListen, match=f"127.0.0.1:{port}.*serve.port"):
            HttpServer(Stand().app(), Live(), host="127.0.0.1", port=port)
