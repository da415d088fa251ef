"""Which column of a batch a feature reads."""

from streamgauge.schema import Schema

__all__ = ["column_of"]


def column_of(schema: Schema, channel: str, feature: str) -> int:
    """Column of the channel; ValueError that names the feature and the channels there are."""
    column = schema.index.get(channel)
    if column is None:
        known = ", ".join(schema.names)
        raise ValueError(
            f"{feature} reads channel {channel!r}, which is not declared; there are: {known}"
        )
    return column
