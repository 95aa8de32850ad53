"""What goes wrong in a request, as the client is told: always {"error": ..., "hint": ...}."""

from __future__ import annotations

import math
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from blemish.errors import BlemishError
from blemish.runtime import logger


class Problem(HTTPException):
    """An answer other than the one asked for; `hint` says what to do."""

    def __init__(
        self,
        status: int,
        error: str,
        hint: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, error, dict(headers or {}))
        self.hint = hint


def busy(error: str, seconds: float, status: int = 429) -> Problem:
    """Return the answer to whom has to come back later: Retry-After in whole seconds, at least 1."""
    wait = str(max(1, math.ceil(seconds)))
    return Problem(status, error, "send it again later", {"Retry-After": wait})


def answer(problem: HTTPException) -> Response:
    """Return a problem as a response."""
    body = {"error": str(problem.detail), "hint": getattr(problem, "hint", None)}
    return JSONResponse(body, problem.status_code, problem.headers)


def register(app: FastAPI) -> None:
    """Let every kind of error be answered in the same form."""

    @app.exception_handler(HTTPException)
    async def known(_: Request, error: HTTPException) -> Response:
        return answer(error)

    @app.exception_handler(BlemishError)
    async def caused(_: Request, error: BlemishError) -> Response:
        return answer(Problem(400, str(error.args[0]), error.hint))

    @app.exception_handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][1:]) or str(first["loc"][0])
        hint = "see /api/v1/openapi.json"
        return answer(Problem(422, f"{where}: {first['msg']}", hint))

    @app.exception_handler(Exception)
    async def unforeseen(request: Request, error: Exception) -> Response:
        logger.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return answer(Problem(500, "the service made a mistake; its log has the details"))
