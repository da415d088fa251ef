"""A transformer that limits every feature, so that one wild value cannot throw a model off."""

from typing import Any

from river import base

__all__ = ["Clip"]


class Clip(base.Transformer):  # type: ignore[misc]  # River's types are not checked
    """Limits each feature to [-limit, limit]; behind a scaler the limit is in standard deviations.

    Stateless. NaN stays NaN.
    """

    def __init__(self, limit: float = 5.0) -> None:
        if not limit > 0:
            raise ValueError(f"limit is {limit!r}; it must be above 0")
        self.limit = limit

    def transform_one(self, x: dict[Any, Any]) -> dict[Any, Any]:
        high = self.limit
        low = -high
        return {name: high if v > high else low if v < low else v for name, v in x.items()}
