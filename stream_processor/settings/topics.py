"""Checks of the topics that sources subscribe to: that they bring what is wanted of them."""

from stream_processor.settings.document import KeyPath
from stream_processor.settings.model import Settings, SourceSettings
from stream_processor.settings.problems import Findings
from stream_processor.settings.uses import SOURCES
from streamgauge import plugins
from streamgauge.brokers import meet, plain

__all__ = ["check_topics"]

_PLACES = ("device", "time", "sequence", "channel")


def check_topics(settings: Settings, findings: Findings) -> None:
    """Refuse levels that no topic has; note labels that no source would bring."""
    for i, source in enumerate(settings.sources):
        _check_levels(source, ("source", i), findings)
    _check_labels(settings, findings)


def _check_levels(source: SourceSettings, path: KeyPath, findings: Findings) -> None:
    filters = _filters(source)
    given = source.options | (source.codec.options if source.codec else {})
    for key in _PLACES:
        where, _, level = str(given.get(key, "")).partition(":")
        if where != "topic" or not level.lstrip("-").isdigit() or not filters:
            continue
        if not any(_reaches(one, int(level)) for one in filters):
            longest = max(plain(one).count("/") + 1 for one in filters)
            findings.add(
                (*path, key),
                f"no topic of {', '.join(filters)} has such a level",
                f"levels count from 0: write topic:0 to topic:{longest - 1}, or subscribe to more",
            )


def _reaches(topic_filter: str, level: int) -> bool:
    levels = plain(topic_filter).split("/")
    wanted = -level if level < 0 else level + 1
    return levels[-1] == "#" or wanted <= len(levels)


def _check_labels(settings: Settings, findings: Findings) -> None:
    filters = [one for source in settings.sources for one in _filters(source)]
    posted = any(source.use == "http" for source in settings.sources)
    for name, task in settings.tasks.items():
        label = task.label
        if label is None:
            continue
        if label.column:
            findings.notes.append(
                f"tasks.{name}: its labels are a column of recordings, so it learns in replays only"
            )
        elif label.source == "http" and not posted:
            findings.notes.append(
                f"tasks.{name}: its labels come over HTTP, but there is no [[source]] with "
                'use = "http", so no label comes; add one'
            )
        elif settings.sources and label.source != "http" and not _any_meets(label.topic, filters):
            findings.notes.append(
                f"tasks.{name}: no [[source]] subscribes to {label.topic}, so no label comes; "
                "add it to its topics"
            )


def _any_meets(pattern: str, filters: list[str]) -> bool:
    return any(meet(pattern, topic) for topic in filters)


def _filters(source: SourceSettings) -> list[str]:
    if source.use not in plugins.names(SOURCES):
        return []
    options = plugins.options(plugins.load(SOURCES, source.use), "open")
    found: list[str] = []
    for key in ("topics", "topic"):
        if key not in options:
            continue
        value = source.options.get(key, options[key].default)
        values = value if isinstance(value, list | tuple) else [value]
        found += [text for text in values if isinstance(text, str)]
    return found
