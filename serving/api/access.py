"""Who may ask: API keys, browser sessions, and the limit on wrong guesses."""

import hmac
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Literal

from serving.api.problems import Problem
from streamgauge.hosts import is_loopback

__all__ = ["KEY_VARIABLE", "Access", "OpenBind", "Scope", "refuse_open_bind"]

Scope = Literal["read", "write"]
"""What a key is good for: to ask, or to post readings and labels."""

KEY_VARIABLE = "STREAMGAUGE_API_KEY"
SESSION_LASTS = 12 * 3600 * 10**6
SESSIONS_KEPT = 1_000
GUESSES = 5
GUESSES_PER = 60 * 10**6
ADDRESSES_KEPT = 10_000


class OpenBind(ValueError):
    """The API would be open to the network without a key."""


def refuse_open_bind(host: str, keys: Sequence[str]) -> None:
    """OpenBind, with the remedy, when `host` can be reached from elsewhere and there is no key."""
    if keys or is_loopback(host):
        return
    raise OpenBind(
        f"serve.host is {host!r}, which other machines can reach, and no API key is set; set "
        f'{KEY_VARIABLE} (python -c "import secrets; print(secrets.token_urlsafe(32))" makes one) '
        'or bind to "127.0.0.1"'
    )


class Access:
    """The keys of the service and the sessions of browsers that showed one.

    `keys` are good for everything, `read_keys` for asking, `write_keys` for posting readings.
    Keys are kept and compared as SHA-256 digests in constant time. A session is a random token that
    ends after twelve hours, at logout, or when the service restarts. After five wrong keys within
    a minute an address has to wait. Used by one event loop only.
    """

    def __init__(
        self,
        keys: Sequence[str],
        clock: Callable[[], int],
        *,
        read_keys: Sequence[str] = (),
        write_keys: Sequence[str] = (),
    ) -> None:
        scopes: dict[str, Sequence[Scope]] = dict.fromkeys(read_keys, ("read",))
        for key in write_keys:
            scopes[key] = ("write", *scopes.get(key, ()))
        scopes |= dict.fromkeys(keys, ("read", "write"))
        self._digests = [(sha256(key.encode()).digest(), scopes[key]) for key in scopes]
        self._clock = clock
        self._sessions: OrderedDict[bytes, int] = OrderedDict()
        self._guesses: OrderedDict[str, deque[int]] = OrderedDict()

    @property
    def is_open(self) -> bool:
        """True when there are no keys, so that everybody on this machine may ask."""
        return not self._digests

    def scopes(self, key: bytes) -> Sequence[Scope]:
        """What this key is good for; nothing where it is none of the keys."""
        given = sha256(key).digest()
        matches = [its for digest, its in self._digests if hmac.compare_digest(given, digest)]
        return matches[0] if matches else ()

    def log_in(self, key: str, address: str) -> str:
        """A new session's token for a browser that showed a key; Problem 401 or 429 otherwise."""
        self._refuse_guessing(address)
        if "read" not in self.scopes(key.encode()):
            self._guesses.setdefault(address, deque(maxlen=GUESSES)).append(self._clock())
            while len(self._guesses) > ADDRESSES_KEPT:
                self._guesses.popitem(last=False)
            raise Problem(
                401,
                f"this is none of the service's API keys; enter one of those in {KEY_VARIABLE}",
                headers={"WWW-Authenticate": 'Bearer realm="streamgauge"'},
            )
        token = secrets.token_urlsafe(32)
        self._sessions[sha256(token.encode()).digest()] = self._clock() + SESSION_LASTS
        while len(self._sessions) > SESSIONS_KEPT:
            self._sessions.popitem(last=False)
        return token

    def _refuse_guessing(self, address: str) -> None:
        guesses = self._guesses.get(address, deque[int]())
        wait = GUESSES_PER - (self._clock() - guesses[0]) if len(guesses) == GUESSES else 0
        if wait > 0:
            seconds = -(-wait // 10**6)
            raise Problem(
                429,
                f"{GUESSES} wrong keys came from {address} within a minute; "
                f"wait {seconds} seconds, then enter the right one",
                headers={"Retry-After": str(seconds)},
            )

    def has_session(self, token: str | None) -> bool:
        """True when the token is that of a session that has not ended."""
        if token is None:
            return False
        return self._sessions.get(sha256(token.encode()).digest(), 0) > self._clock()

    def log_out(self, token: str | None) -> None:
        """End the session."""
        if token is not None:
            self._sessions.pop(sha256(token.encode()).digest(), None)
