"""One configuration on a recording: what it scores, and how on events that it has seen."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from serving.tune.recording import Parts, Recording, moved
from serving.tune.score import Collected, Labels, score
from stream_processor.pipeline import Pipeline
from stream_processor.settings import Settings
from streamgauge.arrays import Floats
from streamgauge.delivery import Readings

__all__ = ["Curves", "Judged", "curves", "judged", "tried"]

STEPS = 8
"""Times at which a trial is compared with the others while it runs."""
BINS = 24
"""Points of a learning curve."""


@dataclass(frozen=True, slots=True)
class Judged:
    """Scores of a configuration: of the labels that decide, and of those that test."""

    decides: float
    tests: float
    labels: int


@dataclass(frozen=True, slots=True)
class Curves:
    """Scores along a recording, float64[BINS]: of predictions of events before they are learned,
    and of the same events once all of them have been learned."""

    unseen: Floats
    seen: Floats


def tried(
    settings: Settings,
    recording: Recording,
    parts: Parts,
    name: str,
    task: str,
    told: Callable[[int, float], None],
) -> float:
    """The score that decides; `told` hears at STEPS places what all labels so far amount to, and
    may end the trial by raising. Nothing beyond what decides is replayed."""
    pipeline = Pipeline(settings)
    found = _collected(pipeline, task)
    last = parts.test if parts.deciding is None else parts.end + 1
    steps = iter(np.linspace(0, parts.readings, STEPS + 1)[1:].tolist())
    walked, step, mark = 0, 0, next(steps)
    for piece in recording.pieces(settings, pipeline.walk.stages.schema):
        if int(piece.time[0]) >= last:
            break
        for output in pipeline.record(piece):
            found.add(output)
        walked += len(piece)
        if walked >= mark:
            told(step, score(name, found.labels()))
            step, mark = step + 1, next(steps, np.inf)
    return score(name, parts.decides(found.labels()))


def judged(settings: Settings, recording: Recording, parts: Parts, name: str, task: str) -> Judged:
    """The scores over the whole recording."""
    pipeline = Pipeline(settings)
    found = _collected(pipeline, task)
    pieces = recording.pieces(settings, pipeline.walk.stages.schema)
    every = _walked(pipeline, pieces, found)
    tests = parts.tests(every)
    return Judged(score(name, parts.decides(every)), score(name, tests), sum(map(len, tests)))


def curves(settings: Settings, recording: Recording, parts: Parts, name: str, task: str) -> Curves:
    """The recording twice, the second time whole weeks later: then each event was learned once."""
    pipeline = Pipeline(_without_eviction(settings))
    schema = pipeline.walk.stages.schema
    found = _collected(pipeline, task)
    _walked(pipeline, recording.pieces(settings, schema), found)
    later = (moved(piece, parts.span) for piece in list(recording.pieces(settings, schema)))
    every = _walked(pipeline, later, found)
    return Curves(*(_binned(every, parts, by, name) for by in (0, parts.span)))


def _without_eviction(settings: Settings) -> Settings:
    """Between the two times no device may be forgotten."""
    return replace(settings, devices=replace(settings.devices, evict_after=None))


def _binned(every: Sequence[Labels], parts: Parts, moved_by: int, name: str) -> Floats:
    edges = np.linspace(parts.begin, parts.end + 1, BINS + 1).astype(np.int64) + moved_by
    bins = [
        [one.where((one.made >= low) & (one.made < high)) for one in every]
        for low, high in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True)
    ]
    return np.array([score(name, some) for some in bins])


def _collected(pipeline: Pipeline, task: str) -> Collected:
    stages = pipeline.walk.stages
    return Collected(task, stages.lanes, stages.classify.of)


def _walked(pipeline: Pipeline, pieces: Iterator[Readings], found: Collected) -> list[Labels]:
    for piece in pieces:
        for output in pipeline.record(piece):
            found.add(output)
    return found.labels()
