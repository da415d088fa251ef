"""Scores as points of curves, and drift as text: what watches experiments."""

import math
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from monitoring.sinks._messages import drift_fields
from monitoring.sinks._spill import place_of
from monitoring.skill import skill
from streamgauge.events import DRIFTS
from streamgauge.output import SCORE_COLUMNS, Output, Scores

__all__ = ["CurvesEncoder", "Point", "Points", "named_run"]

LABELS = SCORE_COLUMNS.index("labels")


class Point(NamedTuple):
    """A number at a step of a curve, NaN where there is none; of a drift how far it went, and its
    text."""

    tag: str
    step: int
    time: float
    """Seconds since 1970, by the log's clock or the event's."""
    value: float
    text: str = ""


class Points:
    """Points in their order."""

    def __init__(self, points: list[Point]) -> None:
        self._points = points

    def __len__(self) -> int:
        return len(self._points)

    def part(self, start: int, stop: int) -> list[Point]:
        """Points from one place to another."""
        return self._points[start:stop]

    def shown(self, k: int) -> str:
        """One as text."""
        return str(self._points[k])


class CurvesEncoder:
    """Scores over all devices, tagged `task@horizon/score`. The step is the number of labels, so
    that runs are compared by what they have learned from; without new labels there is no point.
    Drift is tagged `task@horizon/drift`, or `channel/drift`."""

    def __init__(self) -> None:
        self._steps: dict[str, int] = {}

    def encode(self, outputs: Sequence[Output]) -> Points:
        """All points of these outputs."""
        points: list[Point] = []
        for output in outputs:
            for scores in output.scores:
                points += self._scored(output, scores)
            points += self._drifts(output)
        return Points(points)

    def _scored(self, output: Output, scores: Scores) -> Iterator[Point]:
        found = zip(scores.lane.tolist(), scores.row.tolist(), scores.numbers.tolist(), strict=True)
        for lane, row, numbers in found:
            name = output.predictions.lanes[lane].name
            known = math.isfinite(numbers[LABELS]) and numbers[LABELS] > 0
            if row >= 0 or not known or self._steps.get(name) == int(numbers[LABELS]):
                continue
            step = self._steps[name] = int(numbers[LABELS])
            told = {
                column: number
                for column, number in zip(SCORE_COLUMNS, numbers, strict=True)
                if math.isfinite(number) and column != "labels"
            }
            ahead = skill(told)
            for column, number in (told | ({} if ahead is None else {"skill": ahead})).items():
                yield Point(f"{name}/{column}", step, scores.time / 1e6, number)

    def _drifts(self, output: Output) -> Iterator[Point]:
        for one in output.events:
            if one.kind in DRIFTS:
                lane = output.predictions.lanes[one.lane] if one.lane >= 0 else None
                name = lane.name if lane else one.channel
                said = drift_fields(one, lane.task if lane else "")["text"]
                text = ": ".join(filter(None, (output.device(one.row), said)))
                step = self._steps.get(name, 0)
                yield Point(f"{name}/drift", step, one.time / 1e6, one.after - one.before, text)


def named_run(run: str, stream: str) -> str:
    """The name of a run, left out that of the stream; ValueError where it could be no folder's."""
    if run != place_of(run):
        raise ValueError(f"run = {run!r} is no name; write one like {place_of(run) or 'model-2'!r}")
    return run or place_of(stream)
