"""How well a task was told over part of a recording: one number to compare trials by."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitoring import class_scores
from monitoring.ranking import roc_auc
from streamgauge.arrays import Bools, Floats, Ints
from streamgauge.classes import Classes
from streamgauge.output import Output
from streamgauge.predictions import BASE, LABEL, LANE, MADE, RESIDUAL, ROW, VALUE
from streamgauge.schedule import Lane, TaskKind

__all__ = ["KINDS", "SCORES", "Collected", "Labels", "score"]


@dataclass(frozen=True, slots=True)
class Labels:
    """n labels of one lane, in the order in which they came.

    `codes int64[n, 8]`, `numbers float64[n, 4]` and `parts float64[n, k]` as in `Predictions`, but
    ROW is the number of the device in `names`.
    """

    lane: Lane
    classes: Classes | None
    names: Sequence[str]
    codes: Ints
    numbers: Floats
    parts: Floats

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def made(self) -> Ints:
        """When each prediction was made, microseconds UTC."""
        return self.codes[:, MADE]

    def column(self, k: int) -> Floats:
        """VALUE, LABEL, RESIDUAL or BASE."""
        return self.numbers[:, k]

    def where(self, kept: Bools) -> "Labels":
        """Some of them."""
        columns = (self.codes[kept], self.numbers[kept], self.parts[kept])
        return Labels(self.lane, self.classes, self.names, *columns)

    def of(self, devices: Collection[str]) -> "Labels":
        """Those of some devices."""
        kept = np.array([name in devices for name in self.names], bool)
        return self.where(kept[self.codes[:, ROW]])


Measure = Callable[[Labels], float]


@dataclass(frozen=True, slots=True)
class Score:
    """A way to judge: `better` = 1 where a larger number is better, -1 where a smaller one is."""

    of: Measure
    better: int
    kinds: tuple[TaskKind, ...]
    says: str


def _against_the_last(power: float) -> Measure:
    """Mean error of `power`, as a share of that of the last value on the same labels."""

    def of(labels: Labels) -> float:
        residual, base = labels.column(RESIDUAL), labels.column(BASE)
        known = np.isfinite(residual) & np.isfinite(base)
        if not known.any():
            return np.nan
        missed = np.abs(residual[known]) ** power
        last = np.abs(labels.column(LABEL)[known] - base[known]) ** power
        with np.errstate(all="ignore"):
            return float((missed.mean() / last.mean()) ** (1.0 / power))

    return of


def _class_score(name: str) -> Measure:
    place = class_scores.COLUMNS.index(name)

    def of(labels: Labels) -> float:
        known = _known(labels)
        if labels.classes is None or not known.any():
            return np.nan
        value, label = (labels.column(k)[known].astype(np.int64) for k in (VALUE, LABEL))
        counts = np.zeros((len(class_scores.COUNTS), labels.parts.shape[1]))
        for row, places in enumerate((label, value, label[label == value])):
            np.add.at(counts[row], places, 1.0)
        chance = labels.parts[known][np.arange(len(label)), label]
        chance = chance[np.isfinite(chance)]
        fields = np.zeros(len(class_scores.FIELDS))
        fields[class_scores.CHANCES] = len(chance)
        if len(chance):
            least = class_scores.LEAST
            fields[class_scores.LOSS] = -np.log(np.clip(chance, least, 1.0 - least)).mean()
        return class_scores.summary(fields, counts)[place]

    return of


def _roc_auc(labels: Labels) -> float:
    known = _known(labels)
    return roc_auc(labels.column(VALUE)[known], labels.column(LABEL)[known])


def _known(labels: Labels) -> Bools:
    return np.isfinite(labels.column(VALUE)) & np.isfinite(labels.column(LABEL))


_NUMBER: tuple[TaskKind, ...] = ("forecast", "regression")
_CLASS: tuple[TaskKind, ...] = ("classification",)
SCORES: Mapping[str, Score] = {
    "mae": Score(_against_the_last(1.0), -1, _NUMBER, "MAE as a share of the last value's"),
    "rmse": Score(_against_the_last(2.0), -1, _NUMBER, "RMSE as a share of the last value's"),
    "accuracy": Score(_class_score("accuracy"), 1, _CLASS, "accuracy"),
    "balanced_accuracy": Score(_class_score("balanced_accuracy"), 1, _CLASS, "balanced accuracy"),
    "f1_macro": Score(_class_score("f1_macro"), 1, _CLASS, "macro F1"),
    "kappa": Score(_class_score("kappa"), 1, _CLASS, "Cohen's kappa"),
    "log_loss": Score(_class_score("log_loss"), -1, _CLASS, "log loss"),
    "roc_auc": Score(_roc_auc, 1, ("anomaly",), "ROC AUC"),
}
KINDS: Mapping[TaskKind, str] = {
    "forecast": "mae", "regression": "mae", "classification": "accuracy", "anomaly": "roc_auc",
}  # fmt: skip
"""The usual score of each kind of task; there is none of clusters."""


def score(name: str, every: Sequence[Labels]) -> float:
    """The mean over the lanes, NaN where one has no label that tells."""
    return float(np.mean([SCORES[name].of(labels) for labels in every])) if every else np.nan


class Collected:
    """Outcomes of some lanes, from the outputs of a pipeline."""

    def __init__(self, task: str, lanes: Sequence[Lane], classes: Sequence[Classes | None]) -> None:
        self._lanes = {k: lane for k, lane in enumerate(lanes) if lane.task == task}
        self._classes = classes
        self._codes: list[Ints] = []
        self._numbers: list[Floats] = []
        self._parts: list[Floats] = []
        self._devices: dict[str, int] = {}
        self._names: list[str] = []

    def add(self, output: Output) -> None:
        """Take the outcomes of an output."""
        records = output.predictions
        kept = ~records.made & np.isfinite(records.numbers[:, LABEL])
        kept &= np.isin(records.codes[:, LANE], list(self._lanes))
        if not kept.any():
            return
        codes = records.codes[kept]
        codes[:, ROW] = [self._number(output.device(row)) for row in codes[:, ROW].tolist()]
        self._codes.append(codes)
        self._numbers.append(records.numbers[kept])
        self._parts.append(records.parts[kept] if len(records.parts) else np.zeros((len(codes), 0)))

    def _number(self, device: str) -> int:
        number = self._devices.setdefault(device, len(self._devices))
        if number == len(self._names):
            self._names.append(device)
        return number

    def labels(self) -> list[Labels]:
        """Of each lane, so far."""
        if not self._codes:
            return []
        codes = np.concatenate(self._codes)
        numbers, parts = np.concatenate(self._numbers), np.concatenate(self._parts)
        found = []
        for k, lane in self._lanes.items():
            own = codes[:, LANE] == k
            classes = self._classes[k] if self._classes else None
            columns = (codes[own], numbers[own], parts[own, : lane.parts])
            found.append(Labels(lane, classes, self._names, *columns))
        return found
