"""Figures as people read them."""

import math

import numpy as np

from serving.starter.write import about

__all__ = ["number", "period", "share", "when"]


def number(value: float) -> str:
    """To four digits; a dash where there is none."""
    if not math.isfinite(value):
        return "–"
    return f"{value:,.0f}" if 1e4 <= abs(value) < 1e7 else f"{value:.4g}"


def share(value: float) -> str:
    """As a percentage: small ones are told from none."""
    if not math.isfinite(value):
        return "–"
    if 0.0 < value < 0.0001:
        return "<0.01 %"
    return f"{100 * value:.2f} %" if 0.0 < value < 0.1 else f"{100 * value:.0f} %"


def period(microseconds: float) -> str:
    """A duration; a dash where there is none."""
    return about(round(microseconds)) if microseconds and math.isfinite(microseconds) else "–"


def when(microseconds: int) -> str:
    """A time in UTC, to the minute."""
    return str(np.datetime64(microseconds, "us").astype("datetime64[m]")).replace("T", " ")
