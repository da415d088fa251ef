"""An HTTP connection that ends when its client stops in the middle of a request."""

import asyncio
from http import HTTPStatus

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from serving.api.problems import Problem, response

__all__ = ["SILENT_SECONDS", "Connection"]

SILENT_SECONDS = 10.0
"""How long a client may say nothing while its request is not complete."""


class Connection(H11Protocol):
    """uvicorn's own limits only the pause between two requests."""

    _silence: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        super().connection_made(transport)
        self._watch()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def _unwatch(self) -> None:
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    def _watch(self) -> None:
        self._unwatch()
        if self.conn.their_state in (h11.IDLE, h11.SEND_BODY) and not self.transport.is_closing():
            self._silence = self.loop.call_later(SILENT_SECONDS, self._fell_silent)

    def _fell_silent(self) -> None:
        if self.flow.read_paused:  # it is us who do not listen
            self._watch()
        elif self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and self._began():
            path = self.scope["path"] if self.conn.our_state is h11.SEND_RESPONSE else ""
            self._refuse(path)
        else:
            self.transport.close()

    def _began(self) -> bool:
        return self.conn.their_state is h11.SEND_BODY or bool(self.conn.trailing_data[0])

    def _refuse(self, path: str) -> None:
        answer = response(
            Problem(
                408,
                f"nothing came for {SILENT_SECONDS:g} s and the request is not complete: nothing "
                "of it was taken; send it again",
                headers={"Connection": "close"},
            ),
            path,
        )
        send, write = self.conn.send, self.transport.write
        reason = HTTPStatus.REQUEST_TIMEOUT.phrase.encode()
        head = h11.Response(status_code=408, headers=answer.raw_headers, reason=reason)
        for event in (head, h11.Data(data=bytes(answer.body)), h11.EndOfMessage()):
            write(send(event) or b"")
        self.transport.close()
