"""All signals of a stream: what is collected from its batches and schedules for detectors."""

from collections.abc import Mapping
from dataclasses import dataclass

from monitoring.answer_residual import AnswerResidual
from monitoring.errors import Errors
from monitoring.feature_residual import FeatureResidual
from monitoring.presence import Presence
from monitoring.relation import Relation
from monitoring.residual import Residual
from streamgauge.batch import Batch, Features
from streamgauge.calls import Call
from streamgauge.schedule import Schedule
from streamgauge.signal import Kind, Signal
from streamgauge.state import Block

__all__ = ["RESIDUALS", "Signals"]

RESIDUALS = ("residual", "feature_residual", "prediction_residual", "label_residual")
"""Names of the state of signals, all of which knows the time of day."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What collects them; None where nothing watches."""

    errors: Errors
    channels: Residual | None = None
    presence: Presence | None = None
    relation: Relation | None = None
    features: FeatureResidual | None = None
    predictions: AnswerResidual | None = None
    labels: AnswerResidual | None = None

    def by_kind(self) -> dict[Kind, Signal]:
        """Every signal that there is."""
        found = [self.errors.signal]
        if self.channels is not None:
            found += [self.channels.level, self.channels.noise, self.channels.shape]
        if self.presence is not None:
            found += [self.presence.missing, self.presence.flagged]
        found += [
            one.signal
            for one in (self.relation, self.features, self.predictions, self.labels)
            if one is not None
        ]
        return {signal.kind: signal for signal in found}

    def blocks(self) -> dict[str, Mapping[str, Block]]:
        """What is known of their usual course."""
        each = (self.channels, self.features, self.predictions, self.labels)
        return {
            name: one.blocks for name, one in zip(RESIDUALS, each, strict=True) if one is not None
        }

    def of_batch(self, batch: Batch, features: Features) -> list[Call]:
        """What collects from the values of a batch, once they are vetted, and its features."""
        calls = [one.call(batch) for one in (self.channels, self.presence) if one is not None]
        calls += [self.relation.call()] if self.relation else []
        return calls + ([self.features.call(batch, features)] if self.features else [])

    def of_schedule(self, schedule: Schedule, *, errors: bool) -> list[Call]:
        """What collects from the steps of a schedule; errors where something watches them."""
        each = (self.errors if errors else None, self.predictions, self.labels)
        return [one.call(schedule) for one in each if one is not None]
