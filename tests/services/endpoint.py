"""A real HTTP server on a free loopback port that answers as a test tells it to."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Asked", "Endpoint", "Said", "endpoint"]


@dataclass(frozen=True, slots=True)
class Asked:
    """A request that came; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Said:
    """An answer. With an `etag`, a request that knows it is answered 304, as servers do."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    etag: str = ""
    modified: str = ""


class Endpoint:
    """The server: `say` is asked for each answer; `asked` are the requests so far."""

    def __init__(self, say: Callable[[Asked], Said]) -> None:
        self.say, self.asked = say, list[Asked]()
        self.statuses: list[int] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                headers = {name.lower(): value for name, value in self.headers.items()}
                asked = Asked(self.command, self.path, headers, body)
                said = outer.say(asked)
                known = said.etag and headers.get("if-none-match") == said.etag
                known = known or (
                    said.modified and headers.get("if-modified-since") == said.modified
                )
                self.send_response(304 if known else said.status)
                for name, value in said.headers.items():
                    self.send_header(name, value)
                if said.etag:
                    self.send_header("ETag", said.etag)
                if said.modified:
                    self.send_header("Last-Modified", said.modified)
                body = b"" if known else said.body
                self.send_header("Content-Length", str(len(body)))
                # Who has the answer finds its request here.
                outer.asked.append(asked)
                outer.statuses.append(304 if known else said.status)
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = _answer  # noqa: N815  # the names that http.server calls

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def endpoint(say: Callable[[Asked], Said]) -> Iterator[Endpoint]:
    """A running server for the length of the context."""
    server = Endpoint(say)
    server.start()
    try:
        yield server
    finally:
        server.stop()
