"""A real PostgreSQL on a free loopback port, in a folder of its own."""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.ports import absent, free_port, program, wait_for

__all__ = ["PostgreSQL", "postgresql"]

DEBIAN = Path("/usr/lib/postgresql")
USER = "postgres"
"""Who runs the server where the tests run as root, which it refuses."""


class PostgreSQL:
    """The server; `url` is its address with a password. It can be stopped and started again."""

    password = "a secret of this test"

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.url = f"postgresql://plant@127.0.0.1:{self.port}/postgres"
        self._process: subprocess.Popen[bytes] | None = None
        initdb, self._server = _found("initdb"), _found("postgres")
        secret = folder / "password"
        secret.write_text(self.password)
        if os.geteuid() == 0:
            for path in (folder, secret):
                shutil.chown(path, USER)
        arguments = ["-D", str(folder / "data"), "-U", "plant", "-A", "scram-sha-256"]
        made = subprocess.run(
            [*_as_user(), initdb, *arguments, f"--pwfile={secret}", "-E", "UTF8", "--no-sync"],
            capture_output=True, check=False, cwd="/",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr.decode()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    *_as_user(), self._server, "-D", str(self.folder / "data"),
                    "-p", str(self.port), "-h", "127.0.0.1", "-k", str(self.folder),
                    "-c", "fsync=off", "-c", "shared_buffers=16MB", "-c", "max_connections=20",
                ],
                stdout=log, stderr=log, cwd="/",
            )  # fmt: skip
        wait_for(self._ready, 30.0, what=f"PostgreSQL, see {self.folder}/log")

    def _ready(self) -> bool:
        asked = [_found("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        return subprocess.run(asked, check=False).returncode == 0

    def stop(self) -> None:
        """End it in order, cutting its connections; what was committed is kept."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(20)
            self._process = None


def _found(name: str) -> str:
    """Where Debian puts it, which is in no PATH."""
    newest = sorted(DEBIAN.glob(f"*/bin/{name}"))
    return str(newest[-1]) if newest else program(name, "postgresql")


def _as_user() -> list[str]:
    if os.geteuid() != 0:
        return []
    try:
        pwd.getpwnam(USER)
    except KeyError:
        absent(
            f"root cannot run PostgreSQL and there is no user {USER}; apt-get install postgresql"
        )
    return [
        program("setpriv", "util-linux"),
        f"--reuid={USER}",
        f"--regid={USER}",
        "--clear-groups",
    ]


@contextmanager
def postgresql() -> Iterator[PostgreSQL]:
    """A server for the length of the context; skips the test where it is not installed."""
    _found("initdb")
    # pytest's folders are closed to other users.
    with tempfile.TemporaryDirectory(prefix="postgresql-") as folder:
        server = PostgreSQL(Path(folder))
        try:
            server.start()
            yield server
        finally:
            server.stop()
