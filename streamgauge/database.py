"""Databases by their SQLAlchemy address, without their passwords in any message."""

import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streamgauge.hosts import is_loopback

__all__ = ["engine", "notes_of", "why"]

_EXAMPLES = "postgresql://plant@dbhost/plant or sqlite:////var/lib/plant.db"
_NO_ADDRESS = f"url is no address of a database; write one like {_EXAMPLES}"
_POSTGRESQL = "postgresql+pg8000"
"""The driver that the extra `sql` brings, for an address that names none."""
_PACKAGES = {"MySQLdb": "mysqlclient", "psycopg2": "psycopg2-binary", "ibm_db_sa": "ibm-db-sa"}
"""What is installed for a module that is named otherwise."""


def engine(url: str, password: str = "", *, tls: bool | None = None, ca: Path | None = None) -> Any:
    """The database at an address; nothing is connected yet.

    A PostgreSQL beyond this machine is asked with TLS only, and its certificate checked (against
    `ca`, a file, or what the system trusts), unless `tls` is False; True asks so on this machine as
    well. Of other databases and drivers the address itself says so. ValueError for what is no
    address, or needs a package or file that is not there.
    """
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError:
        raise ValueError(
            "url needs the package sqlalchemy; run: pip install 'streamgauge[sql]'"
        ) from None
    address = _address(url, password)
    arguments = _encrypted(address, tls, ca)
    try:
        # A pool would hold connections that a restart of the server has cut.
        return sqlalchemy.create_engine(
            address, poolclass=sqlalchemy.NullPool, connect_args=arguments
        )
    except NoSuchModuleError:
        raise ValueError(
            f"url names no kind of database that is known here; write one like {_EXAMPLES}, or "
            "install the package that knows it"
        ) from None
    except (ArgumentError, ValueError):
        raise ValueError(_NO_ADDRESS) from None
    except ImportError as missing:
        package = _PACKAGES.get(missing.name or "", missing.name or "the driver")
        extra = "'streamgauge[sql]'" if package == "pg8000" else package
        raise ValueError(f"url needs the package {package}; run: pip install {extra}") from None


def _address(url: str, password: str) -> Any:
    import sqlalchemy

    try:
        address = sqlalchemy.make_url(url)
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise ValueError(_NO_ADDRESS) from None
    if address.drivername in {"postgresql", "postgres"}:
        address = address.set(drivername=_POSTGRESQL)
    return address.set(password=password) if password else address


def _encrypted(address: Any, tls: bool | None, ca: Path | None) -> Mapping[str, Any]:
    ours = address.drivername == _POSTGRESQL
    if not ours and (tls or ca):
        raise ValueError("tls and ca are for PostgreSQL; write it into the url as its driver wants")
    beyond = bool(address.host) and not is_loopback(address.host)
    if not ours or tls is False or not (tls or beyond):
        return {}
    try:
        return {"ssl_context": ssl.create_default_context(cafile=ca)}
    except OSError as unread:
        raise ValueError(f"ca = {str(ca)!r} cannot be read: {unread}; name a file in PEM") from None


def notes_of(name: str, options: Mapping[str, Any]) -> list[str]:
    """What `check` notes of a plug-in whose options allow a database to go unencrypted."""
    if options.get("tls") is not False:
        return []
    return [f"{name}: tls = false: the database is used unencrypted where it has no TLS of its own"]


def why(database: Any, failed: Exception) -> str:
    """What a database said, on one line: without statement, parameters and password."""
    said = getattr(failed, "orig", None) or failed
    first = said.args[0] if said.args else said
    text = str(first.get("M", first)) if isinstance(first, dict) else str(said)
    secret = database.url.password
    text = text.replace(str(secret), "***") if secret else text
    where = database.url.render_as_string(hide_password=True)
    return f"{where}: {' '.join(text.split())[:300]}"
