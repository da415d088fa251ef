"""How an instant is written for people and programs: ISO 8601 UTC."""

from datetime import UTC, datetime, timedelta

__all__ = ["iso", "written"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def iso(microseconds: int) -> str:
    """A time in microseconds UTC as ISO 8601: "2026-03-01T12:00:00.000000Z"."""
    return written(_EPOCH + timedelta(microseconds=microseconds))


def written(moment: datetime) -> str:
    """The same for a moment in UTC."""
    return moment.isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"
