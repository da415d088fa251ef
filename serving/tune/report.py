"""What came out of the trials, as sentences and as one HTML page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import numpy as np

from serving.report.charts import bars, lines
from serving.report.page import page as whole
from serving.report.page import table
from serving.report.wording import when
from serving.starter.write import toml_value
from serving.tune.recording import Parts
from serving.tune.space import Option
from serving.tune.study import Tried
from serving.tune.trial import Curves, Judged
from streamgauge.arrays import Floats

__all__ = ["Found", "page"]

_MAIN = Path(__file__).with_name("main.html")
SHOWN = 50
"""Trials in the table."""
GAP = 0.15
"""A model that is so much better on what it has seen knows that by heart."""
HARDLY = 0.98
"""Of the last value's error: a model that has more on what it has seen is too simple, or is told
too little."""


@dataclass(frozen=True, slots=True)
class Found:
    """The question, all trials with the best first, and the best beside what there was."""

    config: str
    task: str
    says: str
    """What the score is."""
    better: int
    parts: Parts
    options: Sequence[Option]
    tried: Sequence[Tried]
    best: Tried | None
    """None where the configuration as it is was not surpassed."""
    as_it_is: Judged
    winner: Judged
    before: Curves
    after: Curves
    importance: Mapping[str, float]

    def sentences(self) -> list[str]:
        """What to know, in words."""
        early = sum(one.score is None for one in self.tried)
        told = f"{len(self.tried)} trials of {self.task}, {early} of them stopped early"
        if self.best is None:
            kept = f"none was better than the configuration as it is, {self.says}"
            return [f"{told}: {kept} {self.as_it_is.decides:.4g}", *self._fit(self.before)]
        decided = f"{self.as_it_is.decides:.4g} -> {self.winner.decides:.4g}"
        tested = f"{self.as_it_is.tests:.4g} -> {self.winner.tests:.4g}"
        values = ", ".join(f"{key} = {toml_value(one)}" for key, one in self.best.values.items())
        return [
            f"{told}: {self.says} {decided} with {values}",
            f"on the {self.winner.labels:,} labels that decided nothing: {tested}{self._lucky()}",
            *self._fit(self.after),
        ]

    def _lucky(self) -> str:
        """A warning where what was won is not there on other labels."""
        won = self.better * (self.winner.tests - self.as_it_is.tests)
        return "" if won > 0 else "; what was won is not there, so keep the configuration as it is"

    def _fit(self, found: Curves) -> list[str]:
        half = len(found.unseen) // 2
        unseen, seen = found.unseen[half:], found.seen[half:]
        known = np.isfinite(unseen) & np.isfinite(seen)
        if not known.any():
            return []
        new, old = float(unseen[known].mean()), float(seen[known].mean())
        gap = self.better * (old - new) / abs(new) if new else 0.0
        told = f"of events before it learned them {new:.4g}, of the same afterwards {old:.4g}"
        if gap > GAP:
            return [f"{told}: it overfits; fewer features, more l2, or slower learning may help"]
        if self.better < 0 and self.says.endswith("the last value's") and old > HARDLY:
            return [f"{told}: it underfits; more features or a stronger model may help"]
        return [f"{told}: it neither overfits nor underfits"]


def page(found: Found, config: str) -> str:
    """The whole report; `config` is the configuration that came out."""
    return whole(
        "tune",
        f"{found.task} of {found.config}",
        _facts(found),
        _MAIN,
        findings="".join(f"<li>{escape(one)}</li>" for one in found.sentences()),
        course=_course(found),
        importance=_importance(found),
        curves=_curve("As it was", found.before, found) + _curve("Best", found.after, found),
        trials=table(
            ("trial", escape(found.says), *(escape(one.key) for one in found.options)),
            map(_cells, found.tried[:SHOWN]),
        ),
        config=escape(config),
        says=escape(found.says),
        split=escape(_split(found.parts)),
    )


def _facts(found: Found) -> tuple[tuple[str, str], ...]:
    return (
        ("trials", f"{len(found.tried):,}"),
        ("as it was", f"{found.as_it_is.decides:.4g}"),
        ("best", f"{found.winner.decides:.4g}"),
        ("as it was, on the test", f"{found.as_it_is.tests:.4g}"),
        ("best, on the test", f"{found.winner.tests:.4g}"),
    )


def _split(parts: Parts) -> str:
    if parts.deciding is not None:
        return (
            f"the labels of {len(parts.deciding)} devices decide, those of {len(parts.testing)} "
            "others test"
        )
    return (
        f"labels of predictions from {when(parts.validate)} on decide, up to {when(parts.test)}; "
        f"those from there to {when(parts.end)} test (UTC)"
    )


def _course(found: Found) -> str:
    """The score of each trial in turn, and the best so far."""
    scored = sorted((one.number, one.score) for one in found.tried if one.score is not None)
    scores = np.array([score for _, score in scored])
    best = np.maximum.accumulate(found.better * scores) * found.better
    ends = (f"trial {scored[0][0]}", f"trial {scored[-1][0]}") if scored else ("", "")
    return lines("Trial by trial", {"score": scores, "best so far": best}, ends)


def _importance(found: Found) -> str:
    shares: Floats = np.array([found.importance.get(one.key, np.nan) for one in found.options])
    names = [one.key for one in found.options]
    return bars("What mattered", shares, names, names, "" if found.importance else "too few trials")


def _curve(title: str, drawn: Curves, found: Found) -> str:
    series = {"before learning": drawn.unseen, "once learned": drawn.seen}
    return lines(title, series, (when(found.parts.begin), when(found.parts.end)))


def _cells(one: Tried) -> list[str]:
    score = escape(one.ended) if one.score is None else f"{one.score:.5g}"
    values = [f"{value:.4g}" if isinstance(value, float) else escape(toml_value(value))
              for value in one.values.values()]  # fmt: skip
    return [str(one.number), score, *values]
