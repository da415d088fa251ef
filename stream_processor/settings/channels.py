"""[channels.NAME]: what a channel is, and how its values are cleaned."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from stream_processor.arrange.stage import ROOMIEST
from stream_processor.settings.fields import REQUIRED, Options, PluginUse
from stream_processor.settings.kinds import AtLeastOne, Duration, Ever, Limits
from streamgauge.schema import Kind, Outside
from streamgauge.tokens import MOST_WORDS

__all__ = ["ChannelSettings", "InterpolateSettings"]

CLEANERS = "stream_processor.clean"


def _ascending(value: tuple[int, int]) -> tuple[int, int]:
    least, most = value
    if not least <= most <= 5:
        raise ValueError(f"[{least}, {most}] is no range; write for example [1, 2], at most 5")
    return value


@dataclass(frozen=True, slots=True)
class InterpolateSettings:
    """channels.NAME.interpolate; a plain duration means `up_to`."""

    __shorthand__: ClassVar[str] = "up_to"

    up_to: Duration = field(default=0, metadata=REQUIRED)
    """The longest time between two values of the channel through which those that are missing
    between them are interpolated: a reading that lacks one waits for as long."""
    readings: Annotated[int, Field(ge=1, le=ROOMIEST)] = 32
    """Readings of one device that wait at most, the largest of all channels; beyond it the oldest
    goes on without."""


@dataclass(frozen=True, slots=True)
class ChannelSettings:
    """[channels.NAME]."""

    unit: str = ""
    """What it is in here; units that come with values are converted."""
    kind: Kind = Kind.NUMBER
    range: Limits | None = None
    """What a working sensor can give."""
    outside: Outside = Outside.MISSING
    """What happens beyond it: the value is left out, or the whole reading is refused."""
    path: str = ""
    """Where it stands in a message, such as "data.temp"; its name where nothing is said."""
    values: tuple[str, ...] = ()
    """The words of a category."""
    similarity: Annotated[float, Field(ge=0, le=100)] = 85.0
    """How like one of them, percent, a misspelt word must be to be taken for it; 100 = none is."""
    decimal: Literal[".", ","] = "."
    """What stands before the decimals of numbers that are written as text."""
    words: Annotated[int, Field(ge=0, le=MOST_WORDS)] = 0
    """Of a text, how many words are kept for features such as `tfidf`; further ones are not."""
    ngrams: Annotated[tuple[AtLeastOne, AtLeastOne], AfterValidator(_ascending)] = (1, 1)
    """From how many words to how many that follow each other count as one."""
    stop_words: tuple[str, ...] = ()
    """Words that are left out."""
    silent_after: Ever = None
    """How long the channel may be absent before that is an event."""
    interpolate: InterpolateSettings | None = None
    """Missing values between two that came; done first. None: a reading waits for no value."""
    rate: Options | None = None
    """Of change; cleaning is done in this order."""
    spike: Options | None = None
    """Of one reading."""
    stuck: Options | None = None
    """Of a value that does not move."""
    outlier: PluginUse | None = None
    """By a file of `stream_processor/clean/outlier`."""
    missing: PluginUse | None = None
    """What stands for a missing value, by a file of `stream_processor/clean/missing`."""
    transform: Options | None = None
    """Logarithm and the like."""

    def cleaners(self) -> Iterator[tuple[str, str, PluginUse]]:
        """Key, folder of plug-ins and use of each policy that is set, in the order of the work."""
        for name in ("rate", "spike", "stuck", "outlier", "missing", "transform"):
            value = getattr(self, name)
            if isinstance(value, Options):
                yield name, CLEANERS, PluginUse(name, value.options)
            elif value is not None:
                yield name, f"{CLEANERS}.{name}", value
