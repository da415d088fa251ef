"""The live page shows the chosen task by a tag of devices."""

from pathlib import Path
from typing import Any, cast

from selenium.webdriver.common.by import By

from stream_processor.pipeline import Pipeline
from tests.services.chromium import Browser, browser
from tests.services.stand import Stand
from tests.test_group_scores import made as made  # noqa: PLC0414 - a fixture
from tests.test_page import at, until


def rows(page: Browser) -> list[list[str]]:
    """Cells of the table of groups."""
    return [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in page.find_elements(By.CSS_SELECTOR, "#groups tr")
    ]


def test_a_task_is_shown_by_tag(made: Pipeline, tmp_path: Path) -> None:
    """A row per value, with its devices, skill, errors and labels."""
    stand = Stand(board=cast(Any, made.board), now=1_700_000_800 * 10**6)
    with stand.served() as server, browser(tmp_path / "profile") as page:
        page.get(server.url)
        until(page, lambda: len(rows(page)) == 3)
        found = made.board.group_scores("heat", "site")
        told = {one.group: one for one in found if one.horizon == "1 reading"}
        assert [row[:2] for row in rows(page)] == [
            ["no value", "1"],
            ["north", "2"],
            ["south", "1"],
        ]
        for row, group in zip(rows(page), ("", "north", "south"), strict=True):
            assert row[-1] == f"{told[group].scores['labels']:.0f}"
        assert at(page, "groups-card").is_displayed()
