"""What leaves this machine is encrypted unless somebody said that it need not be, and `check` notes
that."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ingest.rejects import Rejects
from ingest.sources import influxdb as history
from ingest.sources import poll, sql
from monitoring.sinks import influxdb, mlflow
from serving.check import check
from streamgauge import database
from streamgauge.schema import Channel, Schema
from tests.services.postgresql import PostgreSQL, postgresql

SCHEMA = Schema([Channel("load")])
ELSEWHERE = "http://plant.example:8086"


def source(plugin: Any, **options: Any) -> Any:
    """A source that is not started."""
    return plugin.open(SCHEMA, 0, lambda: 0, Rejects(), **options)


OPENED = {
    "poll": lambda **more: source(poll, rows="$[*]", **more),
    "history": lambda **more: source(history, database="d", measurement="m", **more),
    "influxdb": lambda **more: influxdb.open([], "s", Path(), lambda: 0, **more),
    "mlflow": lambda **more: mlflow.open([], "s", Path(), lambda: 0, **more),
}


@pytest.mark.parametrize("name", OPENED)
def test_http_elsewhere_is_refused_unless_it_is_allowed(name: str) -> None:
    """On this machine it is not; `tls = true` forbids it here as well."""
    opened: Any = OPENED[name]
    with pytest.raises(ValueError, match=r"plant\.example.*https://, or tls = false"):
        opened(url=ELSEWHERE)
    with pytest.raises(ValueError, match="write https://"):
        opened(url="http://127.0.0.1:8086", tls=True)
    for url, more in (
        (ELSEWHERE, {"tls": False}),
        (ELSEWHERE.replace("http", "https"), {}),
        ("http://localhost:8086", {}),
    ):
        one = opened(url=url, **more)
        one.close() if hasattr(one, "close") else one.stop()


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL that does not speak TLS."""
    with postgresql() as one:
        yield one


def test_a_postgresql_elsewhere_is_asked_with_tls(
    server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that does not speak it is refused before it gets the password, unless `tls = false`."""
    login: Any = {"url": server.url, "password": server.password, "query": "select 1 as one"}
    assert len(sql.sample(**login)) == 1
    with pytest.raises(OSError, match="SSL"):
        sql.sample(**login, tls=True)
    monkeypatch.setattr(database, "is_loopback", lambda _: False)  # as if it were elsewhere
    with pytest.raises(OSError, match="SSL") as refused:
        sql.sample(**login)
    assert server.password not in str(refused.value)
    assert len(sql.sample(**login, tls=False)) == 1


def test_a_certificate_authority_that_is_not_there() -> None:
    """It is named; for other databases there is none to name."""
    with pytest.raises(ValueError, match=r"ca = 'no\.pem' cannot be read"):
        database.engine("postgresql://me@plant.example/plant", ca=Path("no.pem"))
    with pytest.raises(ValueError, match="for PostgreSQL"):
        database.engine("sqlite://", ca=Path("no.pem"))


CONFIG = f"""
[[source]]
use = "influxdb"
url = "{ELSEWHERE}"
tls = false
database = "d"
measurement = "m"
[[source]]
use = "poll"
url = "{ELSEWHERE}"
tls = false
rows = "$[*]"
[[source]]
use = "sql"
url = "postgresql://me@plant.example/plant"
tls = false
table = "r"
[[sink]]
use = "influxdb"
url = "{ELSEWHERE}"
tls = false
[[sink]]
use = "sql"
url = "postgresql://me@plant.example/plant"
tls = false
[channels.load]
"""


def test_check_notes_what_is_not_encrypted(tmp_path: Path) -> None:
    """Each source and each sink."""
    path, said = tmp_path / "pipeline.toml", io.StringIO()
    path.write_text(CONFIG, encoding="utf-8")
    assert check(path, {}, said) == 0, said.getvalue()
    told = " ".join(said.getvalue().split())
    for note in (
        "influxdb: tls = false: plant.example is read unencrypted",
        "poll: tls = false: plant.example is read unencrypted",
        "sql: tls = false: the database is used unencrypted",
        "influxdb: tls = false: plant.example is written unencrypted",
    ):
        assert note in told, told
