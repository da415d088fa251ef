"""[tune]: what `streamgauge tune` tries, and how it judges; nothing else reads it."""

from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from stream_processor.settings.kinds import AtLeastOne

__all__ = ["SplitSettings", "TuneSettings"]

Share = Annotated[float, Field(gt=0.0, lt=1.0)]


@dataclass(frozen=True, slots=True)
class SplitSettings:
    """tune.split; a plain word means `by`."""

    __shorthand__: ClassVar[str] = "by"

    by: Literal["time", "devices"] = "time"
    """Whether the labels that decide are those of a later time or those of other devices."""
    validate: Share = 0.25
    """Of the recording: its labels decide between the trials."""
    test: Share = 0.25
    """Of the recording: its labels decide nothing, and tell how good the winner is."""


@dataclass(frozen=True, slots=True)
class TuneSettings:
    """[tune]."""

    task: str = ""
    """Whose score counts; may be left out where there is one."""
    score: str = ""
    """By which trials are compared; left out, the usual one of the task's kind."""
    by: Literal["bayesian", "random", "grid"] = "bayesian"
    trials: AtLeastOne = 50
    split: SplitSettings = field(default=SplitSettings())
    options: dict[str, Any] = field(default_factory=dict)
    """Key of the configuration, such as "tasks.t.model[1].lr": the values to try."""
