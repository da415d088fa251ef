"""Keys, sessions and hosts: who may ask, and who is turned away."""

from collections.abc import Iterator

import pytest
from httpx import Client

from serving.api.access import Access, OpenBind, refuse_open_bind
from serving.api.guard import COOKIE
from serving.api.problems import MEDIA_TYPE, Problem
from streamgauge.hosts import is_loopback
from tests.services.stand import Stand

KEY, OTHER = "first-key-of-the-service", "schlüssel-zwei"
OPEN_PATHS = {"/livez", "/readyz", "/", "/login", "/logout"}


@pytest.fixture
def stand() -> Stand:
    """A service with two keys."""
    return Stand(keys=(KEY, OTHER))


@pytest.fixture
def client(stand: Stand) -> Iterator[Client]:
    """A client that knows the service by a name of its own."""
    host = {"Host": "gauge.example"}
    with stand.served() as server, Client(base_url=server.url, headers=host) as client:
        yield client


def paths(stand: Stand) -> list[str]:
    """Every GET route that the document describes, with its parameters filled in."""
    found = stand.app().openapi()["paths"]
    return [
        path.replace("{device}", "pump-1").replace("{task}", "power")
        for path, methods in found.items()
        if "get" in methods
    ]


def test_every_route_needs_a_key_unless_it_is_known_to_be_open(
    stand: Stand, client: Client
) -> None:
    """A route that somebody adds and forgets to guard fails here."""
    asked = [path for path in paths(stand) if path not in OPEN_PATHS]
    assert "/metrics" in asked
    assert len(asked) > 8
    for path in asked:
        answer = client.get(path)
        assert answer.status_code == 401, path
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert "X-API-Key" in answer.json()["detail"]


def test_health_answers_without_a_key(client: Client) -> None:
    """Who watches the process needs no secret."""
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": f"Bearer {KEY}"},
        {"X-API-Key": KEY},
        {"X-API-Key": OTHER.encode()},
        {"Authorization": b"Bearer " + OTHER.encode()},
    ],
)
def test_each_key_is_taken_in_both_headers(client: Client, headers: dict[str, str]) -> None:
    """Bearer token and X-API-Key, whichever key, also one that is not ASCII."""
    assert client.get("/v1/tasks", headers=headers).status_code == 200


@pytest.mark.parametrize("key", ["first-key", KEY + "x", KEY.upper(), "ü", '""'])
def test_anything_else_is_not_a_key(client: Client, key: str) -> None:
    """Prefixes, longer keys and other case are refused, in either header."""
    for name, value in (
        (b"X-API-Key", key.encode()),
        (b"Authorization", b"Bearer " + key.encode()),
    ):
        assert client.get("/v1/tasks", headers=[(name, value)]).status_code == 401


def test_an_empty_key_is_not_a_key(client: Client) -> None:
    """A header without a value opens nothing."""
    assert client.get("/v1/tasks", headers={"X-API-Key": ""}).status_code == 401


def test_login_opens_a_session_that_scripts_cannot_read(client: Client) -> None:
    """The cookie is HttpOnly and SameSite=Strict, holds no key, and opens the API until logout."""
    answer = client.post("/login", json={"key": KEY})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "samesite=strict" in cookie.lower()
    assert KEY not in cookie
    assert client.get("/v1/tasks").status_code == 200
    token = client.cookies[COOKIE]
    assert client.post("/logout").status_code == 204
    assert client.get("/v1/tasks", headers={"Cookie": f"{COOKIE}={token}"}).status_code == 401


def test_a_session_cookie_is_confined_to_https_where_there_is_https(client: Client) -> None:
    """Behind a proxy that ends TLS the cookie is Secure."""
    answer = client.post("/login", json={"key": KEY}, headers={"X-Forwarded-Proto": "https"})
    assert "Secure" in answer.headers["set-cookie"]


def test_a_session_ends_after_twelve_hours(stand: Stand, client: Client) -> None:
    """The token is worth nothing once its time has passed."""
    client.post("/login", json={"key": KEY})
    stand.now += 12 * 3600 * 10**6 - 1
    assert client.get("/v1/tasks").status_code == 200
    stand.now += 2
    assert client.get("/v1/tasks").status_code == 401


def test_the_page_shows_the_login_form_until_there_is_a_session(client: Client) -> None:
    """Without a session the form, which does not tell the stream's name; then the page."""
    form = client.get("/")
    assert 'id="login"' in form.text
    assert "hall 3" not in form.text
    client.post("/login", json={"key": KEY})
    assert 'id="chart"' in client.get("/").text


def test_guessing_is_slowed_down(stand: Stand, client: Client) -> None:
    """After five wrong keys within a minute even the right one has to wait."""
    for _ in range(5):
        assert client.post("/login", json={"key": "wrong"}).status_code == 401
    answer = client.post("/login", json={"key": KEY})
    assert answer.status_code == 429
    assert answer.headers["retry-after"] == "60"
    stand.now += 60 * 10**6
    assert client.post("/login", json={"key": KEY}).status_code == 204


def test_guesses_of_one_address_do_not_lock_out_another() -> None:
    """The limit is per address."""
    access = Access([KEY], lambda: 0)
    for _ in range(5):
        with pytest.raises(Problem, match="none of the service's API keys"):
            access.log_in("wrong", "10.0.0.1")
    with pytest.raises(Problem, match="wait 60 seconds"):
        access.log_in(KEY, "10.0.0.1")
    assert access.has_session(access.log_in(KEY, "10.0.0.2"))


def test_sessions_and_guesses_stay_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many log in or guess, only the newest are kept."""
    monkeypatch.setattr("serving.api.access.SESSIONS_KEPT", 3)
    monkeypatch.setattr("serving.api.access.ADDRESSES_KEPT", 3)
    access = Access([KEY], lambda: 0)
    tokens = [access.log_in(KEY, "a") for _ in range(5)]
    assert [access.has_session(token) for token in tokens] == [False, False, True, True, True]
    for i in range(5):
        with pytest.raises(Problem):
            access.log_in("wrong", f"10.0.0.{i}")
    assert len(access._guesses) == 3


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "gauge.example", ""])
def test_an_open_service_is_refused_beyond_loopback(host: str) -> None:
    """Without a key only loopback may be bound; the refusal says how to go on."""
    with pytest.raises(OpenBind, match="STREAMGAUGE_API_KEY") as refusal:
        refuse_open_bind(host, [])
    assert repr(host) in str(refusal.value)
    refuse_open_bind(host, [KEY])


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.3.2.1", "localhost", "LOCALHOST", "::1", "[::1]"]
)
def test_loopback_may_be_open(host: str) -> None:
    """Nobody elsewhere can connect there."""
    assert is_loopback(host)
    refuse_open_bind(host, [])


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8000", 200),
        ("localhost", 200),
        ("[::1]:8000", 200),
        ("[::1]", 200),
        ("gauge.example:8000", 200),
        ("evil.example", 421),
        ("127.0.0.1.evil.example", 421),
        ("localhost.evil.example:80", 421),
        ("", 421),
    ],
)
def test_an_open_service_answers_only_to_its_own_names(host: str, status: int) -> None:
    """A page elsewhere that points its own name at this machine gets nothing (DNS rebinding)."""
    stand = Stand(hosts=("Gauge.example",))
    with stand.served() as server, Client(base_url=server.url) as client:
        answer = client.get("/v1/tasks", headers={"Host": host})
    assert answer.status_code == status
    if status == 421:
        assert "serve.hosts" in answer.json()["detail"]
