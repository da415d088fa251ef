"""[tasks.NAME]: what is predicted, from what, by which model, and where its labels come from."""

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field

from stream_processor.settings.fields import REQUIRED, REST, Names
from stream_processor.settings.kinds import (
    Alarms,
    AtLeastOne,
    Duration,
    Horizon,
    LabelPlace,
    Match,
    Scope,
    Span,
    Steps,
)
from streamgauge.classes import Class
from streamgauge.durations import WEEK
from streamgauge.schedule import Choose, TaskKind
from streamgauge.tags import tag_of

__all__ = [
    "DEFAULT",
    "LEARN_AFTER",
    "LabelFields",
    "LabelSettings",
    "SelectSettings",
    "TaskSettings",
    "continues",
]

ALARM_EVERY = WEEK / 2
LEARN_AFTER = 5 * 60 * 10**6
DEFAULT = "default"
"""The name, among candidates, of what a task has that names no model."""
LEAST_TOLERANCE = 10**6
"""Clocks of devices are seldom truer than a second."""


@dataclass(frozen=True, slots=True)
class LabelFields:
    """tasks.NAME.label.fields: where a label message has what; dotted paths."""

    id: str = "id"
    device: str = "device"
    """Or "topic:N", a level of the topic."""
    time: str = "time"
    label: str = "label"
    task: str = "task"
    """Optional: a message that names a task is for that one only."""


@dataclass(frozen=True, slots=True)
class LabelSettings:
    """tasks.NAME.label: labels that come by themselves, not as a channel of a reading."""

    source: LabelPlace = field(default="", metadata={"key": "from", "required": True})
    match: Match = field(default=None, metadata={"key": "match"})
    expire_after: Duration = WEEK
    """How long a prediction waits for its label, by our clock."""
    teach_until: Duration | None = None
    """Age up to which a label teaches; older ones are only scored. None: `expire_after`."""
    delay: Horizon | None = None
    """In a replay: when a column's label becomes known. None: right after its reading."""
    fields: LabelFields = LabelFields()

    @property
    def by_id(self) -> bool:
        """Whether a label names the id of its prediction; a column's is for its own row."""
        return self.match is None and not self.column

    @property
    def topic(self) -> str:
        """The filter of topics that brings them; "" for a column."""
        kind, _, rest = self.source.partition(":")
        return HTTP_LABELS if kind == "http" else rest if kind == "topic" else ""

    @property
    def column(self) -> str:
        """The column of a recording that holds them; "" where a topic does."""
        kind, _, rest = self.source.partition(":")
        return rest if kind == "column" else ""


HTTP_LABELS = "http/labels"
"""The topic under which labels sent over HTTP arrive."""


Coverage = Annotated[float, Field(ge=0.0, lt=1.0)]


@dataclass(frozen=True, slots=True)
class SelectSettings:
    """tasks.NAME.select: which features the models see, by a file of `models/selections`."""

    by: str = field(default="", metadata=REQUIRED)
    options: dict[str, Any] = field(default_factory=dict, repr=False, metadata=REST)


@dataclass(frozen=True, slots=True)
class TaskSettings:
    """[tasks.NAME]."""

    kind: TaskKind = field(default="forecast", metadata=REQUIRED)
    """What is asked."""
    target: str = ""
    """The channel that is predicted; none where `label` says that labels come by themselves. Of an
    anomaly detector the channel that it watches, where it watches a single one."""
    classes: tuple[Class, ...] = ()
    """The classes of a classification. None: the words of the target, false and true of a boolean,
    or whatever numbers come, up to `classes_max` different ones."""
    classes_max: Annotated[int, Field(ge=2, le=100)] = 20
    model: Steps = ()
    """None: what is known to work: `models.mixture`, `models.class_mixture` or `models.novelty`."""
    candidates: tuple[Steps, ...] = ()
    """Models that learn side by side, in place of `model`; DEFAULT is what a task without one
    has."""
    choose: Choose = "best"
    """Which of the candidates answers: the one that erred least of late, their mean weighted by how
    they did, or the best while the worse half leaves after every `halve_after` labels."""
    halve_after: AtLeastOne = 1_000
    """Labels of a model."""
    horizons: tuple[Horizon, ...] = ()
    """How far ahead a forecast looks; each has models of its own."""
    step: Duration | None = None
    """Of a forecast by a time series model: how far apart the values are. None: as they come."""
    tolerance: Duration | None = None
    """How long after the horizon a reading still is the label. None: a tenth of the horizon, a
    second at least."""
    predict: Literal["change", "level"] | None = None
    """What the model learns: how far the target moves from its last value, which is usual of
    forecasts, or the value itself."""
    inputs: Names = ("*",)
    """Patterns of feature names, `*` and `?` as in file names; "!" in front excludes."""
    start: Literal["fleet", "empty"] | None = None
    """How a new device begins: with what all devices have taught, moving to its own model as that
    becomes better, or empty. None: from the fleet where no model is named, else empty, as River's
    models do."""
    interval: Coverage = 0.9
    """Share of labels that are to be within the interval around an answer; 0 = no interval. Of
    forecasts and regressions."""
    alarms: Alarms | None = None
    """Of anomalies: "2 per device per week" where nothing is said."""
    learn_after: Duration | None = None
    """Of an anomaly task that names no model: for how long something must be strange before it is
    learned. None: LEARN_AFTER."""
    calibrate: bool | None = None
    """Of classifications: whether probabilities are moved to how labels fall. None: where no model
    is named, so that named ones say what River's say."""
    select: SelectSettings | None = None
    scope: Scope = "device"
    """Who shares a model: "device", "fleet", or "tag:NAME", those with the same value of a tag."""
    label: LabelSettings | None = None
    before_ready: Literal["last", "fleet", "none"] | None = None
    """What is served until a model has learned `ready_after` labels: the last value, the answer of
    a model that all devices teach (until that has learned as many: the last value), or nothing.
    None: "fleet" where a named model starts from the fleet, else "last"."""
    ready_after: Annotated[int, Field(ge=0)] = 10
    """Labels that a model must have learned before its own answers are served."""
    pending: AtLeastOne = 1024
    """Predictions of one device that may wait for their label, per task and horizon."""

    @property
    def model_words(self) -> str:
        """The steps of the model by name."""
        if self.candidates:
            return f"{self.choose} of {', '.join(self.candidate_words)}"
        return _words(self.model) or ("novelty" if self.kind == "anomaly" else "mixture")

    @property
    def candidate_words(self) -> list[str]:
        """A name for each candidate, with its options; a number behind what is there twice."""
        words = [_words(steps, options=True) for steps in self.candidates]
        return [
            f"{name} ({words[: k + 1].count(name)})" if words.count(name) > 1 else name
            for k, name in enumerate(words)
        ]

    @property
    def unnamed(self) -> bool:
        """True where a model is what is known to work, or one of the candidates is."""
        return not self.model and (not self.candidates or (DEFAULT,) in self.candidates)

    @property
    def tag(self) -> str:
        """The tag whose value those have in common who share a model; "" where it is none."""
        return tag_of(self.scope)

    @property
    def change(self) -> bool:
        """True when the model learns the target's change rather than its level."""
        alone = self.series and not self.candidates
        if self.kind not in ("forecast", "regression") or alone:
            return False
        by_default = "change" if self.kind == "forecast" and self.label is None else "level"
        return (self.predict or by_default) == "change"

    @property
    def series(self) -> bool:
        """True when a model of it continues the series of the target by itself."""
        return self.kind == "forecast" and any(map(continues, self.candidates or (self.model,)))

    @property
    def meanwhile(self) -> str:
        """What is served until a model is ready."""
        from_fleet = bool(self.model) and self.start == "fleet"
        return self.before_ready or ("fleet" if from_fleet else "last")

    @property
    def beside_fleet(self) -> bool:
        """True when a model of all devices runs beside those of each: the mixtures of a task that
        names none know by themselves what all have taught."""
        if self.model:
            return self.start == "fleet" or self.before_ready == "fleet"
        return self.kind == "anomaly" and self.before_ready == "fleet"

    @property
    def by_itself(self) -> bool:
        """True when the model learns each reading when it answers it, whatever labels say."""
        return self.kind in ("anomaly", "clustering")

    @property
    def alarm_every(self) -> float:
        """Microseconds in which a device may have one alarm; 0: there are none."""
        if self.kind != "anomaly":
            return 0.0
        return ALARM_EVERY if self.alarms is None else self.alarms

    @property
    def calibrated(self) -> bool:
        """True when probabilities of classes are moved to how labels fall."""
        wanted = self.unnamed if self.calibrate is None else self.calibrate
        return wanted and self.kind == "classification"

    def tolerance_of(self, horizon: Span) -> int:
        """Microseconds after the horizon in which a reading still is the label.

        `tolerance` where given, else a tenth of the horizon and at least a second; 0 where the
        horizon counts readings.
        """
        if horizon.readings:
            return 0
        return self.tolerance or max(LEAST_TOLERANCE, horizon.duration // 10)


def continues(steps: Steps) -> bool:
    """Whether these steps are a time series model."""
    if steps in ((), (DEFAULT,)):
        return False
    from models.series import is_series
    from models.spec import build

    try:
        return is_series(build(steps, "forecast")())
    except Exception:  # noqa: BLE001 - what is wrong with a model is told by `check`
        return False


def _words(steps: Steps, *, options: bool = False) -> str:
    """Steps of a model by name, with their options where asked for."""
    return " | ".join(
        _step(step, options) for step in ((steps,) if isinstance(steps, str) else steps)
    )


def _step(step: str | dict[str, Any], options: bool) -> str:
    if isinstance(step, str):
        return step
    given = [f"{key}={value}" for key, value in step.items() if key != "use"] if options else []
    return " ".join([str(step["use"]), *given])
