"""How much better than its naive baseline a task is: the score to look at first."""

from collections.abc import Mapping
from typing import Any

__all__ = ["skill"]


def skill(scores: Mapping[str, Any]) -> float | None:
    """The share of a baseline's error that is avoided: 1 - mae / persistence_mae, of classes
    1 - error / error of the better of majority and last class. None where either is unknown or the
    baseline is never wrong."""
    mae, persistence = scores.get("mae"), scores.get("persistence_mae")
    if scores.get("accuracy") is not None:
        mae = 1.0 - scores["accuracy"]
        baselines = (scores.get("majority_accuracy"), scores.get("persistence_accuracy"))
        persistence = 1.0 - max(one for one in baselines if one is not None)
    return 1.0 - mae / persistence if mae is not None and persistence else None
