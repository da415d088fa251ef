"""What another configuration means for a state: what is kept, what starts anew, what is dropped."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from streamgauge.delivery import Delivery

__all__ = ["ARRANGED", "Changes", "compare"]

ARRANGED = "devices.reorder, devices.assemble and the channels' interpolate"
"""A part of the configuration that is known by its name only."""
NONE = -1
SHOWN = 4
"""Names of features that stand for their operator in a list."""


@dataclass(slots=True)
class Changes:
    """From the configuration that a state was made for to the one of now.

    Every list of places has, for each part of now, its place in the saved state, -1 where it has
    none: `channels`, `lanes`, `groups` (of devices that share models) and `columns` (of features);
    `operators` are those of the features.
    """

    kept: list[str] = field(default_factory=list)
    anew: list[str] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    channels: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    """The columns of recorded readings: the channels, and the words of texts behind them."""
    operators: list[int] = field(default_factory=list)
    columns: list[int] = field(default_factory=list)
    lanes: list[int] = field(default_factory=list)
    groups: list[int] = field(default_factory=list)
    cleaners: set[str] = field(default_factory=set)
    """Cleaning policies that are kept, by channel and key."""
    lane_names: set[str] = field(default_factory=set)
    """Lanes that are kept."""
    sources: list[int] = field(default_factory=list)
    """The saved source that has become this one: the journal's messages of it are read as now."""
    positions: list[int] = field(default_factory=list)
    """The same, where it reads the same: its position holds."""
    codecs: list[int] = field(default_factory=list)
    """The same, where it decodes the same too: what the codec remembers holds."""
    drift: set[str] = field(default_factory=set)
    """Signals whose detectors are kept."""
    same_scores: bool = True
    same_elsewhere: bool = True
    keeps_pending: bool = True
    other: list[str] = field(default_factory=list)
    """Parts of the configuration that changed and are known by their name only."""
    gone: list[str] = field(default_factory=list)
    """Name of each saved source, in order; empty where it has become one of now."""

    def __bool__(self) -> bool:
        """Whether anything of the state starts anew, is dropped or moved."""
        return bool(self.anew or self.dropped)

    def text(self) -> str:
        """The three lists, as a user reads them."""
        lists = (("kept", self.kept), ("starts anew", self.anew), ("dropped", self.dropped))
        return "\n".join(
            "\n  ".join([f"{title}:", *(entries or ["nothing"])]) for title, entries in lists
        )

    def place(self, saved: Mapping[str, Any]) -> dict[str, Any]:
        """The position in the log, as the sources stand now."""
        positions, remembered = saved.get("sources", []), saved.get("codecs", {})
        return {
            **saved,
            "sources": [None if old == NONE else positions[old] for old in self.positions],
            "codecs": {
                str(k): remembered[str(old)]
                for k, old in enumerate(self.codecs)
                if str(old) in remembered
            },
        }

    def delivery(self, saved: Delivery) -> Delivery:
        """A delivery of the journal, whose source has not gone, as it would come now."""
        if saved.is_tick:
            return saved
        moved = replace(saved, source=self.sources.index(saved.source))
        if saved.readings is not None:
            old = saved.readings.values
            values = np.full((len(old), len(self.values)), np.nan)
            for k, place in enumerate(self.values):
                if place != NONE:
                    values[:, k] = old[:, place]
            moved.readings = replace(saved.readings, values=values)
        return moved


def compare(saved: Mapping[str, Any], now: Mapping[str, Any]) -> Changes:
    """What changed between two definitions (`stream_processor.definition`)."""
    changes = Changes()
    changes.channels = changes_of(changes, "channel {}", saved["channels"], now["channels"])
    changes.values = [*changes.channels, *_words(saved, now)]
    cleaners = changes_of(changes, "cleaning {}", saved["cleaning"], now["cleaning"])
    kept = zip(now["cleaning"], cleaners, strict=True)
    changes.cleaners = {name for (name, _), old in kept if old != NONE}
    changes.operators = changes_of(
        changes, "features {}", *(list(_operators(each["features"])) for each in (saved, now))
    )
    changes.lanes = changes_of(changes, "model {}", saved["lanes"], now["lanes"])
    kept = zip(now["lanes"], changes.lanes, strict=True)
    changes.lane_names = {name for (name, _), old in kept if old != NONE}
    _groups(changes, saved.get("groups", ()), now.get("groups", ()))
    _beside(changes, saved.get("beside", ()), now.get("beside", ()))
    columns = [[name for names, _ in each["features"] for name in names] for each in (saved, now)]
    places = {name: k for k, name in enumerate(columns[0])}
    changes.columns = [places.get(name, NONE) for name in columns[1]]
    _whole(changes, saved, now)
    _sources(changes, saved["sources"], now["sources"])
    return changes


def changes_of(
    changes: Changes, label: str, saved: Sequence[Sequence[str]], now: Sequence[Sequence[str]]
) -> list[int]:
    """The saved place of each name that still means the same; all of them are listed."""
    places = {name: (k, meaning) for k, (name, meaning) in enumerate(saved)}
    found = []
    for name, meaning in now:
        place, before = places.pop(name, (NONE, ""))
        if place != NONE and before == meaning:
            changes.kept.append(label.format(name))
        else:
            changes.anew.append(f"{label.format(name)} ({'new' if place == NONE else 'changed'})")
            place = NONE
        found.append(place)
    changes.dropped += [label.format(name) for name in places]
    return found


def _groups(changes: Changes, saved: Sequence[str], now: Sequence[str]) -> None:
    """Where the models of each group are; a new group is no more of a change than a new device."""
    places = {name: k for k, name in enumerate(saved)}
    changes.groups = [places.get(name, NONE) for name in now]
    tags = {name.partition("=")[0] for name in now}
    gone = [name for name in saved if name not in now and name.partition("=")[0] in tags]
    changes.dropped += [f"models of {name}" for name in gone]


def _beside(changes: Changes, saved: Sequence[str], now: Sequence[str]) -> None:
    """The models that all devices teach beside those of each."""
    stays = [name for name in now if name in changes.lane_names]
    changes.anew += [f"model of all devices beside {k} (new)" for k in stays if k not in saved]
    gone = changes.lane_names.difference(now).intersection(saved)
    changes.dropped += [f"model of all devices beside {name}" for name in sorted(gone)]


def _words(saved: Mapping[str, Any], now: Mapping[str, Any]) -> list[int]:
    """The saved column of each that holds words of a text."""
    first = len(saved["channels"])
    places = {words: first + k for k, words in enumerate(saved.get("words", ()))}
    return [places.get(words, NONE) for words in now["words"]]


def _operators(features: Sequence[Any]) -> Iterator[tuple[str, str]]:
    """A short name for each feature operator, and what it means."""
    for names, meaning in features:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield ", ".join(names[:SHOWN]) + more, f"{names} {meaning}"


def _whole(changes: Changes, saved: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """What holds for all lanes, and what is known by name only."""
    # Before detectors had signals, one text stood for those of all lanes.
    before = saved["drift"] if isinstance(saved["drift"], list) else []
    watched = changes_of(changes, "detector of {}", before, now["drift"])
    kept = zip(now["drift"], watched, strict=True)
    changes.drift = {name for (name, _), old in kept if old != NONE}
    changes.same_scores = saved["scores"] == now["scores"]
    changes.same_elsewhere = saved["elsewhere"] == now["elsewhere"]
    changes.keeps_pending = saved["pending"] <= now["pending"] and changes.same_elsewhere
    what = "the scores of every model and device"
    (changes.kept if changes.same_scores else changes.anew).append(what)
    if not changes.keeps_pending:
        why = f"pending went from {saved['pending']:,} to {now['pending']:,}"
        if not changes.same_elsewhere:
            why = "other tasks take labels from elsewhere"
        changes.dropped.append(f"predictions that wait for their label ({why})")
    names = {*saved["other"], *now["other"]}
    changes.other = sorted(n for n in names if saved["other"].get(n) != now["other"].get(n))
    changes.anew += [f"{name} (changed)" for name in changes.other]


def _sources(
    changes: Changes, saved: Sequence[Mapping[str, str]], now: Sequence[Mapping[str, str]]
) -> None:
    """Which source was which: the very same, else one that reads the same, else one of its kind."""
    changes.sources = [NONE] * len(now)
    left = dict(enumerate(saved))
    for alike in (("reads", "all", "decodes"), ("reads", "all"), ("reads",), ("use",)):
        for k, source in enumerate(now):
            if changes.sources[k] == NONE:
                fits = [o for o, old in left.items() if all(old[a] == source[a] for a in alike)]
                if fits and (alike != ("use",) or len(fits) == 1):
                    changes.sources[k] = fits[0]
                    del left[fits[0]]
    for k, source in enumerate(now):
        _one_source(changes, source, changes.sources[k], saved)
    changes.gone = [old["use"] if k in left else "" for k, old in enumerate(saved)]
    changes.dropped += [f"source {old['use']}" for old in left.values()]


def _one_source(
    changes: Changes, source: Mapping[str, str], place: int, saved: Sequence[Mapping[str, str]]
) -> None:
    """List one source and its codec, and where their state is."""
    old = saved[place] if place != NONE else None
    how = "new" if old is None else "changed"
    reads = old is not None and old["reads"] == source["reads"]
    decodes = old is not None and reads and old["decodes"] == source["decodes"]
    changes.positions.append(place if reads else NONE)
    changes.codecs.append(place if decodes else NONE)
    named = f"source {source['use']}"
    (changes.kept if reads else changes.anew).append(named if reads else f"{named} ({how})")
    if source["codec"]:
        named = f"codec {source['codec']} of {named}"
        (changes.kept if decodes else changes.anew).append(named if decodes else f"{named} ({how})")
