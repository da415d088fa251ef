"""A real Mosquitto broker on a free loopback port, with its own configuration and files."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.services.ports import free_port, listening, program, wait_for

__all__ = ["Mosquitto", "certificates", "mosquitto"]


class Mosquitto:
    """The broker; `url` is where it listens. It can be stopped and started again."""

    def __init__(
        self,
        folder: Path,
        *,
        persistence: bool = False,
        passwords: dict[str, str] | None = None,
        tls: bool = False,
        require_certificate: bool = False,
        websockets: bool = False,
        extra: tuple[str, ...] = (),
    ) -> None:
        self._program = program("mosquitto", "mosquitto")
        self._passwd = program("mosquitto_passwd", "mosquitto") if passwords else ""
        self.folder, self.port = folder, free_port()
        folder.mkdir(parents=True, exist_ok=True)
        scheme = ("ws" if websockets else "mqtt") + ("s" if tls else "")
        self.url = f"{scheme}://localhost:{self.port}"
        self.ca = folder / "ca.pem"
        self._process: subprocess.Popen[bytes] | None = None
        lines = [f"listener {self.port} 127.0.0.1"]
        if websockets:
            # Mosquitto 2.0 does not start on websockets alone, nor binds them without a domain.
            plain = f"listener {free_port()} 127.0.0.1"
            lines = [plain, *lines, "socket_domain ipv4", "protocol websockets"]
        lines += ["max_queued_messages 0", "log_type all", *extra]
        # Run by root, Mosquitto would otherwise become a user who may not read this folder.
        lines += ["user root"] if os.geteuid() == 0 else []
        if persistence:
            lines += ["persistence true", f"persistence_location {folder}/"]
        lines += self._users(passwords) if passwords else ["allow_anonymous true"]
        if tls:
            certificates(folder)
            lines += [f"certfile {folder}/server.pem", f"keyfile {folder}/server.key"]
        if require_certificate:
            lines += [f"cafile {folder}/ca.pem", "require_certificate true"]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._program, "-c", str(self.folder / "mosquitto.conf")], stdout=log, stderr=log
            )
        wait_for(lambda: listening(self.port), what=f"Mosquitto, see {self.folder}/log")

    def stop(self) -> None:
        """Stop it; what it persists is written."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait()
            self._process = None

    def restart(self) -> None:
        """Stop and start again on the same port."""
        self.stop()
        self.start()

    @property
    def log(self) -> str:
        """What it has logged so far, every packet included."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def _users(self, passwords: dict[str, str]) -> list[str]:
        file = self.folder / "passwords"
        file.touch(mode=0o600)
        for user, password in passwords.items():
            command = [self._passwd, "-b", str(file), user, password]
            subprocess.run(command, check=True, capture_output=True)
        return ["allow_anonymous false", f"password_file {file}"]


@contextmanager
def mosquitto(folder: Path, **options: Any) -> Iterator[Mosquitto]:
    """A running broker for the length of the context, with options as of `Mosquitto`; skips the
    test where there is none."""
    broker = Mosquitto(folder, **options)
    try:
        broker.start()
        yield broker
    finally:
        broker.stop()


def certificates(folder: Path) -> None:
    """Make ca.pem, and server.pem and client.pem with their keys, for "localhost", in a folder."""
    openssl = program("openssl", "openssl")
    new = [openssl, "req", "-newkey", "rsa:2048", "-nodes"]
    authority = ["-x509", "-days", "2", "-subj", "/CN=test authority"]
    commands = [[*new, *authority, "-keyout", "ca.key", "-out", "ca.pem"]]
    (folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n", encoding="utf-8")
    for name in ("server", "client"):
        commands += [
            [*new, "-subj", "/CN=localhost", "-keyout", f"{name}.key", "-out", f"{name}.csr"],
            [
                openssl, "x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem",
            ],
        ]  # fmt: skip
    for command in commands:
        subprocess.run(command, cwd=folder, check=True, capture_output=True)
