"""From the cleaning policies of [channels.NAME] to operators."""

from collections.abc import Iterator

from stream_processor.operator import Operator
from stream_processor.settings.model import Settings
from streamgauge.plugins import load
from streamgauge.schema import Schema

__all__ = ["build_cleaners"]


def build_cleaners(
    settings: Settings, schema: Schema, capacity: int
) -> Iterator[tuple[str, Operator]]:
    """Name ("temperature.outlier") and operator of each policy, channel by channel in the order of
    the work. ValueError where a plug-in does not take its options."""
    for column, (channel, policies) in enumerate(settings.channels.items()):
        for key, package, use in policies.cleaners():
            yield (
                f"{channel}.{key}",
                load(package, use.use).build(schema, capacity, column, **use.options),
            )
