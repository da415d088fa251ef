"""A TCP proxy on loopback that can stall, cut, refuse and resume what goes through it."""

import selectors
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["Proxy", "proxy"]


class Proxy:
    """Listens on `port` and connects each client to the server's port."""

    def __init__(self, server: int) -> None:
        self._server = server
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open, self._stopping = threading.Event(), threading.Event()
        self._open.set()
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._cut = self._refusing = False
        self._thread = threading.Thread(target=self._run, name="proxy", daemon=True)
        self._thread.start()

    def stall(self) -> None:
        """Pass nothing on, as a network that is gone: nobody is told."""
        self._open.clear()

    def cut(self) -> None:
        """End every connection; new ones are made."""
        self._cut = True

    def refuse(self) -> None:
        """End every connection, and each new one at once."""
        self._refusing = self._cut = True

    def resume(self) -> None:
        """Pass on what waited, and what comes."""
        self._refusing = False
        self._open.set()

    def stop(self) -> None:
        """End everything."""
        self._stopping.set()
        self._open.set()
        self._thread.join()

    def _run(self) -> None:
        with selectors.DefaultSelector() as selector, self._listener:
            selector.register(self._listener, selectors.EVENT_READ)
            while not self._stopping.is_set():
                if not self._open.wait(0.02):
                    continue
                if self._cut:
                    self._end(selector, list(self._pairs))
                    self._cut = False
                for key, _ in selector.select(0.02):
                    self._pass(selector, key.fileobj)  # type: ignore[arg-type]  # sockets only
            self._end(selector, list(self._pairs))

    def _pass(self, selector: selectors.BaseSelector, ready: socket.socket) -> None:
        if ready is self._listener:
            client, _ = self._listener.accept()
            try:
                if self._refusing:
                    raise ConnectionRefusedError
                server = socket.create_connection(("127.0.0.1", self._server))
            except OSError:
                client.close()
                return
            self._pairs |= {client: server, server: client}
            for one in (client, server):
                selector.register(one, selectors.EVENT_READ)
        elif ready in self._pairs:
            with suppress(OSError):
                data = ready.recv(65_536)
                if data:
                    self._pairs[ready].sendall(data)
                    return
            self._end(selector, [ready])

    def _end(self, selector: selectors.BaseSelector, ends: list[socket.socket]) -> None:
        for one in ends:
            other = self._pairs.pop(one, None)
            if other is not None:
                self._pairs.pop(other, None)
                for end in (one, other):
                    selector.unregister(end)
                    end.close()


@contextmanager
def proxy(server: int) -> Iterator[Proxy]:
    """A proxy to that loopback port for the length of the context."""
    one = Proxy(server)
    try:
        yield one
    finally:
        one.stop()
