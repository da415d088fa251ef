"""The quarantine over HTTP and on the page: filters, pages of a list, and what a browser shows."""

from pathlib import Path

import pytest
from httpx import Client
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from ingest.quarantine import Quarantine
from ingest.quarantine_file import FILE, MESSAGE, READING, Kept
from tests.services.chromium import browser
from tests.services.stand import MINUTE, START, Stand

N = 25


@pytest.fixture
def stand(tmp_path: Path) -> Stand:
    """One that has refused readings of two pumps and a message that is hostile."""
    kept = Quarantine(tmp_path / FILE, lambda: START, keep=10**15, max_size=10**8)
    rows = [_reading(k) for k in range(N)]
    hostile = Kept(
        N, MESSAGE, 0, START + N * MINUTE, None, "", "", "malformed",
        "<img src=x onerror=alert(1)>", "", "mqtt", "plant/<b>", "/3s=", "",
    )  # fmt: skip
    kept.keep(N + 1, lambda: [*rows, hostile])
    kept.replayed([1, 2], START + 99 * MINUTE)
    kept.close()
    return Stand(quarantine=tmp_path / FILE)


def _reading(k: int) -> Kept:
    return Kept(
        k, READING, 0, START + k * MINUTE, START + k * MINUTE, f"pump-{k % 2}", "load",
        "out_of_range",
        "load = 60.0: the value was dropped", "channels.load.range = [0, 50]", "mqtt", "",
        '{"load":60.0}', '{"load":["out_of_range"]}',
    )  # fmt: skip


def test_pages_and_filters(stand: Stand) -> None:
    """Pages follow each other without a gap; filters count for items and counts alike."""
    with stand.served() as server, Client(base_url=server.url) as client:
        seen, cursor = [], None
        while True:
            given = {"limit": 10} | ({"cursor": cursor} if cursor else {})
            page = client.get("/v1/quarantine", params=given).json()
            assert page["counts"] == {"out_of_range": N, "malformed": 1}
            seen += [one["number"] for one in page["items"]]
            cursor = page["next"]
            if cursor is None:
                break
        assert seen == list(range(N + 1, 0, -1))

        def found(**given: str) -> dict[str, int]:
            answer = client.get("/v1/quarantine", params=given)
            assert answer.status_code == 200
            return dict(answer.json()["counts"])

        assert found(device="pump-1") == {"out_of_range": 12}
        assert found(channel="load", replayed="true") == {"out_of_range": 2}
        assert found(reason="malformed") == {"malformed": 1}
        first = client.get("/v1/quarantine").json()["items"][-1]
        assert first["replayed"] is not None
        assert found(until=first["received"]) == {}
        assert found(since=first["received"])["out_of_range"] == N
        [raw] = client.get("/v1/quarantine", params={"reason": "malformed"}).json()["items"]
        assert (raw["payload"], raw["time"], raw["values"]) == ("\\xff{", None, {})
        assert client.get("/v1/quarantine?since=yesterday").status_code == 422


def test_nothing_is_kept() -> None:
    """A service that keeps nothing says that there is nothing."""
    with Stand().served() as server, Client(base_url=server.url) as client:
        assert client.get("/v1/quarantine").json() == {
            "items": [],
            "outside": [],
            "counts": {},
            "next": None,
        }


def test_the_page_shows_what_was_refused(stand: Stand, tmp_path: Path) -> None:
    """Counts by reason and the newest, as text; nothing of it runs."""
    with browser(tmp_path / "profile") as page, stand.served() as server:
        page.get(server.url)
        card = WebDriverWait(page, 20, 0.05).until(
            lambda _: page.find_element(By.CSS_SELECTOR, "#quarantine:not([hidden])")
        )
        assert "23 out of range, 1 malformed" in card.text
        assert "<img src=x onerror=alert(1)>" in card.text
        assert "pump-0" in card.text
        assert [one for one in page.get_log("browser") if one["level"] == "SEVERE"] == []
