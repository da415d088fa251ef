"""What the walk gives to sinks: predictions with outcomes, events and scores, as columns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from streamgauge.events import Event
from streamgauge.predictions import Predictions

__all__ = ["SCORE_COLUMNS", "Output", "Scores", "Sink"]

SCORE_COLUMNS = (
    "labels",
    "mae",
    "rmse",
    "bias",
    "r2",
    "persistence_mae",
    "persistence_rmse",
    "rolling_mae",
    "rolling_rmse",
    "rolling_bias",
    "rolling_r2",
    "rolling_mape",
    "rolling_smape",
    "mape",
    "smape",
    "decayed_mae",
    "decayed_rmse",
    "decayed_bias",
    "decayed_r2",
    "decayed_mape",
    "decayed_smape",
    "decayed_persistence_mae",
    "decayed_persistence_rmse",
    "expired",
    "overflowed",
    "interval_coverage",
    "interval_width",
    "decayed_interval_coverage",
    "decayed_interval_width",
    "accuracy",
    "balanced_accuracy",
    "f1_macro",
    "kappa",
    "precision_macro",
    "recall_macro",
    "f1_weighted",
    "mcc",
    "log_loss",
    "brier",
    "majority_accuracy",
    "persistence_accuracy",
    "calibration_error",
    "decayed_accuracy",
    "decayed_balanced_accuracy",
    "decayed_f1_macro",
    "decayed_kappa",
    "decayed_precision_macro",
    "decayed_recall_macro",
    "decayed_f1_weighted",
    "decayed_mcc",
    "decayed_log_loss",
    "decayed_brier",
    "decayed_majority_accuracy",
    "decayed_persistence_accuracy",
    "rolling_accuracy",
    "rolling_balanced_accuracy",
    "rolling_f1_macro",
    "rolling_kappa",
    "rolling_precision_macro",
    "rolling_recall_macro",
    "rolling_f1_weighted",
    "rolling_mcc",
    "rolling_log_loss",
    "rolling_brier",
    "rolling_roc_auc",
    "rolling_pr_auc",
    "silhouette",
    "decayed_silhouette",
)
"""Columns of `Scores.numbers`. NaN where not defined yet. `persistence_*` is the score of the last
value on the very same labels; `rolling_*` covers the last labels (`scores.window`), in
`decayed_*` the weight of a label halves with every `scores.half_life` labels. Errors are of
forecasts and regressions, MAPE and sMAPE in percent, and so are the share of labels within their
interval and its mean width; accuracies, precision, recall, F1, kappa, MCC, Brier score, log loss
(in nats) and calibration error of classifications, beside the accuracies of the class seen most
often and of the last known one; ROC AUC and PR AUC (average precision) of anomaly scores with
labels, and of classes by their probabilities, each class against all others, the mean over classes;
the silhouette of clusterings."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Scores at one moment: `lane int64[n]`, `row int64[n]` (-1 = over all devices),
    `numbers float64[n, len(SCORE_COLUMNS)]`."""

    time: int
    """Log clock, microseconds UTC."""
    lane: NDArray[np.int64]
    row: NDArray[np.int64]
    numbers: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Output:
    """One sealed piece of results. Arrays belong to the receiver: nothing writes them again."""

    predictions: Predictions
    events: Sequence[Event] = ()
    scores: Sequence[Scores] = field(default_factory=tuple)
    position: int = 0
    """Place in the log up to which this output was computed. After a restart the walk repeats what
    lies behind its checkpoint: the same results come again with the same positions."""
    more: bool = False
    """Further pieces of the same position follow: who keeps only this one must take all again."""

    def device(self, row: int) -> str:
        """Id of the device in that row when this output was made; "" for -1, the fleet."""
        return (self.predictions.names[row] or "") if row >= 0 else ""


class Sink(Protocol):
    """Who takes results. The worker calls `write`, which must return at once, whatever happens to
    the sink's target: sinks have their own thread behind a bounded queue."""

    def write(self, output: Output) -> None: ...

    def flush(self, timeout: float) -> bool:
        """Wait until all that was written is durable (or delivered); False when time ran out."""
        ...

    def state(self) -> dict[str, Any]:
        """Counters and condition for /metrics and /readyz: `ok: bool`, `why: str`, numbers."""
        ...

    def close(self) -> None: ...
