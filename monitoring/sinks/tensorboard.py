"""Scores as curves of TensorBoard, one run per stream, and drift as text beside them.

`pip install "streamgauge[tensorboard]"` brings tensorboardX, which writes the files; TensorBoard,
which shows them, is installed by itself.
"""

import math
import os
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._delivery import Refused
from monitoring.sinks._messages import drift_fields
from monitoring.sinks._spill import place_of
from monitoring.skill import skill
from streamgauge.events import DRIFTS
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.schedule import Lane

__all__ = ["open"]

BATCH = 10_000
"""Points that are written together."""
LABELS = SCORE_COLUMNS.index("labels")


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    path: Path,
    run: str = "",
    buffer_bytes: int = 100_000_000,
) -> Buffered[Any]:
    """A sink that writes event files to `path/run`, for `tensorboard --logdir path`.

    - `path`: the folder of all runs; made if it is not there
    - `run`: the name of this one; left out, the stream's. Give another one to another
      configuration, and TensorBoard draws their curves over each other.
    - `buffer_bytes`: what may wait in memory for a disk that refuses; beyond it the oldest is
      dropped and counted

    ValueError for a path that is a file, a run that is no name, or a package that is missing.
    """
    if find_spec("tensorboardX") is None:
        raise ValueError('tensorboardX is not installed: pip install "streamgauge[tensorboard]"')
    if path.exists() and not path.is_dir():
        raise ValueError(f"path = {str(path)!r} is a file; name a folder")
    if run != place_of(run):
        raise ValueError(
            f"run = {run!r} names no folder; write one like {place_of(run) or 'model-2'!r}"
        )
    files = _EventFiles(path / (run or place_of(stream)))
    return Buffered(
        _Encoder().encode, files, clock, name="tensorboard", batch=BATCH, buffer_bytes=buffer_bytes
    )


class Point(NamedTuple):
    """A number, or a text where there is one, at a step of a curve."""

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


class _Encoder:
    """Scores over all devices, tagged `task@horizon/score`. The step is the number of labels, so
    that runs are compared by what they have learned from; without new labels there is no point."""

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
                yield Point(f"{name}/drift", step, one.time / 1e6, math.nan, text)


class _EventFiles:
    """The event files of one run. Each life of the service begins a new one, as TensorBoard
    expects, and so does what comes after a disk refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, part: list[Point]) -> None:
        """Write points, and wait until they are on the disk."""
        try:
            if self._writer is None:
                self._writer = self._begun()
            for point in part:
                self._writer.write_event(_event(point))
            self._writer.flush()
        except OSError as refused:
            self._writer = None
            raise Refused(f"cannot write {self._folder}: {refused}") from None

    def _begun(self) -> Any:
        from tensorboardX.event_file_writer import EventsWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        # Two in the same second would share a name.
        return EventsWriter(str(self._folder / "events"), f".{os.urandom(4).hex()}")

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()


def _event(point: Point) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import text

    if point.text:
        summary = text(point.tag, point.text)
    else:
        summary = Summary(value=[Summary.Value(tag=point.tag, simple_value=point.value)])
    return Event(wall_time=point.time, step=point.step, summary=summary)
