"""`streamgauge profile`: a report on a recording, and a pipeline.toml for it."""

import sys
from collections.abc import Callable
from pathlib import Path

from ingest.times import zone_named
from serving.profile.figures import Profile
from serving.profile.measure import measure
from serving.profile.page import page
from serving.profile.suggest import suggest
from serving.starter.watch import watch_file
from serving.starter.write import Draft, stream_name, written
from stream_processor.compose import compose
from stream_processor.settings import Problems, load_text
from streamgauge.schema import Channel, Schema

__all__ = ["profile", "profiled"]


def profile(
    data: Path,
    output: Path,
    config: Path | None,
    *,
    device: str,
    time: str,
    timezone: str,
    clock: Callable[[], int],
) -> int:
    """Write the report, and the configuration where `config` says where to; the exit code. What
    cannot be read is told, and nothing is written."""
    if config is not None and config.exists():
        print(f"{config} is there already; name another, or remove it", file=sys.stderr)
        return 2
    try:
        if timezone:
            zone_named(timezone)
        found, draft = profiled(data, clock, device=device, time=time, timezone=timezone)
        text, wrong = _config(draft, data)
        output.write_text(page(found, text or f"# {wrong}"), encoding="utf-8")
        print(f"wrote {output}: {found.rows:,} readings of {len(found.devices):,} devices")
        if config is None:
            return 0
        if not text:
            print(wrong, file=sys.stderr)
            return 1
        config.write_text(text, encoding="utf-8")
    except (ValueError, OSError, MemoryError) as refused:
        print(refused, file=sys.stderr)
        return 1
    print(
        f"wrote {config}; look through it, then:\n  streamgauge check {config}\n"
        f"  streamgauge replay {config} {data}"
    )
    return 0


def profiled(
    data: Path, clock: Callable[[], int], *, device: str = "", time: str = "", timezone: str = ""
) -> tuple[Profile, Draft]:
    """Figures of a recording, and the draft of a configuration that follows from them."""
    if not data.is_file():
        raise ValueError(f"{data}: there is no such file; name a CSV, Parquet or JSON lines file")
    draft = watch_file(data, clock, device=device, time=time)
    draft.timezone = timezone
    schema = Schema(Channel(one.name, kind=one.kind, path=one.path) for one in draft.guess.channels)
    options = {key: value for key, value in draft.options.items() if key != "path"}
    zone = timezone or "UTC"
    found = measure(data, schema, zone, {**options, "zone": zone})
    suggest(found, draft)
    return found, draft


def _config(draft: Draft, data: Path) -> tuple[str, str]:
    """The suggested pipeline.toml, which `check` passes, and why there is none."""
    text = written([draft], stream_name(data.name.partition(".")[0]), "profile")
    try:
        compose(load_text(text, data.absolute().parent / "pipeline.toml", {}))
    except (Problems, ValueError, MemoryError) as refused:
        return "", " ".join(f"no configuration is suggested: {refused}".split())
    return text, ""
