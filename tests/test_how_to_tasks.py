"""The page on tasks shows what they score: each configuration gives its figures in a replay."""

import re
from pathlib import Path
from typing import get_args

import pytest

from stream_processor.pipeline import Pipeline
from stream_processor.settings import load_text
from streamgauge.events import EventKind
from streamgauge.schedule import TaskKind
from tests.kinds import recorded, rows, table

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "tasks.md"
SHOWN = list(
    re.finditer(
        r"```toml\n(?P<toml>.*?)```\n\n"
        r"`(?P<recording>\w+)`, first (?P<rows>[\d,]+) rows: (?P<scores>[^\n]+)",
        PAGE.read_text(encoding="utf-8"),
        re.DOTALL,
    )
)


def kind_of(shown: re.Match[str]) -> str:
    """The kind of task that a part is about."""
    return re.findall(r'^kind = "(\w+)"', shown["toml"], re.MULTILINE)[-1]


def test_every_kind_has_its_part() -> None:
    """One at least, in the order of the kinds."""
    assert list(dict.fromkeys(map(kind_of, SHOWN))) == list(get_args(TaskKind))


@pytest.mark.parametrize("shown", SHOWN, ids=kind_of)
def test_a_replay_gives_the_figures(shown: re.Match[str]) -> None:
    """To the three digits that are shown."""
    made = Pipeline(load_text(shown["toml"], Path("/somewhere/pipeline.toml"), {}, for_replay=True))
    outputs = recorded(made, rows(shown["recording"], int(shown["rows"].replace(",", ""))))
    [task] = made.board.tasks()
    found = {k: v for k, v in made.board.scores(task.task)[0].scores.items() if v is not None}
    if task.kind == "clustering":
        events = [event for output in outputs for event in output.events]
        found["new_cluster"] = sum(event.kind is EventKind.NEW_CLUSTER for event in events)
        found["clusters"] = table(made, outputs)["prediction"].nunique()
    said = dict(pair.split(" ") for pair in shown["scores"].split(", "))
    assert {name: f"{found[name]:.3g}" for name in said} == said
    assert "persistence_mae" not in said or found["mae"] < found["persistence_mae"]
    baselines = [
        found[name] for name in said if name in ("majority_accuracy", "persistence_accuracy")
    ]
    assert found.get("accuracy", 2.0) > max(baselines, default=0.0)
