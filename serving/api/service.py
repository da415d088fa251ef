"""What the routes read: one immutable value, given to the application when it is composed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, Request

from ingest.rejects import Reject
from monitoring.alerts.outbox import Outbox
from serving.api.access import Access
from serving.api.history import History
from serving.api.intake import Intake
from serving.live import Live
from stream_processor.views import Board

__all__ = ["Part", "Read", "Service", "States"]

States = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""Kind ("source", "sink", "journal") → name → what its `state()` said."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the service and whether it does its work now."""

    name: str
    ok: bool
    why: str
    """What is wrong and what to do; "" when nothing is."""
    since: int | None = None
    """Since when it works, or does not, microseconds UTC; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Service:
    """See :func:`serving.api.app.create_app`."""

    board: Board
    history: History
    live: Live
    ready: Callable[[], list[Part]]
    states: Callable[[], States]
    access: Access
    stream_name: str
    clock: Callable[[], int]
    """Microseconds UTC."""
    intake: Intake | None = None
    alerts: Outbox | None = None
    outside: Callable[[], Sequence[Reject]] = tuple
    """What was refused before it came into the log, oldest first."""
    quarantine: Path | None = None
    """The file of what was refused; None where nothing is kept."""


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


Read = Annotated[Service, Depends(_service)]
"""A route's parameter: the service that it reads."""
