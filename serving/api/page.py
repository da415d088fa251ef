"""The live page, and how a browser logs in to it."""

from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response
from fastapi.responses import FileResponse
from pydantic import BaseModel, Field

from serving.api.guard import COOKIE
from serving.api.problems import described
from serving.api.service import Read

__all__ = ["DASHBOARD", "routes"]

DASHBOARD = Path(__file__).resolve().parent.parent / "dashboard"
SESSION_SECONDS = 12 * 3600

routes = APIRouter(tags=["page"])
Session = Annotated[str | None, Cookie(alias=COOKIE)]


class Login(BaseModel):
    """What the login form sends."""

    key: str = Field(min_length=1, max_length=512, description="An API key.")


@routes.get("/", operation_id="get_page", response_class=FileResponse, include_in_schema=False)
async def get_page(service: Read, session: Session = None) -> FileResponse:
    """The live page, or the login form when the browser has no session and needs one."""
    inside = service.access.is_open or service.access.has_session(session)
    page = DASHBOARD / ("index.html" if inside else "login.html")
    return FileResponse(page, headers={"Cache-Control": "no-store"})


@routes.post("/login", operation_id="log_in", status_code=204, responses=described(401, 422, 429))
async def log_in(request: Request, response: Response, service: Read, login: Login) -> None:
    """Open a browser session with an API key: sets a cookie that scripts cannot read."""
    address = request.client.host if request.client else ""
    token = service.access.log_in(login.key, address)
    response.set_cookie(
        COOKIE,
        token,
        max_age=SESSION_SECONDS,
        httponly=True,
        samesite="strict",
        secure=request.url.scheme == "https",
    )


@routes.post("/logout", operation_id="log_out", status_code=204)
async def log_out(response: Response, service: Read, session: Session = None) -> None:
    """End the browser session."""
    service.access.log_out(session)
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
