"""A workbench as a web application."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import ASGIApp

from blemish.deploy.service import problems, routes, studio_routes
from blemish.deploy.service.guard import Guard
from blemish.deploy.service.workbench import Workbench
from blemish.version import __version__


def create_app(bench: Workbench) -> Guard:
    """Return the application of a workbench; when it ends, so do the workbench's threads."""

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        yield
        await run_in_threadpool(bench.close)

    app = FastAPI(
        title="blemish",
        version=__version__,
        lifespan=life,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,  # its pages load from elsewhere
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.register(app)
    inner: ASGIApp = app
    guard = Guard(inner, bench.settings, bench.measures)
    bench.watch(lambda: guard.admitted)
    app.include_router(routes.router(bench, guard))
    app.include_router(studio_routes.router(bench))
    app.include_router(studio_routes.page())

    @app.get("/metrics", include_in_schema=False)
    async def metrics() -> Response:
        return Response(bench.measures.page(), media_type="text/plain; version=0.0.4")

    return guard
