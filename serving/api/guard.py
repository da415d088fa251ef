"""What stands before every route: the key, the Host header, and the headers of each answer."""

from collections.abc import Sequence
from typing import Annotated
from urllib.parse import unquote, urlsplit

from fastapi import Request, Security
from fastapi.security import APIKeyCookie, APIKeyHeader, HTTPAuthorizationCredentials, HTTPBearer
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.api.access import Scope as KeyScope
from serving.api.problems import Problem, response
from serving.api.service import Read, Service
from streamgauge.hosts import is_loopback

__all__ = [
    "COOKIE",
    "AnswerHeaders",
    "KnownHosts",
    "RawPaths",
    "SmallBodies",
    "authorised",
    "may_write",
]

COOKIE = "streamgauge_session"
SMALL_BYTES = 16_384
"""Of a body where none is long."""

_BEARER = HTTPBearer(auto_error=False, description="An API key as a bearer token.")
_HEADER = APIKeyHeader(name="X-API-Key", auto_error=False, description="An API key.")
_COOKIE = APIKeyCookie(name=COOKIE, auto_error=False, description="Set by POST /login.")

_ANSWER_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(_BEARER)]
Key = Annotated[str | None, Security(_HEADER)]


async def authorised(
    service: Read,
    bearer: Bearer,
    key: Key,
    session: Annotated[str | None, Security(_COOKIE)],
) -> None:
    """Problem 401 unless the request shows a key or a session, or the service has no keys; 403
    where the key is for posting only."""
    if not service.access.is_open and not service.access.has_session(session):
        _require(service, "read", bearer, key, "serve.api_keys or serve.read_keys")


async def may_write(request: Request, service: Read, bearer: Bearer, key: Key) -> None:
    """Problem 401 unless the request shows a key, or the service has none; 403 where the key is for
    reading only, or where a browser posts for a page of somebody else's.

    A session does not do: what a browser sends along by itself must not teach the models.
    """
    origin = request.headers.get("origin")
    if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
        raise Problem(
            403,
            f"a page of {origin[:100]!r} may not post here; post from a program, with an API key",
        )
    if not service.access.is_open:
        _require(service, "write", bearer, key, "serve.api_keys or serve.write_keys")


def _require(
    service: Service,
    scope: KeyScope,
    bearer: HTTPAuthorizationCredentials | None,
    key: str | None,
    where: str,
) -> None:
    given = bearer.credentials if bearer else key
    scopes = service.access.scopes(given.encode("latin-1")) if given is not None else ()
    if scope in scopes:
        return
    if scopes:
        raise Problem(403, f"this API key may only {scopes[0]}; use one of {where}")
    found = "no API key came with the request" if given is None else "the API key is unknown"
    raise Problem(
        401,
        f"{found}; send one as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
        + (", or log in on the page" if scope == "read" else ""),
        headers={"WWW-Authenticate": 'Bearer realm="streamgauge"'},
    )


class KnownHosts:
    """Refuses requests whose Host header is neither loopback nor one of `hosts`.

    Without keys this is what keeps a web page elsewhere from reading the API through the browser of
    somebody on this machine (DNS rebinding).
    """

    def __init__(self, app: ASGIApp, hosts: Sequence[str]) -> None:
        self.app = app
        self.hosts = frozenset(host.lower() for host in hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        given = Headers(scope=scope).get("host", "")
        host = given if given.endswith("]") else given.rpartition(":")[0] or given
        if is_loopback(host) or host.lower() in self.hosts:
            await self.app(scope, receive, send)
            return
        problem = Problem(
            421,
            f"the request names the host {given[:100]!r}, which is not this service; "
            "use a loopback address, or add the name to serve.hosts",
        )
        await response(problem, scope["path"])(scope, receive, send)


class SmallBodies:
    """Refuses a body that is longer than a login's, or whose length is not said, where no route
    reads it piece by piece: anybody may send one, before any key is looked at."""

    def __init__(self, app: ASGIApp, but: Sequence[str]) -> None:
        self.app = app
        self.but = frozenset(but)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = self._problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self.app(scope, receive, send)
        else:
            await response(problem, scope["path"])(scope, receive, send)

    def _problem(self, scope: Scope) -> Problem | None:
        if scope["path"] in self.but:
            return None
        headers, close = Headers(scope=scope), {"Connection": "close"}
        if "transfer-encoding" in headers:
            return Problem(411, "send the body in one piece, with Content-Length", headers=close)
        length = headers.get("content-length", "0")
        if length.isdigit() and int(length) > SMALL_BYTES:
            return Problem(
                413,
                f"a body of {length} bytes; at most {SMALL_BYTES:,} are read here",
                headers=close,
            )
        return None


class RawPaths:
    """Leaves the paths under /v1 percent-encoded, so that a device id may contain a slash.

    Routes decode their own parameters with :func:`urllib.parse.unquote`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        raw = scope.get("raw_path")
        if scope["type"] == "http" and raw and scope["path"].startswith("/v1/"):
            encoded = raw.partition(b"?")[0].decode("latin-1")
            if unquote(encoded) == scope["path"]:
                scope = {**scope, "path": encoded}
        await self.app(scope, receive, send)


class AnswerHeaders:
    """Adds the headers that confine what a browser does with an answer."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def confined(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _ANSWER_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self.app(scope, receive, confined)
