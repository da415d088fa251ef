"""One endpoint, asked again and again: only what is new comes back, bounded in size and time."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from hashlib import blake2b
from typing import Any

import httpx

from streamgauge.hosts import exposed

__all__ = ["Answer", "Endpoint", "Failed", "checked_url"]

LONGEST_PAUSE = 86_400.0
"""Seconds of a Retry-After that are waited: a server's mistake must not silence a source."""
_REDIRECTS = (301, 302, 303, 307, 308)
_MOVED_FOR_GET = (301, 302, 303)


class Failed(Exception):
    """Why there is no answer now; `pause` is the least time in seconds before the next try."""

    def __init__(self, why: str, pause: float = 0.0) -> None:
        super().__init__(why)
        self.pause = pause


@dataclass(frozen=True, slots=True)
class Answer:
    """A body that is not the last one, and what says so of it next time."""

    body: bytes
    etag: str
    modified: str
    digest: str


def checked_url(url: str, tls: bool | None) -> httpx.URL:
    """The URL of an endpoint; ValueError where it is none, or would be asked in the clear."""
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, TypeError) as wrong:
        raise ValueError(f"url: {wrong}; write it like https://host/path") from None
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise ValueError("url is no web address; write it like https://host/path")
    if parsed.userinfo:
        raise ValueError(
            "url: a password in the url would show in logs; use headers = "
            '{ Authorization = "Basic ${NAME}" }'
        )
    if exposed(parsed.scheme, parsed.host, tls):
        raise ValueError(
            f"url: what {parsed.host} answers could be read and forged on the way; write https://, "
            "or tls = false where the network is safe"
        )
    return parsed


class Endpoint:
    """Asks one URL; `fetch` is called by one thread.

    `request` is the JSON to POST, None for GET. Configured headers go to the URL's own host only,
    wherever it redirects to.
    """

    def __init__(
        self,
        url: httpx.URL,
        *,
        request: Any,
        headers: Mapping[str, str],
        timeout: float,
        max_bytes: int,
        redirects: int,
        tls: bool | None,
        clock: Callable[[], int],
    ) -> None:
        self._url, self._headers, self._tls, self._clock = url, dict(headers), tls, clock
        self._content = None if request is None else json.dumps(request).encode()
        self._timeout, self._max_bytes, self._redirects = timeout, max_bytes, redirects
        self._client = httpx.Client(timeout=timeout, trust_env=False)
        self.shown = f"{url.scheme}://{url.host}{f':{url.port}' if url.port else ''}{url.path}"
        """The URL without its query, which may hold a key."""
        self.etag = self.modified = self.digest = ""

    def fetch(self) -> Answer | None:
        """What is new; None where nothing is. Failed says why there is no answer."""
        deadline = time.monotonic() + self._timeout
        try:
            return self._follow(deadline)
        except httpx.HTTPError as wrong:
            said = str(wrong) or type(wrong).__name__
            raise Failed(f"{self.shown} does not answer: {said}") from None

    def settle(self, answer: Answer) -> None:
        """This answer was read: from now on only another one is new."""
        self.etag, self.modified, self.digest = answer.etag, answer.modified, answer.digest

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _follow(self, deadline: float) -> Answer | None:
        url, content = self._url, self._content
        for _ in range(self._redirects + 1):
            request = self._client.build_request(
                "GET" if content is None else "POST",
                url,
                content=content,
                headers=self._headers_for(url, content),
            )
            response = self._client.send(request, stream=True)
            try:
                if response.status_code not in _REDIRECTS or "location" not in response.headers:
                    return self._read(response, deadline)
                content = None if response.status_code in _MOVED_FOR_GET else content
                url = self._next(url, response.headers["location"])
            finally:
                response.close()
        raise Failed(f"{self.shown} redirects more than {self._redirects} times; correct url")

    def _next(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            return checked_url(str(url.join(location)), self._tls)
        except (ValueError, httpx.InvalidURL) as wrong:
            raise Failed(f"{self.shown} redirects to where we do not follow: {wrong}") from None

    def _headers_for(self, url: httpx.URL, content: bytes | None) -> dict[str, str]:
        ours = (url.scheme, url.host, url.port) == (
            self._url.scheme,
            self._url.host,
            self._url.port,
        )
        headers = {"Accept": "application/json, text/html;q=0.9, */*;q=0.8"}
        headers |= self._headers if ours else {}
        if content is not None:
            return headers | {"Content-Type": "application/json"}
        headers |= {"If-None-Match": self.etag} if self.etag else {}
        return headers | ({"If-Modified-Since": self.modified} if self.modified else {})

    def _read(self, response: httpx.Response, deadline: float) -> Answer | None:
        if response.status_code == httpx.codes.NOT_MODIFIED:
            return None
        if not response.is_success:
            raise Failed(
                f"{self.shown} answers {response.status_code} {response.reason_phrase}",
                _retry_after(response.headers.get("retry-after", ""), self._clock()),
            )
        parts, size = list[bytes](), 0
        for part in response.iter_bytes():
            size += len(part)
            if size > self._max_bytes:
                raise Failed(
                    f"{self.shown} answers more than max_bytes = {self._max_bytes:,}; ask for less "
                    "or raise it"
                )
            if time.monotonic() > deadline:
                raise Failed(f"{self.shown} was not done within timeout = {self._timeout:g} s")
            parts.append(part)
        body = b"".join(parts)
        digest = blake2b(body, digest_size=16).hexdigest()
        headers = response.headers
        if digest == self.digest:
            return None
        return Answer(body, headers.get("etag", ""), headers.get("last-modified", ""), digest)


def _retry_after(text: str, now: int) -> float:
    """Seconds of a Retry-After header, which is a number or a date; 0 where it says nothing."""
    try:
        if text.isdigit():
            seconds = float(text)
        else:
            seconds = parsedate_to_datetime(text).timestamp() - now / 1e6
    except (ValueError, TypeError):
        return 0.0
    return min(max(seconds, 0.0), LONGEST_PAUSE)
