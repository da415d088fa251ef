"""What readers of the running pipeline see: plain values, detached from its arrays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from streamgauge.timing import Timing

__all__ = ["Board", "DeviceView", "PredictionView", "ScoreView", "TaskView"]


@dataclass(frozen=True, slots=True)
class DeviceView:
    """A device and its newest reading. Times are microseconds UTC; None = never seen."""

    id: str
    time: int | None
    received: int | None
    readings: int
    """Readings admitted since the device became known."""
    values: Mapping[str, float | None]
    """Last usable value of each channel."""
    clock_skew: float | None = None
    """Seconds that its clock is ahead of ours; None until that is known."""
    clock_wrong: bool = False
    """Whether that is more than `devices.max_skew`."""
    flags: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Values of admitted readings so far, by channel and by what cleaning did to them."""
    watched: Mapping[str, str] = field(default_factory=dict)
    """For each channel that is watched for drift "watched", or "calibrating" until it is known
    what is usual for it."""
    signals: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """By signal that is watched for drift and by what it is of (channel, feature, task): "watched",
    or "calibrating" until the detector has seen enough."""


@dataclass(frozen=True, slots=True)
class PredictionView:
    """The newest prediction of one device for one task and horizon."""

    id: str
    task: str
    horizon: str
    made_at: int
    target_time: int | None
    """Event time that the prediction is for; None when the horizon counts readings."""
    prediction: float | None
    last_value: float | None
    """The target's last value when the prediction was made: the persistence forecast."""
    status: str
    """pending, labelled, expired or warming_up."""
    label: float | None
    residual: float | None
    model_version: int
    """Labels that the device's model had learned."""
    lower: float | None = None
    """Of a forecast or regression: ends of the interval around `prediction`, once there is one."""
    upper: float | None = None
    predicted_class: str | None = None
    """Of a classification: the class that `prediction` is the place of, and that of the label."""
    label_class: str | None = None
    probabilities: Mapping[str, float] | None = None
    """Of a classification, by class; empty where the model gives none."""
    score: float | None = None
    """Of an anomaly detector: the higher, the stranger."""
    threshold: float | None = None
    """Of an anomaly detector with a budget: the score beyond which the next one is an alarm."""
    distance: float | None = None
    """Of a clustering: how far the reading was from the centre of its cluster."""
    own_share: float | None = None
    """Where a model of all devices runs beside each one's: how much of the answers is now the
    device's own model's, 0 to 1."""


@dataclass(frozen=True, slots=True)
class TaskView:
    """A task at one horizon, as configured."""

    task: str
    horizon: str
    kind: str
    target: str
    """The channel; "" where labels come from elsewhere."""
    unit: str
    model: str
    compiled: bool
    why: str
    """What was compiled and what was not, in words."""
    inputs: Sequence[str]
    scope: str = "device"
    """Who shares a model: device, fleet or tag:NAME."""
    models: int = 0
    """How many there are now."""
    labels_from: str = ""
    """Where labels come from that are no channel; "" where they are."""
    classes: Sequence[str] = ()
    """Of a classification: the classes that are known, in the order of their places."""
    labels_refused: int = 0
    """Labels that were none of the classes."""


@dataclass(frozen=True, slots=True)
class ChoiceView:
    """What was decided on one feature."""

    feature: str
    kept: float | None
    """The share of the models that see it: 1 or 0 of one; None while there is no model."""
    score: float | None
    """What the selection is by, of several models the median; None where nothing is known."""
    why: str
    """In words; "" of several models."""


@dataclass(frozen=True, slots=True)
class SelectionView:
    """Which features the models of one task and horizon see: the one of a device or of the fleet,
    or all of them (`device` is then "")."""

    task: str
    horizon: str
    device: str
    scope: str
    by: str
    models: int
    choices: Sequence[ChoiceView]


@dataclass(frozen=True, slots=True)
class ScoreView:
    """Scores of one task and horizon for one device ("" = over all). Keys: SCORE_COLUMNS."""

    task: str
    horizon: str
    device: str
    scores: Mapping[str, float | None]
    labels: Mapping[str, float | None] = field(default_factory=dict)
    """Over all devices, where labels come from elsewhere: `taught` and `scored` met their
    prediction (`scored` too late to teach), `duplicate`, `late` and `unmatched` did not; `coverage`
    is the share of settled predictions that got a label; `lag_p50` and `lag_p95` are seconds."""
    follows: Mapping[str, float] = field(default_factory=dict)
    """Of a mixture: how much it follows each of its experts, together 1; where a model of all
    devices runs beside each one's, how much it follows the `fleet` and its `own`."""
    group: str | None = None
    """The value of a tag whose devices these are the scores of; "" are those without one."""
    of_devices: int = 0
    """Of a group: how many devices it has."""
    per_class: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)
    """Of a classification, by class: `labels`, `precision`, `recall`, `f1`."""
    confusion: Sequence[Sequence[int]] = ()
    """Of a classification over all devices: how often a class (by row) was told as each (by
    column), in the order of `per_class`."""


class Board(Protocol):
    """The in-memory board: current results. Safe to call from any thread."""

    def device_ids(self, after: str = "", limit: int = 100) -> list[str]:
        """Known devices in alphabetical order, those after `after`."""
        ...

    def device(self, device: str) -> DeviceView | None: ...

    def predictions(self, device: str) -> list[PredictionView] | None:
        """Newest prediction per task and horizon; None if the device is unknown."""
        ...

    def tasks(self) -> list[TaskView]: ...

    def scores(self, task: str, device: str = "") -> list[ScoreView]:
        """One per horizon of the task."""
        ...

    def device_scores(self, task: str, limit: int = 100, horizon: str = "") -> list[ScoreView]:
        """Devices with the highest MAE relative to persistence first, at that horizon of the task
        (the first one where none is named)."""
        ...

    def tags(self) -> Sequence[str]:
        """Names of the tags that are known of devices."""
        ...

    def group_scores(self, task: str, tag: str) -> list[ScoreView]:
        """One per horizon of the task and value of the tag."""
        ...

    def selections(self, task: str, device: str = "") -> list[SelectionView]:
        """One per horizon of the task; none where it has no `select`, or the device is unknown."""
        ...

    def timing(self) -> Timing:
        """How long stages took, and how large batches were."""
        ...

    def counts(self) -> dict[str, Any]:
        """Counters of the walk, for /metrics: `readings` by verdict, `flags` by flag, `rejected` by
        reason, `predictions`, `labels`, `expired`, `overflowed`, `devices`, `devices_refused`."""
        ...
