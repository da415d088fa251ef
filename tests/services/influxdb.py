"""A real InfluxDB 1 on free loopback ports, in a folder of its own."""

import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.services.ports import free_port, program, wait_for

__all__ = ["InfluxDB1", "influxdb_1"]

CONFIG = """
reporting-disabled = true
bind-address = "127.0.0.1:{backup}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
query-log-enabled = false
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
auth-enabled = {auth}
[monitor]
store-enabled = false
"""


class InfluxDB1:
    """The server with a database `plant`. It can be stopped and started again."""

    def __init__(self, folder: Path, *, auth: bool = False) -> None:
        self._program = program("influxd", "influxdb")
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        text = CONFIG.format(
            folder=folder, port=self.port, backup=free_port(), auth=str(auth).lower()
        )
        (folder / "influxdb.conf").write_text(text)

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "run", "-config", str(self.folder / "influxdb.conf")],
                stdout=log, stderr=log,
            )  # fmt: skip
        wait_for(self._answers, 60.0, what=f"InfluxDB, see {self.folder}/log")

    def stop(self) -> None:
        """End it; what it had taken is kept."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/ping", timeout=5):
                return True
        except OSError:
            return False

    def does(self, query: str, **login: str) -> None:
        """Run a statement; `u` and `p` are a user and its password."""
        data, where = (urllib.parse.urlencode(one) for one in ({"q": query}, login))
        with urllib.request.urlopen(
            f"{self.url}/query?{where}", data.encode(), timeout=10
        ) as answer:
            assert b"error" not in answer.read()

    def write(self, lines: str, database: str = "plant", **login: str) -> None:
        """Points in line protocol, their times in nanoseconds; see `does`."""
        where = urllib.parse.urlencode({"db": database} | login)
        with urllib.request.urlopen(
            f"{self.url}/write?{where}", lines.encode(), timeout=10
        ) as answer:
            assert answer.status == 204


@contextmanager
def influxdb_1(folder: Path, *, auth: bool = False) -> Iterator[InfluxDB1]:
    """A server for the length of the context; skips the test where it is not installed."""
    server = InfluxDB1(folder, auth=auth)
    try:
        server.start()
        yield server
    finally:
        server.stop()
