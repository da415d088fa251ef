"""The classes of a classification: where they come from, and how a label says which one it is."""

from collections.abc import Mapping

from stream_processor.settings.channels import ChannelSettings
from stream_processor.settings.document import KeyPath
from stream_processor.settings.problems import Findings
from stream_processor.settings.tasks import TaskSettings
from streamgauge.classes import Class, Classes
from streamgauge.schema import Channel, Kind

__all__ = ["check_classes", "classes_of", "label_channel"]

FALSE_TRUE: tuple[Class, ...] = (False, True)


def classes_of(task: TaskSettings, channels: Mapping[str, ChannelSettings]) -> Classes | None:
    """The classes of a task that classifies; None of others.

    A class is known by the number that its label has in the stream: the place of a word in the
    vocabulary of a category, 0 or 1 of a boolean, the number itself of a number.
    """
    if task.kind != "classification":
        return None
    channel = channels.get(task.target)
    if channel is not None and channel.kind is Kind.CATEGORY:
        words = list(channel.values)
        given = [str(one) for one in task.classes] or words
        return Classes.of(given, [words.index(one) for one in given if one in words])
    if channel is not None and channel.kind is Kind.BOOLEAN:
        return Classes.of(FALSE_TRUE, (0, 1))
    if not task.classes:
        return Classes.of((), (), task.classes_max)
    if _are_words(task.classes):
        return Classes.of(task.classes, range(len(task.classes)))
    return Classes.of(task.classes, [float(one) for one in task.classes])


def label_channel(task: TaskSettings, name: str = "label") -> Channel:
    """How a label from elsewhere is read, as if it were a channel of that name."""
    if task.kind == "classification" and _are_words(task.classes):
        words = tuple(str(one) for one in task.classes)
        return Channel(name, kind=Kind.CATEGORY, values=words, similarity=100.0)
    are_booleans = bool(task.classes) and all(isinstance(one, bool) for one in task.classes)
    boolean = task.kind == "anomaly" or are_booleans
    return Channel(name, kind=Kind.BOOLEAN if boolean else Kind.NUMBER)


def _are_words(classes: tuple[Class, ...]) -> bool:
    return bool(classes) and all(isinstance(one, str) for one in classes)


def check_classes(
    task: TaskSettings, channels: Mapping[str, ChannelSettings], path: KeyPath, findings: Findings
) -> None:
    """Note what is wrong with the classes of one task."""
    where = (*path, "classes")
    if task.kind != "classification":
        if task.classes:
            findings.add(where, f"a task of kind {task.kind} has no classes", "remove it")
        return
    if len({str(one).casefold() for one in task.classes}) < len(task.classes):
        findings.add(where, "a class stands here twice", "name each once; case makes no difference")
    if len(task.classes) == 1:
        findings.add(where, "a single class leaves nothing to predict", "name all that there are")
    kinds = {isinstance(one, str) for one in task.classes}
    if len(kinds) > 1:
        findings.add(where, "words and numbers are mixed", 'write all as words: ["1", "high"]')
    channel = channels.get(task.target)
    if channel is not None and not findings.within("channels", task.target):
        _check_target(task, channel, where, findings)


def _check_target(
    task: TaskSettings, channel: ChannelSettings, where: KeyPath, findings: Findings
) -> None:
    if channel.kind is Kind.TEXT:
        findings.add(
            (*where[:-1], "target"),
            f"{task.target} is text, which has no fixed set of words",
            f'give channels.{task.target} kind = "category" and values = [...]',
        )
    elif channel.kind is Kind.CATEGORY:
        for i, one in enumerate(task.classes):
            if one not in channel.values:
                findings.unknown((*where, i), "no such word", list(channel.values), str(one))
    elif channel.kind is Kind.BOOLEAN and task.classes:
        findings.add(where, "a boolean has the classes false and true", "remove it")
    elif channel.kind is Kind.NUMBER and _are_words(task.classes):
        findings.add(
            where,
            f"{task.target} is a number, so its classes are numbers",
            "write them without quotes, or give the channel kind and values of a category",
        )
