"""The application: every route, and what stands before them."""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import Depends, FastAPI
from fastapi.staticfiles import StaticFiles
from starlette.middleware import Middleware

from ingest.rejects import Reject
from monitoring.alerts.outbox import Outbox
from serving.api import alerts as alert_routes
from serving.api import (
    devices,
    drift,
    events,
    health,
    metrics,
    page,
    problems,
    readings,
    selection,
    stream,
    tasks,
)
from serving.api import quarantine as kept
from serving.api.access import Access
from serving.api.guard import (
    AnswerHeaders,
    KnownHosts,
    RawPaths,
    SmallBodies,
    authorised,
    may_write,
)
from serving.api.history import History
from serving.api.intake import Intake
from serving.api.service import Part, Service, States
from serving.live import Live
from stream_processor.views import Board
from streamgauge import __version__

__all__ = ["create_app"]

_GUARDED = (
    devices.routes,
    tasks.routes,
    selection.routes,
    drift.routes,
    events.routes,
    alert_routes.routes,
    kept.routes,
    stream.routes,
    health.status,
    metrics.routes,
)


def _no_states() -> States:
    return {}


def create_app(
    board: Board,
    history: History,
    live: Live,
    ready: Callable[[], list[Part]],
    keys: Sequence[str],
    stream_name: str,
    clock: Callable[[], int],
    *,
    states: Callable[[], States] = _no_states,
    hosts: Sequence[str] = (),
    with_page: bool = True,
    read_keys: Sequence[str] = (),
    write_keys: Sequence[str] = (),
    intake: Intake | None = None,
    alerts: Outbox | None = None,
    quarantine: Path | None = None,
    outside: Callable[[], Sequence[Reject]] = tuple,
) -> FastAPI:
    """The HTTP API and the live page over a running pipeline.

    All callables are asked from server threads. `ready` says which parts work, `states` what
    sources, sinks and others said in `state()`.
    `intake` takes what is posted, None where the configuration has no `http` source; `alerts` holds
    what fires, None where it has no rules; `quarantine` is the file of what was refused, None where
    nothing is kept, `outside` gives what was refused before it came into the log.
    `clock` gives microseconds UTC. Without `keys` everybody who can connect may ask, so bind to
    loopback (:func:`serving.api.access.refuse_open_bind`); then, or when `hosts` names any, the
    Host header must be loopback or one of `hosts`. Without `with_page` there is neither the page
    nor a login.
    """
    guards = [Middleware(AnswerHeaders)]
    if hosts or not (keys or read_keys or write_keys):
        guards.append(Middleware(KnownHosts, hosts=hosts))
    guards.append(Middleware(RawPaths))
    guards.append(Middleware(SmallBodies, but=readings.PATHS))

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        live.close()

    app = FastAPI(
        title="streamgauge",
        summary="Online learning for fleets of IoT sensors: predictions, scores and drift, live.",
        version=__version__,
        docs_url=None,  # both documentation pages load scripts from another host
        redoc_url=None,
        middleware=guards,
        lifespan=lifespan,
    )
    access = Access(keys, clock, read_keys=read_keys, write_keys=write_keys)
    app.state.service = Service(
        board,
        history,
        live,
        ready,
        states,
        access,
        stream_name,
        clock,
        intake,
        alerts,
        outside,
        quarantine,
    )
    app.state.metrics = metrics.registry(app.state.service)
    problems.install(app)
    for routes in _GUARDED:
        app.include_router(routes, dependencies=[Depends(authorised)])
    app.include_router(readings.routes, dependencies=[Depends(may_write)])
    app.include_router(health.health)
    if with_page:
        app.include_router(page.routes)
        app.mount("/static", StaticFiles(directory=page.DASHBOARD), name="static")
    return app
