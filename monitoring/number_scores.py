"""How well numbers are told: running means of one lane, and the scores made of them."""

import math

import numpy as np

from monitoring.answers import COLUMNS
from streamgauge.arrays import Floats
from streamgauge.kernels import kernel
from streamgauge.output import SCORE_COLUMNS

__all__ = ["FIELDS", "SCORED", "add", "combined", "summary"]

FIELDS = (
    "labels",
    "mae",
    "mse",
    "bias",
    "label_mean",
    "label_m2",
    "base_labels",
    "base_mae",
    "base_mse",
    "mape",
    "smape",
    "decayed_weight",
    "decayed_mae",
    "decayed_mse",
    "decayed_bias",
    "learned",
    "expired",
    "overflowed",
    "not_finite",
    "predicted",
    "sequence",
    "made",
    "due",
    "value",
    "base",
    "status",
    "label",
    "residual",
    "version",
)
"""Fields of a device's score row, one value per lane: cumulative, then the newest prediction."""
SCORED = FIELDS[: FIELDS.index("learned")]
"""Those that the rolling window is kept in step with."""

(
    LABELS,
    MAE,
    MSE,
    BIAS,
    LABEL_MEAN,
    LABEL_M2,
    BASE_LABELS,
    BASE_MAE,
    BASE_MSE,
    MAPE,
    SMAPE,
    DECAYED_WEIGHT,
    DECAYED_MAE,
    DECAYED_MSE,
    DECAYED_BIAS,
    LEARNED,
    EXPIRED,
    OVERFLOWED,
    NOT_FINITE,
    PREDICTED,
    NOW_SEQUENCE,
    NOW_MADE,
    NOW_DUE,
    NOW_VALUE,
    NOW_BASE,
    NOW_STATUS,
    NOW_LABEL,
    NOW_RESIDUAL,
    NOW_VERSION,
) = range(len(FIELDS))

WEIGHED = {
    LABELS: (MAE, MSE, BIAS, LABEL_MEAN, MAPE, SMAPE),
    BASE_LABELS: (BASE_MAE, BASE_MSE),
    DECAYED_WEIGHT: (DECAYED_MAE, DECAYED_MSE, DECAYED_BIAS),
}
"""Means, by what they weigh when devices are put together."""


@kernel
def add(
    cell: Floats, lane: int, lanes: int, label: float, residual: float, base: float, keep: float
) -> None:
    """Add one label to the scores of one lane, in event order: running means, and means in which a
    label weighs `keep` times as much as the next one."""
    cell[LABELS * lanes + lane] += 1.0
    n = cell[LABELS * lanes + lane]
    cell[MAE * lanes + lane] += (abs(residual) - cell[MAE * lanes + lane]) / n
    cell[MSE * lanes + lane] += (residual * residual - cell[MSE * lanes + lane]) / n
    cell[BIAS * lanes + lane] += (residual - cell[BIAS * lanes + lane]) / n
    before = cell[LABEL_MEAN * lanes + lane]
    cell[LABEL_MEAN * lanes + lane] += (label - before) / n
    cell[LABEL_M2 * lanes + lane] += (label - before) * (label - cell[LABEL_MEAN * lanes + lane])
    size = abs(label)
    share = abs(residual) / size if size > 0.0 else 0.0
    cell[MAPE * lanes + lane] += (share - cell[MAPE * lanes + lane]) / n
    size += abs(label - residual)
    share = 2.0 * abs(residual) / size if size > 0.0 else 0.0
    cell[SMAPE * lanes + lane] += (share - cell[SMAPE * lanes + lane]) / n
    cell[DECAYED_WEIGHT * lanes + lane] = 1.0 + keep * cell[DECAYED_WEIGHT * lanes + lane]
    part = 1.0 / cell[DECAYED_WEIGHT * lanes + lane]
    cell[DECAYED_MAE * lanes + lane] += (abs(residual) - cell[DECAYED_MAE * lanes + lane]) * part
    square = residual * residual
    cell[DECAYED_MSE * lanes + lane] += (square - cell[DECAYED_MSE * lanes + lane]) * part
    cell[DECAYED_BIAS * lanes + lane] += (residual - cell[DECAYED_BIAS * lanes + lane]) * part
    if base == base:
        cell[BASE_LABELS * lanes + lane] += 1.0
        b = cell[BASE_LABELS * lanes + lane]
        miss = label - base
        cell[BASE_MAE * lanes + lane] += (abs(miss) - cell[BASE_MAE * lanes + lane]) / b
        cell[BASE_MSE * lanes + lane] += (miss * miss - cell[BASE_MSE * lanes + lane]) / b


def combined(cells: Floats) -> Floats:
    """float64[len(FIELDS)]: several devices as one, of `cells float64[len(FIELDS), n]`.

    Means weigh each device by its labels, decayed ones by the weight of its labels; the spread of
    labels is that of all of them together (Chan, Golub and LeVeque 1979).
    """
    found = np.zeros(len(FIELDS))
    for by, means in WEIGHED.items():
        found[by] = cells[by].sum()
        if found[by] > 0.0:
            found[list(means)] = cells[list(means)] @ cells[by] / found[by]
    for count in (EXPIRED, OVERFLOWED):
        found[count] = cells[count].sum()
    apart = cells[LABEL_MEAN] - found[LABEL_MEAN]
    found[LABEL_M2] = cells[LABEL_M2].sum() + (cells[LABELS] * apart * apart).sum()
    return found


def summary(cell: Floats, recent: Floats, intervals: tuple[float, float]) -> Floats:
    """Scores, in the order of `SCORE_COLUMNS`, from one lane's sums, its recent labels, and what
    `Intervals.numbers` says.

    R² is 1 - SSE / SST, SST around the mean of the labels seen; NaN below two labels or when the
    labels do not vary.
    """
    n = cell[LABELS]
    nan = math.nan
    spread = cell[LABEL_M2]
    rolling = (nan, nan, nan, nan)
    if len(recent):
        residual, label = recent[:, 0], recent[:, 1]
        squares = float(np.sum(residual * residual))
        around = float(np.sum((label - label.mean()) ** 2))
        rolling = (
            float(np.mean(np.abs(residual))),
            math.sqrt(squares / len(recent)),
            float(np.mean(residual)),
            1.0 - squares / around if len(recent) > 1 and around > 0.0 else nan,
        )
    numbers = (
        n,
        cell[MAE] if n else nan,
        math.sqrt(cell[MSE]) if n else nan,
        cell[BIAS] if n else nan,
        1.0 - n * cell[MSE] / spread if n > 1 and spread > 0.0 else nan,
        cell[BASE_MAE] if cell[BASE_LABELS] else nan,
        math.sqrt(cell[BASE_MSE]) if cell[BASE_LABELS] else nan,
        *rolling,
        100.0 * cell[MAPE] if n else nan,
        100.0 * cell[SMAPE] if n else nan,
        cell[DECAYED_MAE] if n else nan,
        math.sqrt(cell[DECAYED_MSE]) if n else nan,
        cell[DECAYED_BIAS] if n else nan,
        cell[EXPIRED],
        cell[OVERFLOWED],
        *intervals,
        *(nan,) * len(COLUMNS),
    )
    assert len(numbers) == len(SCORE_COLUMNS)
    return np.array(numbers, np.float64)
