"""Points of a measurement in the order of their times, by InfluxQL over HTTP."""

import json
from collections.abc import Iterator, Sequence
from typing import Any
from urllib.parse import urlsplit

import pandas as pd

from ingest.columns import Columns
from ingest.rejects import Rejects
from ingest.sources._table_reader import Piece
from streamgauge.delivery import Position
from streamgauge.hosts import web_server

__all__ = ["Points", "Server", "quoted"]

MOST_AT_ONCE = 1_000_000
"""Points of one time that are still read together."""


def quoted(name: str) -> str:
    """A name as InfluxQL writes it, whatever is in it."""
    escaped = name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


class Server:
    """One database of one server."""

    def __init__(
        self,
        url: str,
        database: str,
        login: tuple[str, str],
        token: str,
        timeout: float,
        tls: bool | None,
    ) -> None:
        import httpx

        scheme, host = web_server(url, tls)
        parts = urlsplit(url)
        self._where = f"{scheme}://{host}:{parts.port or 8086}"
        self._url, self._database = url.rstrip("/"), database
        self._secrets = [text for text in (login[1], token, parts.password) if text]
        self._client = httpx.Client(
            timeout=timeout,
            auth=login if login[0] else None,
            headers={"Authorization": f"Token {token}"} if token else {},
        )

    def ask(self, query: str) -> pd.DataFrame:
        """What a query answers, its column `time` as times; OSError where it is refused."""
        import httpx

        wanted = {"db": self._database, "q": query, "epoch": "ns"}
        try:
            answer = self._client.get(f"{self._url}/query", params=wanted)
        except httpx.HTTPError as unreached:
            raise OSError(self._without_secrets(f"is not reached: {unreached}")) from None
        said = _parsed(answer.content)
        results = said.get("results") or [{}]
        refused = said.get("error") or results[0].get("error") or said.get("message")
        if refused or not answer.is_success:
            text = f"answered {answer.status_code}: {refused or answer.reason_phrase}"
            raise OSError(self._without_secrets(text))
        series = results[0].get("series") or [{"columns": ["time"], "values": []}]
        table = pd.DataFrame(series[0]["values"], columns=series[0]["columns"], dtype=object)
        table["time"] = pd.to_datetime(table["time"].astype("int64"), unit="ns", utc=True)
        return table

    def _without_secrets(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return f"{self._where} {' '.join(text.split())[:300]}"

    def close(self) -> None:
        self._client.close()


def _parsed(content: bytes) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


class Points:
    """The fields and tags `names` of a measurement between two times, `rows` at a time.

    Nanoseconds UTC; `since` belongs to it and `until` does not. A page ends with the last point of
    a time, never in the middle, so that the time is all there is to remember.
    """

    waiting = False

    def __init__(
        self,
        server: Server,
        measurement: str,
        names: Sequence[str],
        columns: Columns,
        *,
        where: str,
        since: int,
        until: int,
        rows: int,
    ) -> None:
        self._server, self._measurement, self._columns = server, measurement, columns
        self._names = ", ".join(map(quoted, names))
        self._where = f" AND ({where})" if where else ""
        self._since, self._until, self._rows = since, until, rows
        self._reached = 0

    def state(self) -> dict[str, Any]:
        """`reached`: the time up to which it was read, seconds UTC."""
        return {"reached": self._reached // 10**9}

    def close(self) -> None:
        self._server.close()

    def pieces(self, after: Position, rejects: Rejects) -> Iterator[Piece]:
        """See `_table_reader.Tables`. `until` stays what it was when reading began."""
        until = int(after.get("until", self._until))
        begin, limit = int(after.get("next", self._since)), self._rows
        while begin < until:
            table = self._page(begin, until, limit)
            full, times = len(table) == limit, table["time"].astype("int64")
            if full:
                whole = table[times < times.iloc[-1]]
                if whole.empty:
                    limit = self._more(limit, int(times.iloc[-1]))
                    continue
                table, times = whole, times[: len(whole)]
            begin = int(times.iloc[-1]) + 1 if full else until
            if len(table):
                self._reached = int(times.iloc[-1])
                yield self._columns.piece(table, rejects), {"next": begin, "until": until}
            limit = self._rows

    def _page(self, begin: int, until: int, limit: int) -> pd.DataFrame:
        return self._server.ask(
            f"SELECT {self._names} FROM {self._measurement} "  # noqa: S608  # quoted by `open`
            f"WHERE time >= {begin} AND time < {until}{self._where} ORDER BY time LIMIT {limit}"
        )

    @staticmethod
    def _more(limit: int, time: int) -> int:
        if limit >= MOST_AT_ONCE:
            raise ValueError(
                f"more than {limit:,} points have the time {time} ns; narrow them with `where`"
            )
        return 2 * limit
