"""What is worth saying about a recording."""

from collections.abc import Iterator

from serving.profile.figures import ChannelFigures, Profile
from serving.profile.gather import STUCK
from serving.report.wording import period, share

__all__ = ["findings"]

MUCH_MISSING = 0.05
MANY_OUTLIERS = 0.01
STRONG = 0.1
MOVES = 0.5
NAMED = 8
"""Channels that one sentence names."""


def findings(profile: Profile) -> Iterator[str]:
    """Sentences on what is worth a look, the worst first."""
    if profile.unreadable:
        yield f"{profile.unreadable:,} rows have no device or no time, and are left out."
    if profile.left_out:
        yield (
            f"{profile.left_out:,} readings are of devices beyond the first "
            f"{len(profile.devices):,}, and are left out."
        )
    for reason, count in profile.refused.items():
        yield f"{count:,} readings are refused: {reason.replace('_', ' ')}."
    silent = [d for d in profile.devices if d.pace.gaps]
    if silent:
        worst = max(silent, key=lambda d: d.pace.longest)
        yield (
            f"{len(silent):,} of {len(profile.devices):,} devices have gaps of over three "
            f"intervals, the longest of {period(worst.pace.longest)} on {worst.name}."
        )
    yield from _of_channels(profile.channels)


def _of_channels(channels: list[ChannelFigures]) -> Iterator[str]:
    tails = (
        f"are far from their recent median in over {share(MANY_OUTLIERS)} of the readings: heavy "
        "tails or steep slopes, so mind outlier policies"
    )
    resting = f"stay the same for {STUCK} readings or more at times, though they usually move"
    missing = [c for c in channels if c.values and c.missing > MUCH_MISSING]
    for what, these in (
        ("have no value at all", [c.name for c in channels if not c.values]),
        ("never change", [c.name for c in channels if c.values and c.constant]),
        *((f"lack {share(c.missing)} of their values", [c.name]) for c in missing),
        (resting, [c.name for c in channels if c.stuck and c.repeats < MOVES]),
        (tails, [c.name for c in channels if c.outliers > MANY_OUTLIERS]),
        ("follow the hour of the day", [c.name for c in channels if c.hours.strength > STRONG]),
        ("follow the day of the week", [c.name for c in channels if c.weekdays.strength > STRONG]),
    ):
        if these:
            more = f" and {len(these) - NAMED} more" if len(these) > NAMED else ""
            yield f"{', '.join(these[:NAMED])}{more} {_plural(what, len(these))}."


def _plural(what: str, count: int) -> str:
    """The verb at the beginning, for one channel where it is one."""
    verb, _, rest = what.partition(" ")
    single = {"have": "has", "are": "is"}.get(verb, f"{verb}s")
    if count > 1:
        return what
    if verb == "never":
        return f"{verb} changes"
    return f"{single} {rest}".replace("their", "its").replace("they usually move", "it moves")
