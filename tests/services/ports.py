"""Free loopback ports, waiting for a condition, and the rule for servers that are missing."""

import os
import shutil
import socket
import time
from collections.abc import Callable
from typing import NoReturn

import pytest

__all__ = ["absent", "free_port", "listening", "program", "wait_for"]


def free_port() -> int:
    """A loopback port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int) -> bool:
    """Whether something accepts connections on that loopback port."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_for(condition: Callable[[], object], seconds: float = 15.0, *, what: str = "") -> None:
    """Return as soon as the condition holds; fail the test if it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"waited {seconds:g} s in vain for {what or condition}")
        time.sleep(0.01)


def program(name: str, package: str) -> str:
    """Path of a server's program, /usr/sbin included; skips the test where it is not installed."""
    path = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")
    return path or absent(f"{name} is not installed; apt-get install {package}")


def absent(reason: str) -> NoReturn:
    """Skip the test for want of a server; fail it where STREAMGAUGE_REQUIRE_SERVICES=1."""
    if os.environ.get("STREAMGAUGE_REQUIRE_SERVICES") == "1":
        pytest.fail(reason)
    pytest.skip(reason)
