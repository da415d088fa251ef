"""How well numbers are told: running means of one lane, and the scores made of them."""

import math
from collections.abc import Mapping

import numpy as np

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
    "decayed_mape",
    "decayed_smape",
    "decayed_label_mean",
    "decayed_label_m2",
    "decayed_base_weight",
    "decayed_base_mae",
    "decayed_base_mse",
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
    DECAYED_MAPE,
    DECAYED_SMAPE,
    DECAYED_LABEL_MEAN,
    DECAYED_LABEL_M2,
    DECAYED_BASE_WEIGHT,
    DECAYED_BASE_MAE,
    DECAYED_BASE_MSE,
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
    DECAYED_WEIGHT: (
        DECAYED_MAE,
        DECAYED_MSE,
        DECAYED_BIAS,
        DECAYED_LABEL_MEAN,
        DECAYED_MAPE,
        DECAYED_SMAPE,
    ),
    DECAYED_BASE_WEIGHT: (DECAYED_BASE_MAE, DECAYED_BASE_MSE),
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
    of_both = 2.0 * abs(residual) / size if size > 0.0 else 0.0
    cell[SMAPE * lanes + lane] += (of_both - cell[SMAPE * lanes + lane]) / n
    cell[DECAYED_WEIGHT * lanes + lane] = 1.0 + keep * cell[DECAYED_WEIGHT * lanes + lane]
    part = 1.0 / cell[DECAYED_WEIGHT * lanes + lane]
    cell[DECAYED_MAPE * lanes + lane] += (share - cell[DECAYED_MAPE * lanes + lane]) * part
    cell[DECAYED_SMAPE * lanes + lane] += (of_both - cell[DECAYED_SMAPE * lanes + lane]) * part
    before = cell[DECAYED_LABEL_MEAN * lanes + lane]
    after = before + (label - before) * part
    cell[DECAYED_LABEL_MEAN * lanes + lane] = after
    spread = keep * cell[DECAYED_LABEL_M2 * lanes + lane] + (label - before) * (label - after)
    cell[DECAYED_LABEL_M2 * lanes + lane] = spread
    cell[DECAYED_BASE_WEIGHT * lanes + lane] *= keep
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
        cell[DECAYED_BASE_WEIGHT * lanes + lane] += 1.0
        part = 1.0 / cell[DECAYED_BASE_WEIGHT * lanes + lane]
        off = abs(miss) - cell[DECAYED_BASE_MAE * lanes + lane]
        cell[DECAYED_BASE_MAE * lanes + lane] += off * part
        off = miss * miss - cell[DECAYED_BASE_MSE * lanes + lane]
        cell[DECAYED_BASE_MSE * lanes + lane] += off * part


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
    for by, mean, spread in (
        (LABELS, LABEL_MEAN, LABEL_M2),
        (DECAYED_WEIGHT, DECAYED_LABEL_MEAN, DECAYED_LABEL_M2),
    ):
        apart = cells[mean] - found[mean]
        found[spread] = cells[spread].sum() + (cells[by] * apart * apart).sum()
    return found


def summary(cell: Floats, recent: Floats, intervals: Mapping[str, float]) -> Floats:
    """Scores, in the order of `SCORE_COLUMNS`, from one lane's sums, its recent labels, and what
    `Intervals.numbers` says.

    R² is 1 - SSE / SST, SST around the mean of the labels seen; NaN below two labels or when the
    labels do not vary.
    """
    nan = math.nan
    n, bases = cell[LABELS], cell[BASE_LABELS]
    found = dict.fromkeys(SCORE_COLUMNS, nan)
    found |= {"labels": n, "expired": cell[EXPIRED], "overflowed": cell[OVERFLOWED], **intervals}
    if n:
        found |= {
            "mae": cell[MAE], "rmse": math.sqrt(cell[MSE]), "bias": cell[BIAS],
            "r2": _r2(n, n * cell[MSE], cell[LABEL_M2]),
            "mape": 100.0 * cell[MAPE], "smape": 100.0 * cell[SMAPE],
            "decayed_mae": cell[DECAYED_MAE], "decayed_rmse": math.sqrt(cell[DECAYED_MSE]),
            "decayed_bias": cell[DECAYED_BIAS],
            "decayed_r2": _r2(n, cell[DECAYED_WEIGHT] * cell[DECAYED_MSE], cell[DECAYED_LABEL_M2]),
            "decayed_mape": 100.0 * cell[DECAYED_MAPE],
            "decayed_smape": 100.0 * cell[DECAYED_SMAPE],
        }  # fmt: skip
    if bases:
        found |= {
            "persistence_mae": cell[BASE_MAE], "persistence_rmse": math.sqrt(cell[BASE_MSE]),
            "decayed_persistence_mae": cell[DECAYED_BASE_MAE],
            "decayed_persistence_rmse": math.sqrt(cell[DECAYED_BASE_MSE]),
        }  # fmt: skip
    if len(recent):
        found |= _rolling(recent[:, 0], recent[:, 1])
    return np.array([found[name] for name in SCORE_COLUMNS], np.float64)


def _r2(n: float, errors: float, spread: float) -> float:
    """Of sums of squares."""
    return 1.0 - errors / spread if n > 1 and spread > 0.0 else math.nan


def _rolling(residual: Floats, label: Floats) -> dict[str, float]:
    squares = float(np.sum(residual * residual))
    around = float(np.sum((label - label.mean()) ** 2))
    size, both = np.abs(label), np.abs(label) + np.abs(label - residual)
    with np.errstate(all="ignore"):
        shares = (np.nan_to_num(np.abs(residual) / of, posinf=0.0) for of in (size, both))
        mape, half = (float(np.mean(share)) for share in shares)
    return {
        "rolling_mae": float(np.mean(np.abs(residual))),
        "rolling_rmse": math.sqrt(squares / len(residual)),
        "rolling_bias": float(np.mean(residual)),
        "rolling_r2": _r2(len(residual), squares, around),
        "rolling_mape": 100.0 * mape,
        "rolling_smape": 200.0 * half,
    }
