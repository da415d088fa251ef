"""Every plug-in says what it is for, and takes its options as its folder documents."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType, NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from pydantic import TypeAdapter

from ingest.rejects import Rejects
from models.learner import Estimator, Learner
from models.series import Ahead
from serving.listing import FOLDERS
from stream_processor.settings.features import taken_by
from streamgauge import plugins
from streamgauge.devices import Devices
from streamgauge.schedule import Lane
from streamgauge.schema import Schema
from streamgauge.signal import Signal
from streamgauge.state import Keys

CLOCK = Callable[[], int]
POSITIONAL: dict[str, dict[str, Any]] = {
    "ingest.codecs": {"schema": Schema, "devices": Devices},
    "ingest.sources": {"schema": Schema, "source_index": int, "clock": CLOCK, "rejects": Rejects},
    "stream_processor.clean": {"schema": Schema, "capacity": int, "channel": int},
    "stream_processor.clean.outlier": {"schema": Schema, "capacity": int, "channel": int},
    "stream_processor.clean.missing": {"schema": Schema, "capacity": int, "channel": int},
    "stream_processor.features": {"schema": Schema, "capacity": int, "column": int},
    "monitoring.detectors": {"signal": Signal, "capacity": int},
    "monitoring.sinks": {"lanes": Sequence[Lane], "stream": str, "folder": Path, "clock": CLOCK},
    "monitoring.receivers": {},
    "models.selections": {
        "learner": Learner,
        "inputs": Sequence[int],
        "names": Sequence[str],
        "capacity": int,
    },
    "models.compiled": {
        "estimator": Estimator,
        "lane": int,
        "inputs": Sequence[int],
        "names": Sequence[str],
        "capacity": int,
        "keys": Keys,
    },
}
"""What each folder hands to its plug-ins, in this order; everything else is an option."""
FUNCTION = {package: function for _, package, function in FOLDERS}
EVERY = [
    (package, name, module)
    for package in POSITIONAL
    for name, module in plugins.find(package).items()
]
every = pytest.mark.parametrize(
    ("package", "module"), [(p, m) for p, _, m in EVERY], ids=[f"{p}.{n}" for p, n, _ in EVERY]
)


def test_no_folder_of_plugins_is_left_out() -> None:
    """The folders that `streamgauge list` shows are those that are looked at here."""
    assert FUNCTION.keys() == POSITIONAL.keys()
    assert {package for package, _, _ in EVERY} == POSITIONAL.keys()


@every
def test_purpose(package: str, module: ModuleType) -> None:
    """The first line of a plug-in's file is the sentence that `streamgauge list` shows."""
    check_purpose(module.__doc__)


@every
def test_signature(package: str, module: ModuleType) -> None:
    """A plug-in takes what its folder gives, then options that a TOML file can hold."""
    assert FUNCTION[package] in getattr(module, "__all__", ()), "its function is not in __all__"
    function, given = getattr(module, FUNCTION[package]), POSITIONAL[package]
    if package == "stream_processor.features":
        beside = {"devices": Devices, "earlier": Mapping[str, frozenset[str]]}
        given = {**given, **{name: beside[name] for name in taken_by(module)}}
    check_signature(function, given)


def check_purpose(text: str | None) -> None:
    """One line, a whole sentence or a clause of one."""
    first = (text or "").partition("\n")[0]
    assert len(first.split()) >= 3, f"{first!r} does not say what it is for"
    assert first.endswith((".", ":")), f"{first!r} is cut off in the listing"


def check_signature(function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """The positional parameters as documented, in order; options typed, by name, with defaults that
    fit their types."""
    parameters = inspect.signature(function).parameters
    hints = get_type_hints(function, include_extras=True)
    assert "return" in hints, "what it gives has no type"
    assert function.__doc__, "its options are not documented"
    places = [p for p in parameters.values() if p.kind is not p.KEYWORD_ONLY]
    assert all(p.kind is not p.VAR_POSITIONAL and p.kind is not p.VAR_KEYWORD for p in places)
    assert [(p.name, hints.get(p.name)) for p in places] == list(given.items())
    assert all(p.default is p.empty for p in places), "what the folder gives has no default"
    for name, parameter in parameters.items():
        if parameter.kind is parameter.KEYWORD_ONLY:
            assert name in hints, f"option {name} has no type"
            optional = parameter.default is None
            # What a series is asked for follows from the task, as classes do.
            of_task = hints[name] is Ahead
            assert of_task or fits_toml(hints[name], optional=optional), f"no TOML gives {name}"
            if parameter.default is not parameter.empty:
                TypeAdapter(hints[name]).validate_python(parameter.default, strict=True)


def fits_toml(hint: Any, *, optional: bool = False) -> bool:
    """True for text, numbers, booleans and paths, and for lists and tables of those; None only
    where leaving the option out is what gives it."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return fits_toml(inner[0], optional=optional)
    if origin in {Union, UnionType}:
        return all(fits_toml(part, optional=optional) for part in inner)
    if origin is Literal:
        return all(type(value) in {str, int, bool} for value in inner)
    if origin in {list, tuple, Sequence}:
        return all(part is ... or fits_toml(part) for part in inner)
    if origin in {dict, Mapping}:
        return inner[0] is str and fits_toml(inner[1])
    return hint in {str, int, float, bool, Path} or (optional and hint is NoneType)


def _right(
    signal: Signal, capacity: int, *, url: str, size: int = 3, of: list[str] | None = None
) -> int:
    """Documented."""
    return 0


def _swapped(capacity: int, signal: Signal) -> int:
    """Documented."""
    return 0


def _more(signal: Signal, capacity: int, size: int) -> int:
    """Documented."""
    return 0


def _untyped(signal: Signal, capacity: int, *, size: int = 3) -> int:
    """Documented."""
    return 0


def _any(signal: Signal, capacity: int, **size: int) -> int:
    """Documented."""
    return 0


def _object(signal: Signal, capacity: int, *, clock: CLOCK) -> int:
    """Documented."""
    return 0


def _missing(signal: Signal, capacity: int, *, size: int | None) -> int:
    """Documented."""
    return 0


def _default(signal: Signal, capacity: int, *, size: int = 3) -> int:
    """Documented."""
    return 0


def _bare(signal: Signal, capacity: int) -> int:
    return 0


del _untyped.__annotations__["size"]
_default.__kwdefaults__ = {"size": "3"}
WRONG: list[Callable[..., Any]] = [
    _swapped,
    _more,
    _untyped,
    _any,
    _object,
    _missing,
    _default,
    _bare,
]


def test_a_signature_that_differs_is_noticed() -> None:
    """The check takes one that is right and refuses each kind that is not."""
    check_signature(_right, POSITIONAL["monitoring.detectors"])
    for function in WRONG:
        with pytest.raises((AssertionError, ValueError)):
            check_signature(function, POSITIONAL["monitoring.detectors"])
    for text in (None, "", "Codec.", "Messages of a kind that is described by"):
        with pytest.raises(AssertionError):
            check_purpose(text)
