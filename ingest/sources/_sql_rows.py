"""Rows of a database in the order of a column that grows, each once, those that come late as well.

Rows from the last value of the column on, less `lag`, are read again each time; those that were
read before are told by their id, or by all of their content.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pandas as pd

from ingest.columns import Columns
from ingest.rejects import Rejects
from ingest.sources._table_reader import Piece
from streamgauge import database, durations
from streamgauge.delivery import Position

__all__ = ["CursorRows", "Lag", "first_rows", "lag_of", "selected"]

Lag = int | timedelta
"""How far back to read again: by the numbers in the column, or by its times."""

MOST_SEEN = 20_000
"""Rows whose ids a position may hold: it is written with every delivery."""
_ISO = re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d")


def lag_of(written: int | str) -> Lag:
    """The lag that 1000 or "30s" stands for; ValueError otherwise."""
    if isinstance(written, int):
        if written < 0:
            raise ValueError(f"lag = {written} reads nothing again; write 0 or more")
        return written
    try:
        return timedelta(microseconds=durations.microseconds(written))
    except ValueError as wrong:
        raise ValueError(f"lag: {wrong}") from None


def selected(table: str, query: str) -> Any:
    """What to select from; ValueError where not exactly one of the two is given."""
    import sqlalchemy

    if bool(table) == bool(query):
        raise ValueError('name either a table or a query: table = "readings"')
    if table:
        schema, _, name = table.rpartition(".")
        return sqlalchemy.table(name, schema=schema or None)
    # A colon in the query is the user's own, never the name of a parameter.
    text = query.strip().rstrip(";").replace(":", "\\:")
    return sqlalchemy.text(f"({text}) as readings")


def first_rows(engine: Any, source: Any, rows: int) -> pd.DataFrame:
    """The first rows as they are; OSError with what the database says where it refuses."""
    names, found = _asked(engine, _all_of(source).limit(rows))
    return pd.DataFrame(found, columns=names, dtype=object)


def _all_of(source: Any) -> Any:
    import sqlalchemy

    return sqlalchemy.select(sqlalchemy.literal_column("*")).select_from(source)


def _asked(engine: Any, statement: Any) -> tuple[list[str], list[tuple[Any, ...]]]:
    import sqlalchemy

    _must_exist(engine.url)
    try:
        with engine.connect() as connection:
            result = connection.execute(statement)
            return _names(result), [tuple(row) for row in result]
    except sqlalchemy.exc.SQLAlchemyError as failed:
        raise OSError(database.why(engine, failed)) from None


@dataclass(frozen=True, slots=True)
class _Place:
    """How far it has been read: the column's last value, and the rows of the window behind it."""

    last: Any = None
    seen: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, position: Position) -> "_Place":
        if "cursor" not in position:
            return cls()
        read = datetime.fromisoformat if position["kind"] == "timestamp" else _same
        return cls(read(position["cursor"]), {k: read(v) for k, v in position["seen"].items()})

    def position(self) -> Position:
        kind = "timestamp" if isinstance(self.last, datetime) else "value"
        written = {key: _written(value) for key, value in self.seen.items()}
        return {"cursor": _written(self.last), "kind": kind, "seen": written}


class CursorRows:
    """`source` by its column `cursor`, at most `rows` at a time."""

    waiting = False

    def __init__(
        self,
        engine: Any,
        source: Any,
        columns: Columns,
        *,
        cursor: str,
        identity: str,
        lag: Lag,
        rows: int,
    ) -> None:
        self._engine, self._source, self._columns = engine, source, columns
        self._cursor, self._identity, self._lag, self._rows = cursor, identity, lag, rows
        self._read_again = 0

    def state(self) -> dict[str, Any]:
        """`read_again_total`: rows of the window that were known already."""
        return {"read_again_total": self._read_again}

    def close(self) -> None:
        self._engine.dispose()

    def pieces(self, after: Position, rejects: Rejects) -> Iterator[Piece]:
        """See `_table_reader.Tables`."""
        place = _Place.of(after)
        low = None if place.last is None else _before(place.last, self._lag)
        while True:
            again = sum(low is None or value >= low for value in place.seen.values())
            names, found = self._page(low, self._rows + again)
            at = self._column(names, self._cursor)
            known = [_comparable(row[at]) for row in found]
            fresh = [
                (row, value)
                for row, value in zip(found, known, strict=True)
                if place.last is None
                or value > place.last
                or self._key(names, row) not in place.seen
            ]
            self._read_again += len(found) - len(fresh)
            more = len(found) == self._rows + again or len(fresh) > self._rows
            fresh = fresh[: self._rows]
            if fresh:
                place = self._behind(place, names, fresh)
                table = pd.DataFrame([row for row, _ in fresh], columns=names, dtype=object)
                yield self._columns.piece(table, rejects), place.position()
            if not more:
                return
            low = fresh[-1][1] if len(fresh) == self._rows else known[-1]

    def _page(self, low: Any, limit: int) -> tuple[list[str], list[tuple[Any, ...]]]:
        import sqlalchemy

        cursor: Any = sqlalchemy.column(self._cursor)
        chosen = _all_of(self._source).where(cursor.is_not(None) if low is None else cursor >= low)
        return _asked(self._engine, chosen.order_by(cursor).limit(limit))

    def _behind(
        self, place: _Place, names: list[str], fresh: Sequence[tuple[tuple[Any, ...], Any]]
    ) -> _Place:
        """The place behind these rows."""
        newest = fresh[-1][1]
        last = newest if place.last is None else max(place.last, newest)
        window = _before(last, self._lag)
        seen = {key: value for key, value in place.seen.items() if value >= window}
        seen |= {self._key(names, row): value for row, value in fresh if value >= window}
        if len(seen) > MOST_SEEN:
            raise ValueError(
                f"lag: more than {MOST_SEEN:,} rows lie within the window, or have the same "
                f"{self._cursor!r}; shorten it, or name a finer column"
            )
        return _Place(last, seen)

    def _key(self, names: list[str], row: tuple[Any, ...]) -> str:
        if self._identity:
            return str(row[self._column(names, self._identity)])
        return blake2b(repr(row).encode(), digest_size=12).hexdigest()

    @staticmethod
    def _column(names: list[str], name: str) -> int:
        if name not in names:
            raise ValueError(f"no column {name!r} in what was read; there are: {', '.join(names)}")
        return names.index(name)


def _must_exist(url: Any) -> None:
    """SQLite would make a file that is missing, and then say that it has no table."""
    path = url.database or ":memory:"
    if (
        url.get_backend_name() == "sqlite"
        and not path.startswith((":memory:", "file:"))
        and not Path(path).exists()
    ):
        raise OSError(f"url: there is no file {path}; give the path of a database")


def _names(result: Any) -> list[str]:
    names = list(map(str, result.keys()))
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"columns named twice: {', '.join(twice)}; rename them in the query")
    return names


def _same(value: Any) -> Any:
    return value


def _written(value: Any) -> Any:
    """As JSON writes it."""
    return value.isoformat() if isinstance(value, datetime) else value


def _comparable(value: Any) -> Any:
    """A value of the column that can be ordered and written down; ValueError for others."""
    if isinstance(value, Decimal):
        value = int(value) if value == int(value) else float(value)
    if isinstance(value, str) and not _ISO.match(value):
        raise ValueError(
            f"cursor: {value[:40]!r} is text that is no time; name a column of numbers or times"
        )
    if isinstance(value, bool) or not isinstance(value, int | float | datetime | str):
        raise ValueError(  # noqa: TRY004 - what a column holds is the user's choice of column
            f"cursor: {value!r} is neither a number nor a time; name a column that grows"
        )
    return value


def _before(value: Any, lag: Lag) -> Any:
    """The column's value by the lag earlier."""
    if lag == 0:
        return value
    if isinstance(value, int | float) and isinstance(lag, int):
        return value - lag
    if isinstance(value, datetime) and isinstance(lag, timedelta):
        return value - lag
    if isinstance(value, str) and isinstance(lag, timedelta):
        # Text is compared as text: whole seconds, written as the column writes them.
        earlier = datetime.fromisoformat(value[:19]) - lag
        return earlier.replace(microsecond=0).isoformat(value[10])
    raise ValueError(
        f"lag = {lag} does not fit a column with values like {value!r}; write a number for numbers "
        'and a duration such as "30s" for times'
    )
