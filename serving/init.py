"""`streamgauge init`: watch a source and write a first pipeline.toml."""

import os
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from serving.starter.watch import watch
from serving.starter.write import written
from stream_processor.settings import Problems, load_text

__all__ = ["init"]

NAMED_IN_ENVIRONMENT = re.compile(r"\$\{(\w+)\}")


def init(sources: Sequence[str], output: Path, *, seconds: float, clock: Callable[[], int]) -> int:
    """Watch each source and write `output`; the exit code. What cannot be watched, and a file that
    is there already, are told and nothing is written."""
    if output.exists():
        print(f"{output} is there already; name another with -o, or remove it", file=sys.stderr)
        return 2
    if seconds <= 0:
        print(f"--seconds {seconds:g} shows nothing; give a few", file=sys.stderr)
        return 2
    try:
        drafts = []
        for source in sources:
            print(f"watching {_without_password(source)} ...", flush=True)
            drafts.append(watch(source, seconds, clock))
        text = written(
            drafts,
            re.sub(r"[^a-z0-9-]+", "-", output.absolute().parent.name.lower()).strip("-")
            or "stream",
        )
        named = {name: os.environ.get(name, "unset") for name in NAMED_IN_ENVIRONMENT.findall(text)}
        load_text(text, output, {**os.environ, **named})
    except (ValueError, OSError, Problems) as refused:
        print(refused, file=sys.stderr)
        return 1
    output.write_text(text, encoding="utf-8")
    print(f"wrote {output}; look through it, then:")
    for name in named:
        print(f"  export {name}=...")
    print(f"  streamgauge check {output}\n  streamgauge run {output}")
    return 0


def _without_password(source: str) -> str:
    return re.sub(r"(://[^/\s:@]*):[^/\s]*@", r"\1:...@", source)
