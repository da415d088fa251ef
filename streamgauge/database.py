"""Databases by their SQLAlchemy address, without their passwords in any message."""

from typing import Any

__all__ = ["engine", "why"]

_EXAMPLES = "postgresql://plant@dbhost/plant or sqlite:////var/lib/plant.db"
_POSTGRESQL = "postgresql+pg8000"
"""The driver that the extra `sql` brings, for an address that names none."""


def engine(url: str, password: str = "") -> Any:
    """The database at an address; nothing is connected yet. ValueError for what is no address, or
    needs a package that is not installed."""
    try:
        import sqlalchemy
        from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    except ImportError:
        raise ValueError(
            "url needs the package sqlalchemy; run: pip install 'streamgauge[sql]'"
        ) from None
    try:
        address = sqlalchemy.make_url(url)
        if address.drivername in {"postgresql", "postgres"}:
            address = address.set(drivername=_POSTGRESQL)
        if password:
            address = address.set(password=password)
        # A pool would hold connections that a restart of the server has cut.
        return sqlalchemy.create_engine(address, poolclass=sqlalchemy.NullPool)
    except NoSuchModuleError:
        raise ValueError(
            f"url names no kind of database that is known here; write one like {_EXAMPLES}, or "
            "install the package that knows it"
        ) from None
    except (ArgumentError, ValueError):
        raise ValueError(f"url is no address of a database; write one like {_EXAMPLES}") from None
    except ImportError as missing:
        package = missing.name or "the driver"
        extra = "'streamgauge[sql]'" if package == "pg8000" else package
        raise ValueError(f"url needs the package {package}; run: pip install {extra}") from None


def why(database: Any, failed: Exception) -> str:
    """What a database said, on one line: without statement, parameters and password."""
    said = getattr(failed, "orig", None) or failed
    first = said.args[0] if said.args else said
    text = str(first.get("M", first)) if isinstance(first, dict) else str(said)
    secret = database.url.password
    text = text.replace(str(secret), "***") if secret else text
    where = database.url.render_as_string(hide_password=True)
    return f"{where}: {' '.join(text.split())[:300]}"
