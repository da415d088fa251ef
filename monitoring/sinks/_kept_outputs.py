"""Outputs as bytes and back: their columns as they are, compressed, which costs next to nothing."""

from collections.abc import Sequence

import msgspec
import numpy as np
import pyarrow as pa

from streamgauge.classes import Class, Classes
from streamgauge.events import Event
from streamgauge.output import SCORE_COLUMNS, Output, Scores
from streamgauge.predictions import ROW, Predictions
from streamgauge.schedule import Lane

__all__ = ["pack", "unpack"]

FORMAT = 1
CODEC = "snappy"
"""A third of the bytes for less processor time than it takes to write the other two."""
HEADER = 8
"""Bytes that tell how many there are once decompressed, little-endian."""
CODES, NUMBERS = 8, 5
"""Columns of `Predictions`."""


class _Names(msgspec.Struct, array_like=True):
    rows: bytes
    ids: list[str]


class _Classes(msgspec.Struct, array_like=True):
    declared: list[Class]
    values: list[float]
    most: int
    learned: bytes


class _Scores(msgspec.Struct, array_like=True):
    time: int
    lane: bytes
    row: bytes
    columns: int
    numbers: bytes


class _Piece(msgspec.Struct, array_like=True):
    names: int
    """Which of the file's tables of names."""
    codes: bytes
    numbers: bytes
    width: int
    parts: bytes
    classes: list[_Classes | None]
    events: list[Event]
    scores: list[_Scores]
    position: int
    more: bool


class _Kept(msgspec.Struct, array_like=True):
    format: int
    lanes: list[Lane]
    names: list[_Names]
    pieces: list[_Piece]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Kept).decode


def pack(outputs: Sequence[Output]) -> bytes:
    """Outputs of one stream, at least one, whose lanes are the same."""
    tables: list[Sequence[str | None]] = []
    pieces: list[_Piece] = []
    for output in outputs:
        names = output.predictions.names
        if not tables or tables[-1] is not names:
            tables.append(names)
        pieces.append(_piece(output, len(tables) - 1))
    named = [
        _names(names, [one for one, piece in zip(outputs, pieces, strict=True) if piece.names == k])
        for k, names in enumerate(tables)
    ]
    data = _encode(_Kept(FORMAT, list(outputs[0].predictions.lanes), named, pieces))
    compressed: bytes = pa.compress(data, codec=CODEC, asbytes=True)
    return len(data).to_bytes(HEADER, "little") + compressed


def unpack(data: bytes) -> list[Output]:
    """The outputs of which they were made; ValueError where they are not whole."""
    size = int.from_bytes(data[:HEADER], "little")
    try:
        kept = _decode(pa.decompress(data[HEADER:], size, codec=CODEC, asbytes=True))
    except (OSError, MemoryError, OverflowError) as broken:
        raise ValueError(str(broken)) from broken
    if kept.format != FORMAT:
        raise ValueError(f"outputs of format {kept.format}, not {FORMAT}")
    tables = [_table(one) for one in kept.names]
    return [_output(piece, tables[piece.names], tuple(kept.lanes)) for piece in kept.pieces]


def _piece(output: Output, names: int) -> _Piece:
    records = output.predictions
    classes = [
        None if one is None else
        _Classes(list(one.declared), list(one.values), one.most, one.learned.tobytes())
        for one in records.classes
    ]  # fmt: skip
    scores = [
        _Scores(
            one.time, one.lane.tobytes(), one.row.tobytes(), one.numbers.shape[1],
            one.numbers.tobytes(),
        )
        for one in output.scores
    ]  # fmt: skip
    return _Piece(
        names, records.codes.tobytes(), records.numbers.tobytes(), records.parts.shape[1],
        records.parts.tobytes(), classes, list(output.events), scores, output.position, output.more,
    )  # fmt: skip


def _names(names: Sequence[str | None], outputs: Sequence[Output]) -> _Names:
    """Of a fleet only the devices that these outputs are about."""
    used = np.zeros(len(names), np.bool_)
    for output in outputs:
        used[output.predictions.codes[:, ROW]] = True
        used[[one.row for one in output.events if one.row >= 0]] = True
        for scores in output.scores:
            used[scores.row[scores.row >= 0]] = True
    rows = np.flatnonzero(used)
    # A lone surrogate in an id is no text that a file could hold.
    ids = [(names[row] or "").encode(errors="replace").decode() for row in rows.tolist()]
    return _Names(rows.tobytes(), ids)


def _table(names: _Names) -> list[str | None]:
    rows = np.frombuffer(names.rows, np.int64).tolist()
    table: list[str | None] = [None] * (max(rows, default=-1) + 1)
    for row, device in zip(rows, names.ids, strict=True):
        table[row] = device
    return table


def _output(piece: _Piece, names: list[str | None], lanes: tuple[Lane, ...]) -> Output:
    codes = np.frombuffer(piece.codes, np.int64).reshape(-1, CODES)
    numbers = np.frombuffer(piece.numbers).reshape(-1, NUMBERS)
    parts = np.frombuffer(piece.parts).reshape(-1, piece.width) if piece.width else np.zeros((0, 0))
    classes = [
        None if one is None else
        Classes(tuple(one.declared), tuple(one.values), one.most, np.frombuffer(one.learned))
        for one in piece.classes
    ]  # fmt: skip
    scores = [
        Scores(
            one.time, np.frombuffer(one.lane, np.int64), np.frombuffer(one.row, np.int64),
            np.frombuffer(one.numbers).reshape(-1, one.columns),
        )
        for one in piece.scores
        if one.columns == len(SCORE_COLUMNS)
    ]  # fmt: skip
    records = Predictions(codes, numbers, names, lanes, parts, classes)
    return Output(records, piece.events, scores, piece.position, piece.more)
