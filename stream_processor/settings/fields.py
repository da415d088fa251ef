"""What the tables of a configuration share: marks of their fields, and plug-ins by name."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

from pydantic import Field

__all__ = ["REQUIRED", "REST", "Names", "Options", "PluginUse"]

REQUIRED: Mapping[str, Any] = {"required": True}
REST: Mapping[str, Any] = {"rest": True}
"""This field takes the keys that no other field of the table names."""

Names = Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class PluginUse:
    """A plug-in's name and its options, checked against the plug-in's own signature.

    Written `"adwin"` or `{ use = "adwin", delta = 0.002 }`.
    """

    __shorthand__: ClassVar[str] = "use"

    use: str = field(default="", metadata=REQUIRED)
    options: dict[str, Any] = field(default_factory=dict, repr=False, metadata=REST)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of the one plug-in that a key stands for."""

    options: dict[str, Any] = field(default_factory=dict, repr=False, metadata=REST)
