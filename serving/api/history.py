"""What the API asks of the store that keeps past results."""

from typing import Any, Protocol

__all__ = ["History", "NoHistory"]


class History(Protocol):
    """Past results, newest first. Times are microseconds UTC. Safe to call from any thread."""

    def predictions(
        self, device: str, task: str, horizon: str | None, limit: int
    ) -> list[dict[str, Any]]:
        """Keys: id, made_at, target_time, prediction, label, residual, status, last_value,
        model_version, horizon; of a classification predicted_class, label_class and probabilities,
        of an anomaly detector score, of a clustering distance. All horizons of the task where
        `horizon` is None."""
        ...

    def drift(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        """Keys: time, device ("" = the fleet), task, horizon, kind, before, after."""
        ...

    def events(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        """Silences, returns, evictions, new clusters and recovered values. Keys: time, device,
        channel ("" = the device as a whole), kind, seconds; of a recovered value also value, of a
        new cluster also task, horizon, before, after."""
        ...

    def score_history(
        self, task: str, horizon: str, since_us: int, limit: int
    ) -> list[dict[str, Any]]:
        """Overall scores over time. Keys: time and SCORE_COLUMNS."""
        ...


class NoHistory:
    """A service that keeps no past results: every question is answered with none."""

    def predictions(
        self, device: str, task: str, horizon: str | None, limit: int
    ) -> list[dict[str, Any]]:
        return []

    def drift(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        return []

    def events(self, limit: int, device: str | None) -> list[dict[str, Any]]:
        return []

    def score_history(
        self, task: str, horizon: str, since_us: int, limit: int
    ) -> list[dict[str, Any]]:
        return []
