"""Errors as problem details (RFC 9457): what was found, and what to do."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

__all__ = ["MEDIA_TYPE", "Problem", "ProblemDetails", "described", "install", "response"]

MEDIA_TYPE = "application/problem+json"


class ProblemDetails(BaseModel):
    """What every error of this API looks like."""

    type: str = Field("about:blank", description="Kind of problem; the status says it all so far.")
    title: str = Field(description="The status in words.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What was found and what to do about it.")
    instance: str = Field(description="Path of the request.")


class Problem(Exception):
    """Raised in a route: answered with `status` and a problem document.

    `more` are further members of the document.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.more = dict(more or {})


def response(problem: Problem, path: str) -> JSONResponse:
    """The problem document as an answer to a request for `path`."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": path,
        **problem.more,
    }
    return JSONResponse(
        body, status_code=problem.status, headers=problem.headers, media_type=MEDIA_TYPE
    )


def described(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of a route, for OpenAPI."""
    schema = ProblemDetails.model_json_schema()
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": schema}},
        }
        for status in statuses
    }


async def _problem(request: Request, error: Problem) -> JSONResponse:
    return response(error, request.url.path)


async def _http(request: Request, error: HTTPException) -> JSONResponse:
    detail = str(error.detail)
    if error.status_code == HTTPStatus.NOT_FOUND:
        detail = f"nothing is served at {request.url.path}; GET /openapi.json lists the routes"
    elif error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "GET")
        detail = f"{request.method} is not possible at {request.url.path}; use {allowed}"
    return response(Problem(error.status_code, detail, headers=error.headers), request.url.path)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    found = [
        f"{' '.join(map(str, one['loc']))}: {one['msg']} (found {str(one.get('input'))[:100]!r})"
        for one in error.errors()
    ]
    detail = "; ".join(found) + "; correct the request, GET /openapi.json describes it"
    return response(Problem(422, detail), request.url.path)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    detail = f"{type(error).__name__} while answering; the log of the service has the details"
    return response(Problem(500, detail), request.url.path)


def install(app: FastAPI) -> None:
    """Answer every error of the application with a problem document."""
    app.exception_handler(Problem)(_problem)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(Exception)(_unexpected)
