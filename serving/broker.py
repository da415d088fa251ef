"""The demo's MQTT broker: amqtt in a thread of this process, loopback only.

For looking at streamgauge, not for production: it speaks MQTT 3.1.1 only and does not redeliver
what was never acknowledged. Use Mosquitto or another broker in earnest.
"""

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from amqtt.broker import Broker

__all__ = ["broker", "free_from"]

START_SECONDS = 10.0
STOP_SECONDS = 2.0


@contextmanager
def broker() -> Iterator[int]:
    """Run a broker on a free loopback port while the context is open; gives the port."""
    logging.getLogger("amqtt").setLevel(logging.ERROR)
    logging.getLogger("transitions").setLevel(logging.ERROR)
    port = free_from(1883)
    started, stop = threading.Event(), threading.Event()
    thread = threading.Thread(
        target=lambda: asyncio.run(_serve(port, started, stop)), name="broker", daemon=True
    )
    thread.start()
    if not started.wait(START_SECONDS):
        raise RuntimeError(f"the embedded broker did not start on port {port} in time")
    try:
        yield port
    finally:
        stop.set()
        thread.join(STOP_SECONDS)


async def _serve(port: int, started: threading.Event, stop: threading.Event) -> None:
    config = {
        "listeners": {"default": {"type": "tcp", "bind": f"127.0.0.1:{port}"}},
        "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
    }
    server = Broker(config)
    await server.start()
    started.set()
    await asyncio.to_thread(stop.wait)
    await server.shutdown()
    # The broker may leave connections open, which would be noticed when they are collected.
    for transport in list(getattr(asyncio.get_running_loop(), "_transports", {}).values()):
        transport.abort()
    await asyncio.sleep(0)


def free_from(port: int) -> int:
    """`port` if nothing listens there on loopback, else a free one."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
