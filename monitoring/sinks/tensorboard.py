"""Scores as curves of TensorBoard, one run per stream, and drift as text beside them.

`pip install "streamgauge[tensorboard]"` brings tensorboardX, which writes the files; TensorBoard,
which shows them, is installed by itself.
"""

import os
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from monitoring.sinks._buffered import Buffered
from monitoring.sinks._curves import CurvesEncoder, Point, named_run
from monitoring.sinks._delivery import Refused
from streamgauge.schedule import Lane

__all__ = ["open"]

BATCH = 10_000
"""Points that are written together."""


def open(  # noqa: A001 - what opens a plug-in has one name in every folder
    lanes: Sequence[Lane],
    stream: str,
    folder: Path,
    clock: Callable[[], int],
    *,
    path: Path,
    run: str = "",
    buffer_bytes: int = 100_000_000,
) -> Buffered[Any]:
    """A sink that writes event files to `path/run`, for `tensorboard --logdir path`.

    - `path`: the folder of all runs; made if it is not there
    - `run`: the name of this one; left out, the stream's. Give another one to another
      configuration, and TensorBoard draws their curves over each other.
    - `buffer_bytes`: what may wait in memory for a disk that refuses; beyond it the oldest is
      dropped and counted

    ValueError for a path that is a file, a run that is no name, or a package that is missing.
    """
    if find_spec("tensorboardX") is None:
        raise ValueError('tensorboardX is not installed: pip install "streamgauge[tensorboard]"')
    if path.exists() and not path.is_dir():
        raise ValueError(f"path = {str(path)!r} is a file; name a folder")
    files = _EventFiles(path / named_run(run, stream))
    return Buffered(
        CurvesEncoder().encode, files, clock,
        name="tensorboard", batch=BATCH, buffer_bytes=buffer_bytes, predictions=False,
    )  # fmt: skip


class _EventFiles:
    """The event files of one run. Each life of the service begins a new one, as TensorBoard
    expects, and so does what comes after a disk refused."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def __call__(self, part: list[Point]) -> None:
        """Write points, and wait until they are on the disk."""
        try:
            if self._writer is None:
                self._writer = self._begun()
            for point in part:
                self._writer.write_event(_event(point))
            self._writer.flush()
        except OSError as refused:
            self._writer = None
            raise Refused(f"cannot write {self._folder}: {refused}") from None

    def _begun(self) -> Any:
        from tensorboardX.event_file_writer import EventsWriter

        self._folder.mkdir(parents=True, exist_ok=True)
        # Two in the same second would share a name.
        return EventsWriter(str(self._folder / "events"), f".{os.urandom(4).hex()}")

    def close(self) -> None:
        """End the file."""
        if self._writer is not None:
            self._writer.close()


def _event(point: Point) -> Any:
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.summary import text

    if point.text:
        summary = text(point.tag, point.text)
    else:
        summary = Summary(value=[Summary.Value(tag=point.tag, simple_value=point.value)])
    return Event(wall_time=point.time, step=point.step, summary=summary)
