"""The live page shows a class, a score and a cluster in their own words."""

from collections.abc import Iterator
from typing import Any, cast

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from monitoring.sinks import store
from tests.services.chromium import Browser, browser
from tests.services.stand import Stand
from tests.test_page import at, errors, points, until
from tests.test_tasks_sinks import Ran, chances

SHOWN = """
    return Object.fromEntries([...document.querySelectorAll("#tiles > div")].map(
      (tile) => [tile.firstChild.textContent, tile.lastChild.textContent]));
"""


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Browser, Ran]]:
    """A browser on the page of a service that ran all kinds of tasks."""
    ran, folder = Ran(), tmp_path_factory.mktemp("page")
    kept = store.open(ran.lanes, "market", folder, lambda: 10**15)
    for output in ran.outputs:
        kept.write(output)
    assert kept.flush(20)
    stand = Stand(board=cast(Any, ran.made.board), history=cast(Any, kept), now=10**15)
    with stand.served() as server, browser(folder / "profile") as page:
        page.get(server.url)
        yield page, ran
    kept.close()


def chosen(page: Browser, task: str) -> dict[str, str]:
    """The tiles once that task is chosen and drawn."""
    until(page, lambda: len(Select(at(page, "task")).options) == 4)
    Select(at(page, "task")).select_by_visible_text(task)
    until(page, lambda: points(page) > 20)
    return tiles(page)


def tiles(page: Browser) -> dict[str, str]:
    """Name and value of each tile."""
    found: dict[str, str] = page.execute_script(SHOWN)
    return found


def newest(ran: Ran, task: str) -> dict[Any, Any]:
    """The last row of a task's results."""
    return [one for one in ran.table.values() if one["task"] == task][-1]


def test_a_class_is_named_with_its_probability(shown: tuple[Browser, Ran]) -> None:
    """The class and how sure the model is, the accuracy beside the baseline's."""
    page, ran = shown
    chosen(page, "trend")
    last = newest(ran, "trend")
    score = ran.made.board.scores("trend", "nsw")[0].scores
    told = until(page, lambda: "–" not in (found := tiles(page)).get("Accuracy", "–") and found)
    (prediction,) = [value for name, value in told.items() if name.startswith("Prediction")]
    sure = 100 * chances(last["probabilities"])[last["prediction"]]
    assert prediction == f"{last['prediction']} ({sure:.0f} %)"
    assert told["Class when made"] in {"UP", "DOWN"}
    assert float(told["Accuracy"].split()[0]) == pytest.approx(
        100 * (score["accuracy"] or 0), abs=1
    )
    row = next(
        one for one in page.find_elements(By.CSS_SELECTOR, "#tasks tr") if "trend" in one.text
    )
    assert row.text.count("% wrong") == 2
    at(page, "chart").send_keys("\ue010")  # End: the newest point in words.
    words = f"prediction {last['prediction']}"
    until(page, lambda: words in (at(page, "spoken").get_attribute("textContent") or ""))


def test_classes_are_shown_as_they_were_told(shown: tuple[Browser, Ran]) -> None:
    """The device's confusion matrix, with the share found of each class; not for other kinds."""
    page, ran = shown
    chosen(page, "trend")
    score = ran.made.board.scores("trend", "nsw")[0]
    until(page, lambda: at(page, "confusion-card").is_displayed())
    lines = [
        [cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
        for row in page.find_elements(By.CSS_SELECTOR, "#confusion tr")
    ]
    shares = [one["recall"] or 0.0 for one in score.per_class.values()]
    assert [line[0] for line in lines] == list(score.per_class)
    counted = [[int(cell.replace(",", "")) for cell in line[1:-1]] for line in lines]
    assert counted == score.confusion
    assert [line[-1] for line in lines] == [f"{100 * share:.1f} %" for share in shares]
    Select(at(page, "task")).select_by_visible_text("mode")
    until(page, lambda: not at(page, "confusion-card").is_displayed())


def test_an_anomaly_has_a_score(shown: tuple[Browser, Ran]) -> None:
    """The score, and what is usual; nothing of last values and errors."""
    page, ran = shown
    told = chosen(page, "strange")
    assert told.keys() == {"Anomaly score", "Nine of ten are below", "ROC AUC", "PR AUC"}
    score = newest(ran, "strange")["score"]
    assert float(told["Anomaly score"].replace("−", "-")) == pytest.approx(score, rel=0.01)
    assert at(page, "model-status").text == "scoring"


def test_a_cluster_has_a_number_and_a_distance(shown: tuple[Browser, Ran]) -> None:
    """The newest cluster, how far its centre is, and that it is new to the device."""
    page, ran = shown
    told = chosen(page, "mode")
    last = newest(ran, "mode")
    assert told["Cluster"] == str(int(last["prediction"]))
    assert float(told["Distance from its centre"]) == pytest.approx(last["score"], rel=0.01)
    silhouette = ran.made.board.scores("mode", "nsw")[0].scores["silhouette"]
    assert silhouette is not None
    told = until(page, lambda: "–" not in (found := tiles(page))["Silhouette"] and found)
    assert float(told["Silhouette"].replace("−", "-")) == pytest.approx(silhouette, rel=0.01)
    modes = {one["prediction"] for one in ran.table.values() if one["task"] == "mode"}
    assert told["Clusters shown"] == str(len(modes))
    until(page, lambda: "new cluster" in at(page, "drift").text)
    assert "mode: from" in at(page, "drift").text


def test_a_number_stays_as_it_was(shown: tuple[Browser, Ran]) -> None:
    """A forecast has its last value and both errors; the browser complains about nothing."""
    page, _ = shown
    told = chosen(page, "price, 30m")
    assert {"Value when made", "Model error MAE", "Last-value error MAE", "Skill"} <= {
        name.strip() if not name.endswith("error ") else f"{name}MAE" for name in told
    }
    assert not errors(page)
