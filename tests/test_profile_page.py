"""The report of `streamgauge profile` in a real browser: whole, self-contained, safe."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from selenium.webdriver.common.by import By

from serving.cli import main
from tests.recordings import recording
from tests.services.chromium import Browser, browser

EVIL = "<img src=x onerror=document.title='owned'>"
PAGE_IS_TOO_WIDE = "return document.documentElement.scrollWidth > window.innerWidth"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """One browser for all tests of this file."""
    with browser(tmp_path_factory.mktemp("profile")) as found:
        yield found


def opened(page: Browser, data: Path, report: Path) -> str:
    """The report on that recording, open in the browser; its text."""
    assert main(["profile", str(data), "-o", str(report)]) == 0
    page.get("about:blank")
    page.get_log("browser")
    page.get(report.as_uri())
    return report.read_text(encoding="utf-8")


def errors(page: Browser) -> list[str]:
    """What the browser complained about, blocked content included."""
    return [one["message"] for one in page.get_log("browser") if one["level"] == "SEVERE"]


def test_hostile_names_are_only_text(chromium: Browser, tmp_path: Path) -> None:
    """Devices, channels and the file are called like markup; the page shows them as they are, runs
    nothing, asks for nothing, and leaves no bracket of theirs unescaped."""
    n = 400
    time = pd.date_range("2026-03-01", periods=n, freq="min", tz="UTC")
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"device": EVIL, "time": time, EVIL: rng.normal(size=n), "</pre>$x": 1.0})
    path = tmp_path / "<b>all<b>.parquet"
    data.to_parquet(path)
    text = opened(chromium, path, tmp_path / "report.html")
    assert chromium.title == "<b>all<b>.parquet · streamgauge profile"
    assert chromium.find_element(By.TAG_NAME, "h1").text == "<b>all<b>.parquet"
    assert EVIL in chromium.find_element(By.ID, "devices").text
    assert EVIL in chromium.find_element(By.ID, "channels").text
    assert EVIL in chromium.find_element(By.CSS_SELECTOR, "#config pre").text
    assert not chromium.find_elements(By.CSS_SELECTOR, "img, script, link, iframe, b")
    assert EVIL not in text
    assert errors(chromium) == []


def test_the_report_needs_nothing_beside_it(chromium: Browser, tmp_path: Path) -> None:
    """No address of anything in it, and the browser loaded the one file alone."""
    text = opened(chromium, recording("intel_lab_30min.csv.gz"), tmp_path / "report.html")
    assert not re.search(r"(src|href)=\"(?!#)|url\(|@import|https?:", text)
    loaded = chromium.execute_script("return performance.getEntriesByType('resource').length")
    assert loaded == 0


@pytest.mark.parametrize("name", ["intel_lab_30min", "occupancy_detection", "skab_valve1"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_it_reads_well(
    name: str, scheme: str, width: int, chromium: Browser, tmp_path: Path
) -> None:
    """Light and dark, narrow and wide: nothing sticks out, charts have a size, ink differs from
    paper, and no figure is written as NaN."""
    chromium.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    chromium.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    opened(chromium, recording(f"{name}.csv.gz"), tmp_path / "report.html")
    body = chromium.find_element(By.TAG_NAME, "body")
    assert not chromium.execute_script(PAGE_IS_TOO_WIDE)
    charts = chromium.find_elements(By.TAG_NAME, "svg")
    assert len(charts) >= 3
    assert all(chart.size["width"] > 200 and chart.size["height"] > 50 for chart in charts)
    ink, paper = (brightness(body.value_of_css_property(p)) for p in ("color", "background-color"))
    assert (paper - ink > 400) if scheme == "light" else (ink - paper > 400)
    assert not re.search(r"\bnan\b|\binf\b|None", body.text, re.IGNORECASE)
    assert errors(chromium) == []


def brightness(colour: str) -> int:
    """Of a CSS colour, 0 to 765."""
    return sum(map(int, re.findall(r"\d+", colour)[:3]))
