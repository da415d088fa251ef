"""The HTTP server in a thread of its own."""

import socket
from threading import Thread

import uvicorn
from starlette.types import ASGIApp

from serving.api.connection import Connection
from serving.live import Live

__all__ = ["CannotListen", "HttpServer"]

STOP_SECONDS = 1
"""Time that open requests have to end; live streams end at once."""


class CannotListen(OSError):
    """The address is taken or not of this machine."""


class _Uvicorn(uvicorn.Server):
    """Ends the live streams before it waits for open requests: they have no end of their own."""

    def __init__(self, config: uvicorn.Config, live: Live) -> None:
        super().__init__(config)
        self._live = live

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._live.close()
        await super().shutdown(sockets)


class HttpServer:
    """Serves `app` at `host`:`port` from a thread between `start` and `stop`.

    The socket is bound when the object is made, so a port that is taken is known at once
    (CannotListen); port 0 takes a free one. `url` says where it listens.
    """

    def __init__(self, app: ASGIApp, live: Live, *, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        # Only of a socket that names its protocol does asyncio switch Nagle's delay off: answers on
        # a connection that is kept open would wait 40 ms.
        self._socket = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((host, port))
        except OSError as error:
            self._socket.close()
            raise CannotListen(
                f"cannot listen on {host}:{port}: {error.strerror or error}; "
                "stop what listens there, or choose another serve.host or serve.port"
            ) from error
        self.port: int = self._socket.getsockname()[1]
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.port}"
        config = uvicorn.Config(
            app,
            http=Connection,
            log_config=None,  # its records go where all others do
            log_level="warning",
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
        self._server = _Uvicorn(config, live)
        self._thread = Thread(target=self._run, name="http", daemon=True)

    def _run(self) -> None:
        self._server.run(sockets=[self._socket])

    def start(self) -> None:
        """Begin to answer; connections made before are kept waiting, not refused."""
        self._socket.listen(2048)
        self._thread.start()

    @property
    def alive(self) -> bool:
        """True while the thread serves."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Answer what is open, end the live streams, and return when the thread has ended."""
        self._server.should_exit = True
        if self._thread.ident is None:
            self._socket.close()
            return
        self._thread.join(2 * STOP_SECONDS)
