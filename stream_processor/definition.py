"""What a state was made for: the configuration as far as a restart depends on it.

What may change between two runs (ranges, units, when a model counts as ready, where a source
connects to) is left out.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict
from inspect import signature
from typing import Any

from models.relearning import Relearning
from stream_processor.changes import ARRANGED
from stream_processor.compose import AT_ONCE, most_pending
from stream_processor.operator import FeatureOperator
from stream_processor.settings.classes import classes_of
from stream_processor.settings.features import feature_options
from stream_processor.settings.fields import PluginUse
from stream_processor.settings.model import Settings, SourceSettings
from stream_processor.settings.problems import redacted
from stream_processor.stages import Stages
from streamgauge.plugins import load

__all__ = ["definition"]

FREE = (
    "label",
    "horizons",
    "inputs",
    "tolerance",
    "predict",
    "pending",
    "ready_after",
    "before_ready",
    "interval",
    "start",
)
"""Keys of a task that do not say what its models are, or that are said otherwise below."""
UNLESS_GIVEN = ("select", "step")
"""Keys that were not there from the beginning: where they are not given nothing has changed."""


def definition(settings: Settings, stages: Stages) -> dict[str, Any]:
    """What the settings make of the state, part by part; JSON-able, equal where nothing changed.

    A name stands beside what it means: `channels`, `cleaning`, `features` (an operator's names, in
    the order of the columns), `lanes`, `groups` (of devices that share models, where there are
    any), each in the order of the state; `beside` (lanes that have a model of the fleet beside
    those of each device), `sources` with what they
    read and their codecs; `words`, what each column of words of texts holds; `drift`, `scores`,
    `elsewhere` (lanes whose labels come from elsewhere) and `pending` for all lanes; `other` for
    the rest.
    """
    options = feature_options(settings, stages.schema)
    return {
        "channels": [
            [name, _text([channel.kind, channel.values]) if channel.values else str(channel.kind)]
            for name, channel in settings.channels.items()
        ],
        "words": _words(settings, stages),
        "cleaning": [
            [f"{name}.{key}", _text([use.use, _seen(package, use, settings)])]
            for name, channel in settings.channels.items()
            for key, package, use in channel.cleaners()
        ],
        "features": [
            [list(operator.names), _text([path[1], _ordered(chosen), *_made_for(operator)])]
            for operator, (path, chosen) in zip(stages.features, options, strict=True)
        ],
        "lanes": [[name, _text(shown)] for name, shown in _lanes(settings, stages)],
        **({"groups": list(stages.groups.names)} if len(stages.groups) else {}),
        **_beside(settings, stages),
        "drift": [[one.name, _text(one.made_for)] for one in stages.drift.watched],
        "scores": _text(asdict(settings.scores)),
        "elsewhere": [lane.name for lane in stages.lanes if lane.elsewhere is not None],
        "pending": max(map(most_pending, settings.tasks.values()), default=1),
        "sources": [_source(source) for source in settings.sources],
        "other": {
            "devices.timezone": settings.devices.timezone,
            "devices.duplicates": _text(settings.devices.duplicates.kept),
            ARRANGED: _text(_arranged(settings)),
        },
    }


def _beside(settings: Settings, stages: Stages) -> dict[str, Any]:
    """Lanes that have a model of all devices beside those of each, where there are any."""
    own = [k.name for k in stages.lanes if settings.tasks[k.task].beside_fleet]
    return {"beside": own} if own else {}


def _made_for(operator: FeatureOperator) -> list[Any]:
    """What an operator's state depends on beside its options, such as the groups that there are."""
    return [operator.made_for] if hasattr(operator, "made_for") else []


def _arranged(settings: Settings) -> list[Any]:
    devices = settings.devices
    gaps = {k: asdict(c.interpolate) for k, c in settings.channels.items() if c.interpolate}
    words = {k: c.words for k, c in settings.channels.items() if c.words}
    more = [shown for shown in (gaps, words) if shown]
    return [_shown(devices.reorder), _shown(devices.assemble), *more]


def _words(settings: Settings, stages: Stages) -> list[str]:
    """What each column of words holds, in order."""
    return [
        _text([name, k, settings.channels[name].ngrams, settings.channels[name].stop_words])
        for name, columns in stages.schema.words.items()
        for k in range(columns.stop - columns.start)
    ]


def _shown(table: Any) -> dict[str, Any] | None:
    return None if table is None else asdict(table)


def _lanes(settings: Settings, stages: Stages) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each lane by name, and all that its models' state depends on: inputs count by name."""
    names = [name for operator in stages.features for name in operator.names]
    lanes = iter(zip(stages.lanes, stages.learners, strict=True))
    for task in settings.tasks.values():
        for horizon in task.horizons or (AT_ONCE,):
            lane, learner = next(lanes)
            shown = {key: value for key, value in asdict(task).items() if key not in FREE}
            for key in UNLESS_GIVEN:
                if shown[key] is None:
                    del shown[key]
            if task.label is not None:
                shown["label"] = "by id" if task.label.by_id else "by time"
            classes = classes_of(task, settings.channels)
            if classes is not None:
                shown["classes"] = [classes.declared, classes.values]
            shown |= {"horizon": asdict(horizon), "change": task.change}
            shown |= {"tolerance": lane.tolerance, "inputs": [names[k] for k in lane.inputs]}
            if isinstance(learner, Relearning) and learner.blobs is not None:
                # Pickles of two models, not of one.
                shown["relearn"] = True
            yield lane.name, shown


def _seen(package: str, use: PluginUse, settings: Settings) -> dict[str, Any]:
    """A policy's options, and the channels where it looks at all of them."""
    takes = signature(load(package, use.use).build).parameters
    everything = {"of": list(settings.channels)} if "of" in takes else {}
    return everything | use.options


def _source(source: SourceSettings) -> dict[str, str]:
    """A source by what it reads: a position belongs to that, wherever it stands in the file.

    A plug-in says in `READS` which of its options name what is read; the others tell where it
    connects and how. `all` tells two of a kind apart; secrets are in neither.
    """
    reads = getattr(load("ingest.sources", source.use), "READS", ())
    options = redacted(source.options, ())
    return {
        "use": source.use,
        "reads": _text([source.use, {key: options.get(key) for key in reads}]),
        "all": hashlib.blake2b(_text(options).encode(), digest_size=16).hexdigest(),
        "codec": source.codec.use if source.codec else "",
        "decodes": _use(source.codec),
    }


def _use(use: PluginUse | None) -> str:
    return _text(use and [use.use, redacted(use.options, ())])


def _ordered(options: dict[str, Any]) -> dict[str, Any]:
    """Tables as lists: an operator's columns follow the order in which channels are named."""
    return {
        key: list(value.items()) if isinstance(value, dict) else value
        for key, value in options.items()
    }


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True, default=str)
