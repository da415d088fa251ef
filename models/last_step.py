"""What a pipeline ends with: the model among its steps."""

from collections.abc import Mapping
from typing import Any

__all__ = ["last_step"]


def last_step(estimator: Any) -> Any:
    """The estimator itself, or what a pipeline ends with."""
    steps = getattr(estimator, "steps", None)
    return list(steps.values())[-1] if isinstance(steps, Mapping) else estimator
