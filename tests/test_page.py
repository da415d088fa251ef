"""The live page in a real browser: what a user sees, and what a hostile device cannot do."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select, WebDriverWait

from monitoring.alerts.outbox import Outbox, Standing
from monitoring.alerts.rule import Alert, Matter
from serving.api.service import Part
from streamgauge.events import Event, EventKind
from tests.services.chromium import Browser, browser
from tests.services.stand import (
    AHEAD,
    DEVICES,
    EVIL,
    LABELLED,
    MINUTE,
    START,
    Stand,
    drift,
    output,
    served,
)

PATIENCE = 20
PAINTED = """
    const canvas = document.getElementById("chart");
    const pen = canvas.getContext("2d");
    const colour = getComputedStyle(canvas).getPropertyValue(arguments[0]).trim();
    const [r, g, b] = [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    let found = 0;
    for (let i = 0; i < data.length; i += 4)
      if (data[i] === r && data[i + 1] === g && data[i + 2] === b && data[i + 3] === 255) found++;
    return found;
"""
KEY = "a-key-for-the-page"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


@pytest.fixture
def page(chromium: Browser) -> Iterator[Browser]:
    """The browser, without anything left of the test before."""
    chromium.get("about:blank")
    chromium.delete_all_cookies()
    chromium.get_log("browser")
    yield chromium
    chromium.get("about:blank")


@pytest.fixture
def stand() -> Stand:
    """What is served."""
    return Stand()


def until(page: Browser, what: Callable[[], Any]) -> Any:
    """The value of `what` as soon as it is true."""
    return WebDriverWait(page, PATIENCE, 0.02).until(lambda _: what())


def at(page: Browser, name: str) -> WebElement:
    """The element of that id."""
    return page.find_element(By.ID, name)


def names(page: Browser) -> list[str]:
    """The devices in the list, from top to bottom."""
    script = "return [...document.querySelectorAll('#devices .name')].map((e) => e.textContent)"
    return list(page.execute_script(script))


def choose(page: Browser, device: str) -> None:
    """Click on a device in the list."""
    until(page, lambda: device in names(page))
    page.find_elements(By.CSS_SELECTOR, "#devices .device")[names(page).index(device)].click()
    until(page, lambda: at(page, "device-name").text == device)


def tile(page: Browser, name: str) -> str:
    """The value of the tile whose name begins so."""
    script = """
        const tiles = [...document.querySelectorAll("#tiles > div")];
        const found = tiles.find((tile) => tile.textContent.startsWith(arguments[0]));
        return found ? found.lastChild.textContent : "";
    """
    return str(page.execute_script(script, name))


def points(page: Browser) -> int:
    """Points that the chart has drawn."""
    return int(at(page, "chart").get_attribute("data-points") or 0)


def painted(page: Browser, colour: str) -> bool:
    """True when the chart has more than a few pixels in that colour of the style sheet."""
    return int(page.execute_script(PAINTED, colour)) > 20


def state(page: Browser) -> str:
    """What the page says about its connection."""
    return at(page, "connection").text


def errors(page: Browser) -> list[str]:
    """What the browser complained about, blocked content included."""
    return [one["message"] for one in page.get_log("browser") if one["level"] == "SEVERE"]


def test_the_page_shows_stream_devices_and_scores(page: Browser, stand: Stand) -> None:
    """Title, counters, the devices worst first, the tasks beside persistence; no console error."""
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: state(page) == "live" and points(page) > 100)
        assert page.title == "pumps of <b>hall 3</b> · streamgauge"
        assert at(page, "stream-name").text == "pumps of <b>hall 3</b>"
        assert at(page, "count-devices").text == "6"
        assert at(page, "count-readings").text == "1,203"
        assert names(page) == list(reversed(stand.board.ids))
        until(page, lambda: "+20 %" in at(page, "tasks").text)
        assert "compiled" in at(page, "tasks").text
        assert until(page, lambda: tile(page, "Last-value error") == "2.00 kW")
        assert "humidity" in at(page, "channels").text
        assert "NaN" not in page.find_element(By.TAG_NAME, "body").text
        assert errors(page) == []


def test_the_chart_draws_both_lines_and_the_drift(page: Browser, stand: Stand) -> None:
    """The canvas holds pixels in the colour of each: what was served while warming up too."""
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: points(page) > 100)
        for colour in ("--actual", "--prediction", "--warming", "--drift"):
            until(page, partial(painted, page, colour))


def test_new_results_arrive_without_reload(page: Browser, stand: Stand) -> None:
    """A prediction that the worker writes is in the chart and the tiles; so is a drift."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-1")
        until(page, lambda: state(page) == "live" and stand.live.state()["clients"] == 1)
        before = until(page, lambda: points(page))
        minute = LABELLED + AHEAD + 1
        stand.live.write(output("pump-2", (minute + 1,)))
        stand.live.write(output("pump-1", (minute,), events=(drift("pump-1", 140),)))
        until(page, lambda: points(page) == before + 1)
        assert tile(page, "Prediction") == f"{served(minute):.2f} kW"
        until(page, lambda: len(at(page, "drift").find_elements(By.TAG_NAME, "tr")) == 4)


def test_drift_of_a_channel_says_which_how_far_and_since_when(page: Browser, stand: Stand) -> None:
    """It is listed beside the errors of tasks, for the device and for the fleet; what is not known
    well enough to be watched says so."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-1")
        until(page, lambda: state(page) == "live" and stand.live.state()["clients"] == 1)
        until(page, lambda: "humidity\ncalibrating" in at(page, "channels").text)
        assert "power\ncalibrating" not in at(page, "channels").text
        since, when = START + 145 * MINUTE, START + 150 * MINUTE
        level = Event(
            EventKind.DRIFT_UP, DEVICES.index("pump-1"), -1, when, 0, 20.1, 23.4, 60.0,
            channel="humidity", signal="level", since=since, magnitude=2.0, detector="cusum",
            version=1,
        )  # fmt: skip
        shape = replace(level, kind=EventKind.DRIFT, signal="shape")
        stand.live.write(output("pump-1", (LABELLED + AHEAD + 1,), events=(level, shape)))
        until(page, lambda: any("level rose" in row for row in rows(page, "drift")))
        [told] = [row for row in rows(page, "drift") if "level rose" in row]
        assert "humidity, 20.10 → 23.40, since" in told
        minute = page.execute_script("return new Date(arguments[0]).getMinutes()", since // 1000)
        assert f":{minute:02}" in told.split("since")[1]
        assert any("shape changed" in row for row in rows(page, "drift"))
        assert errors(page) == []


def test_drift_of_the_fleet_leads_to_the_device(page: Browser, stand: Stand) -> None:
    """What drifted anywhere is listed, newest first; a click shows the device concerned."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-2")
        found = until(page, lambda: at(page, "fleet-drift").find_elements(By.TAG_NAME, "tr"))
        row = next(row for row in found if "error rose" in row.text)
        assert "power, 10m" in row.text
        row.find_element(By.TAG_NAME, "button").click()
        until(page, lambda: at(page, "device-name").text == "pump-1")
        assert page.find_elements(By.CSS_SELECTOR, "#devices .drifting") == []
        assert errors(page) == []


def rows(page: Browser, table: str) -> list[str]:
    """The text of each row of a table."""
    script = "return [...document.querySelectorAll(`#${arguments[0]} tr`)].map((e) => e.innerText)"
    return list(page.execute_script(script, table))


def test_silences_stand_beside_drift(page: Browser, stand: Stand) -> None:
    """What fell silent, returned or was forgotten is listed for the device and for the fleet; a
    click shows the device, and the task stays."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-2")
        until(page, lambda: len(rows(page, "drift")) == 3)
        own = rows(page, "drift")
        assert [row.splitlines()[0].split("\t")[1] for row in own] == [
            "forgotten",
            "fell silent",
            "error rose",
        ]
        assert "channel power, nothing for 10 min" in own[1]
        fleet = until(
            page, lambda: len(rows(page, "fleet-drift")) == 3 and rows(page, "fleet-drift")
        )
        assert "fell silent: pump-1" in fleet[0]
        assert "forgotten: pump-1" in fleet[-1]
        at(page, "fleet-drift").find_elements(By.TAG_NAME, "button")[0].click()
        until(page, lambda: at(page, "device-name").text == "pump-1")
        stand.history.more.append(
            {
                "time": START + 91 * MINUTE,
                "device": "pump-1",
                "channel": "power",
                "kind": "returned",
                "seconds": 90.0,
            }
        )
        until(page, lambda: any("returned" in row for row in rows(page, "drift")))
        assert "channel power, after 90 s" in rows(page, "drift")[0]
        assert errors(page) == []


def test_a_silence_arrives_without_reload(page: Browser, stand: Stand) -> None:
    """An event that the worker tells is in the device's list at once."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-1")
        until(page, lambda: state(page) == "live" and stand.live.state()["clients"] == 1)
        until(page, lambda: len(rows(page, "drift")) == 3)
        when, nan = START + 95 * MINUTE, float("nan")
        silent = Event(
            EventKind.SILENT, DEVICES.index("pump-1"), -1, when, 0, nan, nan, 600.0, "flow"
        )
        stand.live.write(output("pump-1", (), events=(silent,)))
        until(page, lambda: "channel flow, nothing for 10 min" in rows(page, "drift")[0])


def test_what_cleaning_did_stands_with_the_channel(page: Browser, stand: Stand) -> None:
    """The share of each flag is below the channel's name."""
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: "outlier 2.50 %, capped 0.500 %" in at(page, "channels").text)


def test_a_device_that_drifts_is_marked(page: Browser, stand: Stand) -> None:
    """For two minutes after its error rose, a device carries a mark in the list."""
    stand.now = START + 89 * MINUTE
    with stand.served() as server:
        page.get(server.url)
        marked = until(page, lambda: page.find_elements(By.CSS_SELECTOR, "#devices .drifting"))
        assert [one.get_attribute("title") for one in marked] == [
            "pump-1: its error rose within the last two minutes"
        ]


def test_counters_follow_the_stream(page: Browser, stand: Stand) -> None:
    """Readings and their rate are read again and again."""
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: at(page, "count-readings").text == "1,203")
        stand.board.readings += 500
        stand.now += 10 * 10**6
        until(page, lambda: at(page, "count-readings").text == "1,703")
        assert at(page, "count-rate").text == "50"


def test_a_hostile_device_id_is_text(page: Browser, stand: Stand) -> None:
    """Markup in an id is shown as it is: no element, no script, in list, title and tooltip."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, EVIL)
        until(page, lambda: points(page) > 100)
        assert EVIL in names(page)
        sources = [one.get_attribute("src") for one in page.find_elements(By.TAG_NAME, "img")]
        assert sources == [f"{server.url}/static/icon.svg"]
        assert "owned" not in page.title
        assert errors(page) == []


def test_search_and_order_change_the_list(page: Browser, stand: Stand) -> None:
    """Search asks the service; by name is alphabetical; nothing found is said."""
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: len(names(page)) == 6)
        at(page, "search").send_keys("SITE A/")
        until(page, lambda: names(page) == ["site a/pump 1"])
        at(page, "search").send_keys("nothing")
        until(page, lambda: names(page) == [])
        assert "SITE A/nothing" in at(page, "no-devices").text
        at(page, "search").clear()
        Select(at(page, "order")).select_by_value("name")
        until(page, lambda: names(page) == stand.board.ids)


def test_a_task_that_warms_up_says_so(page: Browser, stand: Stand) -> None:
    """Choosing the other horizon shows its state and that there is nothing to draw yet."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-1")
        Select(at(page, "task")).select_by_visible_text("power, 1 reading")
        until(page, lambda: at(page, "model-status").text == "warming up")
        until(page, lambda: at(page, "no-points").is_displayed())
        assert errors(page) == []


def test_the_address_keeps_the_choice(page: Browser, stand: Stand) -> None:
    """Reloading the page, or sending its address to somebody, shows the same device."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-2")
        page.refresh()
        until(page, lambda: at(page, "device-name").text == "pump-2")


def test_the_keyboard_reads_list_and_chart(page: Browser, stand: Stand) -> None:
    """Arrow keys move through the devices and through the points of the chart."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, names_when_loaded(page)[0])
        until(page, lambda: points(page) > 100)
        page.switch_to.active_element.send_keys(Keys.ARROW_DOWN, Keys.ENTER)
        until(page, lambda: at(page, "device-name").text == names(page)[1])
        until(page, lambda: points(page) > 100)
        at(page, "chart").send_keys(Keys.HOME)
        until(page, lambda: at(page, "tip").is_displayed())
        assert "actual" in at(page, "tip").text
        assert "prediction" in (at(page, "spoken").get_attribute("textContent") or "")


def names_when_loaded(page: Browser) -> list[str]:
    """The list, once it is there."""
    return list(until(page, lambda: names(page)))


def test_a_lost_connection_is_told_and_mended(page: Browser, stand: Stand) -> None:
    """While the service is away the page says so; when it is back, what was missed is there."""
    with stand.served() as server:
        page.get(server.url)
        choose(page, "pump-1")
        until(page, lambda: state(page) == "live" and points(page) > 100)
    until(page, lambda: state(page) == "connection lost, retrying")
    again = Stand()
    with again.served(server.port):
        until(page, lambda: state(page) == "live")
        until(page, lambda: again.live.state()["clients"] == 1)
        before = points(page)
        again.live.write(output("pump-1", (LABELLED + AHEAD + 1,)))
        until(page, lambda: points(page) == before + 1)


def test_a_part_that_fails_is_shown(page: Browser, stand: Stand) -> None:
    """The reason that /readyz gives stands on the page, and goes when the part works again."""
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: state(page) == "live")
        assert not at(page, "banner").is_displayed()
        stand.parts[0] = Part("source mqtt", False, "broker refuses the password", 10**15)
        until(page, lambda: at(page, "banner").is_displayed())
        said = at(page, "banner").text
        assert said.startswith("source mqtt: broker refuses the password (since 9 Sep")
        stand.parts[0] = Part("source mqtt", True, "")
        until(page, lambda: not at(page, "banner").is_displayed())


def test_login_and_logout(page: Browser) -> None:
    """With keys the form comes first; a wrong key is refused in words, the right one opens."""
    with Stand(keys=(KEY,)).served() as server:
        page.get(server.url)
        until(page, lambda: at(page, "key")).send_keys("wrong", Keys.ENTER)
        until(page, lambda: "none of the service's API keys" in at(page, "refusal").text)
        at(page, "key").send_keys(KEY, Keys.ENTER)
        until(page, lambda: page.find_elements(By.ID, "chart") and state(page) == "live")
        until(page, lambda: points(page) > 100)
        assert KEY not in page.execute_script("return document.cookie + localStorage.length")
        at(page, "logout").click()
        until(page, lambda: page.find_elements(By.ID, "key"))


def test_it_fits_a_phone(page: Browser, stand: Stand) -> None:
    """At a phone's width nothing sticks out sideways."""
    size = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    desktop = {"width": 1280, "height": 800, "deviceScaleFactor": 1, "mobile": False}
    with stand.served() as server:
        page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        try:
            page.get(server.url)
            until(page, lambda: points(page) > 100)
            assert page.execute_script("return document.documentElement.scrollWidth") == 390
            assert at(page, "chart").size["width"] > 300
        finally:
            page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", desktop)


def test_the_page_asks_nobody_else(page: Browser, stand: Stand) -> None:
    """Everything that the page loads comes from the service itself."""
    script = "return performance.getEntriesByType('resource').map((entry) => entry.name)"
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: points(page) > 100)
        loaded = page.execute_script(script)
        assert len(loaded) > 8
        assert [one for one in loaded if not one.startswith(server.url)] == []


def test_the_page_needs_no_build() -> None:
    """What is served is what is written: plain files, none over the size budget."""
    folder = Path(__file__).parent.parent / "serving" / "dashboard"
    files = sorted(path.name for path in folder.iterdir())
    assert {"index.html", "login.html", "app.js", "style.css"} <= set(files)
    for path in folder.iterdir():
        assert len(path.read_text().splitlines()) < 300, path.name


def test_the_page_shows_what_fires(page: Browser, stand: Stand, tmp_path: Path) -> None:
    """Most severe first, why nobody is told, names as text; nothing where nothing fires."""
    stand.alerts = Outbox(tmp_path)
    with stand.served() as server:
        page.get(server.url)
        until(page, lambda: state(page) == "live")
        assert not at(page, "alerts-card").is_displayed()
        for severity, device, held in (("warning", EVIL, "cool_down"), ("critical", "pump-1", "")):
            matter = Matter("gone", device)
            alert = Alert(matter, severity, {}, f"{device} is silent", "Nothing was heard.", START)
            stand.alerts.put(Standing(matter, "firing", START, START, START, not held, held, alert))
        until(page, lambda: at(page, "alerts-card").is_displayed())
        shown = at(page, "alerts").text
        assert shown.index("pump-1 is silent") < shown.index(f"{EVIL} is silent")
        assert "Nothing was heard. Nobody is told: cool down." in shown
        assert page.title != "owned"
        assert errors(page) == []
    stand.alerts.close()
