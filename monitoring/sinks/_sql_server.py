"""Tables of a database that are written row by row: a row that is there is overwritten."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import mysql, postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError, SQLAlchemyError, StatementError

from monitoring.sinks._delivery import Refused
from monitoring.sinks._sql_rows import EVENTS, PREDICTIONS, SCORES, Row
from streamgauge import database
from streamgauge.output import SCORE_COLUMNS

__all__ = ["Upserts", "tables"]

TAKEN_BACK = 400
"""What Refused calls a row that no try will get in."""
NEVER = ("22", "23")
"""Classes of SQLSTATE that are about the row: data and integrity."""
_MOMENT = sa.DateTime(timezone=True).with_variant(mysql.DATETIME(fsp=6), "mysql", "mariadb")


def tables(prefix: str) -> dict[str, sa.Table]:
    """The three tables; the columns before the others tell their rows apart."""
    schema, _, start = prefix.rpartition(".")
    metadata = sa.MetaData(schema=schema or None)

    def key(name: str, length: int) -> sa.Column[Any]:
        return sa.Column(name, sa.String(length), primary_key=True)

    def numbers(*names: str) -> list[sa.Column[Any]]:
        return [sa.Column(name, sa.Double) for name in names]

    def where() -> list[sa.Column[Any]]:
        return [key("stream", 100), key("task", 100), key("horizon", 32), key("device", 256)]

    def moment(name: str) -> sa.Column[Any]:
        return sa.Column(name, _MOMENT, primary_key=True)

    return {
        PREDICTIONS: sa.Table(
            f"{start}predictions", metadata,
            key("stream", 100), key("id", 500), moment("made_at"),
            sa.Column("target_time", _MOMENT),
            sa.Column("device", sa.String(256), nullable=False),
            sa.Column("task", sa.String(100), nullable=False),
            sa.Column("horizon", sa.String(32), nullable=False),
            sa.Column("sequence", sa.BigInteger, nullable=False),
            *numbers("prediction", "last_value", "label", "residual"),
            sa.Column("status", sa.String(16), nullable=False),
            sa.Column("model_version", sa.BigInteger, nullable=False),
            sa.Column("predicted_class", sa.String(500)), sa.Column("label_class", sa.String(500)),
            sa.Column("probabilities", sa.Text), *numbers("distance", "lower", "upper"),
        ),
        EVENTS: sa.Table(
            f"{start}events", metadata, *where(), key("kind", 16), key("channel", 100),
            moment("time"),
            *numbers("before", "after", "size"),
        ),
        SCORES: sa.Table(
            f"{start}scores", metadata, *where(), moment("time"), *numbers(*SCORE_COLUMNS)
        ),
    }  # fmt: skip


class Upserts:
    """Writes rows in one transaction per part; makes the tables where they are missing."""

    def __init__(self, engine: sa.Engine, prefix: str) -> None:
        self._engine, self._tables = engine, tables(prefix)
        self._connection: sa.Connection | None = None

    def __call__(self, part: Sequence[Row]) -> None:
        """Write all of them, or none and raise Refused."""
        try:
            connection = self._connected()
            with connection.begin():
                for name, table in self._tables.items():
                    rows = _last_of_each(table, [row for where, row in part if where == name])
                    if rows:
                        self._write(connection, table, rows)
        except (SQLAlchemyError, OSError) as failed:
            never = _is_about_the_row(failed)
            if not never:
                self.close()
            why = database.why(self._engine, failed)
            raise Refused(why, status=TAKEN_BACK if never else 0) from None

    def close(self) -> None:
        """Close the connection, if it can be closed."""
        if self._connection is not None:
            self._connection.invalidate()
            self._connection.close()
            self._connection = None

    def _connected(self) -> sa.Connection:
        if self._connection is None:
            connection = self._engine.connect()
            try:
                with connection.begin():
                    self._tables[PREDICTIONS].metadata.create_all(connection)
                    for table in self._tables.values():
                        _add_missing(connection, table)
            except SQLAlchemyError:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _write(
        self, connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]
    ) -> None:
        dialect = self._engine.dialect.name
        if dialect == "sqlite":
            once: Any = sqlite.insert(table)
            connection.execute(_on_conflict(once, table), rows)
        elif dialect == "postgresql":
            rows_as_json = json.dumps(rows, default=datetime.isoformat)
            connection.execute(_from_json(table, self._engine.dialect), {"rows": rows_as_json})
        elif dialect in {"mysql", "mariadb"}:
            insert = mysql.insert(table).values(rows)
            new = {column.name: insert.inserted[column.name] for column in _others(table)}
            connection.execute(insert.on_duplicate_key_update(new))
        else:
            keys = [
                sa.and_(*(column == row[column.name] for column in table.primary_key))
                for row in rows
            ]
            connection.execute(table.delete().where(sa.or_(*keys)))
            connection.execute(table.insert(), rows)


def _add_missing(connection: sa.Connection, table: sa.Table) -> None:
    """Add the columns that a table of an earlier version lacks."""
    found = sa.inspect(connection).get_columns(table.name, schema=table.schema)
    there = {column["name"].casefold() for column in found}
    write = connection.dialect.identifier_preparer
    for column in table.columns:
        if column.name.casefold() not in there:
            kind = column.type.compile(connection.dialect)
            name = f"{write.format_table(table)} add {write.format_column(column)} {kind}"
            connection.execute(sa.text(f"alter table {name}"))


def _from_json(table: sa.Table, dialect: sa.Dialect) -> Any:
    """PostgreSQL's own statement, all rows in one parameter: a parameter per cell takes SQLAlchemy
    and the driver ten times as long."""
    quote = dialect.identifier_preparer
    names = ", ".join(quote.quote(column.name) for column in table.columns)
    cells = f"json_populate_recordset(null::{quote.format_table(table)}, cast(:rows as json))"
    chosen = sa.text(f"select {names} from {cells}")  # noqa: S608 - names of our own, quoted
    insert: Any = postgresql.insert(table).from_select(
        [column.name for column in table.columns], chosen.columns(*table.columns)
    )
    return _on_conflict(insert, table)


def _on_conflict(insert: Any, table: sa.Table) -> Any:
    new = {column.name: insert.excluded[column.name] for column in _others(table)}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=new)


def _others(table: sa.Table) -> list[sa.Column[Any]]:
    return [column for column in table.columns if not column.primary_key]


def _last_of_each(table: sa.Table, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The newest of rows with one key: no statement may write a row twice."""
    keys = [column.name for column in table.primary_key]
    return list({tuple(row[name] for name in keys): row for row in rows}.values())


def _is_about_the_row(failed: Exception) -> bool:
    """Whether another try with the same row would fail as well."""
    said = getattr(failed, "orig", None)
    first = said.args[0] if said is not None and said.args else None
    if isinstance(first, dict):
        return str(first.get("C", "")).startswith(NEVER)
    if isinstance(failed, DataError | IntegrityError):
        return True
    return isinstance(failed, StatementError) and isinstance(said, OverflowError | UnicodeError)
