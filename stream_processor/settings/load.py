"""From a pipeline.toml to its settings, or to everything that is wrong with it."""

import dataclasses
import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

from stream_processor.settings.channels import ChannelSettings
from stream_processor.settings.cross import check_channels, check_whole
from stream_processor.settings.document import Document, parse
from stream_processor.settings.environment import refuse_secrets, resolve
from stream_processor.settings.model import Settings
from stream_processor.settings.problems import Findings, Problem, Problems
from stream_processor.settings.read import read
from stream_processor.settings.trial import (
    try_cleaners,
    try_detectors,
    try_receivers,
    try_sinks,
    try_sources,
)
from stream_processor.settings.uses import check_uses
from streamgauge.tags import read_tags

__all__ = ["load", "load_text", "with_channels"]

API_KEY = "STREAMGAUGE_API_KEY"
LARGEST = 10**7
"""Bytes: a configuration is written by people; reading a data file by mistake must not hang."""

_PLACE = re.compile(r"(.*?) \(at line (\d+), column (\d+)\)", re.DOTALL)


def load(path: Path, env: Mapping[str, str], *, for_replay: bool = False) -> Settings:
    """The settings in the file; `Problems` with everything that is wrong otherwise.

    `env` resolves `${NAME}`. For a replay no source is needed, nor what the sources' references
    name.
    """
    try:
        content = path.read_bytes()
    except OSError as refused:
        reason = refused.strerror or str(refused)
        raise _unreadable(path, reason, "give the path of a pipeline.toml") from refused
    except ValueError as refused:
        raise _unreadable(path, str(refused), "give the path of a pipeline.toml") from refused
    if len(content) > LARGEST:
        raise _unreadable(path, f"{len(content):,} bytes", "give a configuration, not a data file")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as refused:
        line = content[: refused.start].count(b"\n") + 1
        raise _unreadable(path, "not UTF-8 text", "save it as UTF-8", line) from refused
    return load_text(text, path, env, for_replay=for_replay)


def load_text(
    text: str, path: Path, env: Mapping[str, str], *, for_replay: bool = False
) -> Settings:
    """As `load`, for the text that a file at `path` would hold."""
    try:
        document = parse(text.replace("\r\n", "\n"))
    except tomllib.TOMLDecodeError as refused:
        raise _no_toml(path, text, str(refused)) from refused
    except RecursionError as refused:
        raise _unreadable(path, "nested too deeply", "flatten it") from refused
    except ValueError as refused:
        raise _unreadable(path, f"no valid TOML ({refused})", "correct it") from refused
    findings = Findings(document)
    settings = _settings(document, path.absolute().parent, env, findings, for_replay=for_replay)
    findings.raise_if_any()
    return dataclasses.replace(settings, notes=tuple(findings.notes))


def _settings(
    document: Document,
    folder: Path,
    env: Mapping[str, str],
    findings: Findings,
    *,
    for_replay: bool,
) -> Settings:
    refuse_secrets(document.tree, (), findings)
    tree = resolve(document.tree, env, (), findings, spare="source" if for_replay else "")
    settings: Settings = read(Settings, tree, (), findings)
    settings = _with_table(settings, folder, findings)
    settings = check_uses(settings, folder, findings)
    check_whole(settings, findings, for_replay=for_replay)
    check_channels(settings, findings)
    try_cleaners(settings, findings)
    try_detectors(settings, findings)
    try_sinks(settings, folder, findings)
    try_receivers(settings, findings)
    if not for_replay:
        try_sources(settings, findings)
    serve = settings.serve
    keys = (*serve.api_keys, env.get(API_KEY, ""))
    return dataclasses.replace(
        settings,
        document=document,
        state=dataclasses.replace(settings.state, dir=folder / settings.state.dir),
        serve=dataclasses.replace(
            serve,
            api_keys=tuple(filter(None, keys)),
            read_keys=tuple(filter(None, serve.read_keys)),
            write_keys=tuple(filter(None, serve.write_keys)),
        ),
    )


def _with_table(settings: Settings, folder: Path, findings: Findings) -> Settings:
    """The settings with an absolute path to the table of devices, and none where it is unfit."""
    table = settings.devices.tags
    if table is None or not table.file.parts:
        return dataclasses.replace(
            settings, devices=dataclasses.replace(settings.devices, tags=None)
        )
    table = dataclasses.replace(table, file=folder / table.file)
    try:
        read_tags(table.file)
    except ValueError as refused:
        findings.refuse(("devices", "tags"), str(refused))
        table = None
    return dataclasses.replace(settings, devices=dataclasses.replace(settings.devices, tags=table))


def with_channels(settings: Settings, names: Iterable[str]) -> Settings:
    """The settings for exactly these channels, checked against them; `Problems` as from `load`.

    Channels that the file declares keep what it says of them, the others have no range.
    """
    known = settings.channels
    labels = {label.name for label in settings.label_columns}
    channels = {n: known.get(n, ChannelSettings()) for n in names if n not in labels}
    settings = dataclasses.replace(settings, channels=channels)
    findings = Findings(settings.document)
    check_channels(settings, findings)
    findings.raise_if_any()
    notes = dict.fromkeys((*settings.notes, *findings.notes))
    return dataclasses.replace(settings, notes=tuple(notes))


def _unreadable(path: Path, message: str, remedy: str, line: int | None = None) -> Problems:
    return Problems([Problem(str(path), "", line, message, remedy)])


def _no_toml(path: Path, text: str, said: str) -> Problems:
    place = _PLACE.fullmatch(said)
    lines = text.split("\n")
    line = int(place[2]) if place else len(lines)
    message = f"{place[1]} (column {place[3]})" if place else said
    shown = lines[min(line, len(lines)) - 1].strip()
    # What is no TOML cannot be told from a secret.
    found = "" if "=" in shown else shown[:60]
    return Problems([Problem(path.name, found, line, message, "correct the TOML there")])
