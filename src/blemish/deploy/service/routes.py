"""The service's routes: models, inspection, jobs, probes."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Path, Query, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from blemish.data import read_sample
from blemish.data.pictures import overlay
from blemish.deploy.service.guard import Guard, is_key, session_cookie
from blemish.deploy.service.jobs import MOST
from blemish.deploy.service.pictures import data_url, png
from blemish.deploy.service.problems import Problem, busy
from blemish.deploy.service.uploads import BODY, Upload, decode, in_turn, read_uploads
from blemish.deploy.service.workbench import Workbench
from blemish.records import Prediction

Shown = Literal["none", "heat", "overlay"]
Identity = Annotated[str, Path(max_length=64)]
Seed = Annotated[int, Field(ge=0, lt=2**31, strict=True)]

ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/json": {}}}
    for status, text in {
        400: "not usable; the body says why",
        401: "the key is missing or wrong",
        403: "a page of another site may not write here",
        404: "not here",
        408: "the request took too long to arrive",
        413: "too large",
        415: "of another content type",
        422: "does not fit the schema",
        429: "busy; Retry-After says how long",
        503: "stopping, or too slow; Retry-After says how long",
    }.items()
}


class Order(BaseModel):
    """Pairs to generate: so many of each type."""

    model_config = ConfigDict(extra="forbid")

    counts: dict[str, Annotated[int, Field(ge=1, le=MOST, strict=True)]] = Field(min_length=1)
    seed: Seed = 0


class Entry(BaseModel):
    """What a browser sends to come in."""

    model_config = ConfigDict(extra="forbid")

    key: Annotated[str, Field(max_length=1000)]


def router(bench: Workbench, guard: Guard) -> APIRouter:
    """Return the routes of a workbench."""
    found = APIRouter(prefix="/api/v1", responses=ERRORS)
    _add_probes(found, guard)
    _add_inspection(found, bench)
    _add_jobs(found, bench)
    return found


def _add_probes(found: APIRouter, guard: Guard) -> None:
    @found.get("/health")
    async def health() -> dict[str, str]:
        """Whether the process answers."""
        return {"status": "alive"}

    @found.get("/ready")
    async def ready() -> dict[str, str]:
        """Whether it takes work."""
        if guard.stopping:
            raise busy("the service is stopping", 5, 503)
        return {"status": "ready"}

    @found.post("/session", status_code=204, response_class=Response)
    async def session(entry: Entry) -> Response:
        """Let a browser in: it gets a cookie, which does not tell the key."""
        if guard.settings.key is None or not is_key(entry.key, guard.settings.key):
            raise Problem(401, "the key is wrong")
        found = Response(status_code=204)
        name, value = session_cookie(guard.settings.key)
        found.set_cookie(name, value, httponly=True, samesite="strict")
        return found


def _add_inspection(found: APIRouter, bench: Workbench) -> None:
    @found.get("/models")
    async def models() -> dict[str, Any]:
        """The models, and what the studio can do with them."""
        return described(bench)

    @found.post("/inspect", openapi_extra=BODY)
    async def inspect(
        request: Request,
        shown: Annotated[Shown, Query(alias="map")] = "none",
        reconstruction: bool = False,
        threshold: Annotated[float | None, Query(allow_inf_nan=False)] = None,
        false_alarm_rate: Annotated[float | None, Query(ge=1e-6, lt=1)] = None,
    ) -> dict[str, Any]:
        """Verdicts on photos, with their maps and normal looks where asked for.

        With a rate of false alarms: also the rate that is really promised, and why it is another. A
        threshold and a rate together are refused.
        """
        if threshold is not None and false_alarm_rate is not None:
            raise Problem(422, "a threshold and a rate of false alarms were given", "send one of them")
        other, promise = threshold, dict[str, Any]()
        if false_alarm_rate is not None:
            chosen = bench.detector.with_false_alarm_rate(false_alarm_rate).calibration
            other = chosen.threshold
            promise = {"guaranteed_rate": chosen.guaranteed_rate, "warning": chosen.warning()}
        sent = await read_uploads(request, bench.settings)
        with bench.inspection.place(len(sent), sum(one.pixels for one in sent)) as place:
            uploads = await decode(sent, bench.settings.max_pixels, bench.detector.check)
            del sent  # megabytes that are not needed while the photos wait
            readable = [upload.image for upload in uploads if upload.image is not None]
            if not readable and len(uploads) == 1 and uploads[0].error is not None:
                raise uploads[0].error
            verdicts = iter(await bench.inspected(readable, place, other, reconstruct=reconstruction))

            def results() -> list[dict[str, Any]]:
                return [_result(upload, verdicts, shown) for upload in uploads]

            return {"results": await asyncio.to_thread(results), **promise}


def _add_jobs(found: APIRouter, bench: Workbench) -> None:
    @found.post("/generate", status_code=202)
    async def generate(order: Order) -> dict[str, Any]:
        """Begin a job that paints pairs."""
        jobs = bench.needed(bench.jobs, "--generator and --data")
        return jobs.start(order.counts, order.seed).summary()

    @found.get("/jobs")
    async def jobs() -> list[dict[str, Any]]:
        """The jobs that are remembered, without their pairs."""
        known = [] if bench.jobs is None else bench.jobs.all()
        return [{k: v for k, v in job.summary().items() if k != "pairs"} for job in known]

    @found.get("/jobs/{name}")
    async def job(name: Identity) -> dict[str, Any]:
        """How far a job is."""
        return bench.needed(bench.jobs, "--generator and --data").find(name).summary()

    @found.delete("/jobs/{name}")
    async def cancel(name: Identity) -> dict[str, Any]:
        """Ask a job to end; its finished pairs stay."""
        return bench.needed(bench.jobs, "--generator and --data").cancel(name).summary()

    @found.get("/jobs/{name}/pairs/{number}/{what}", response_class=Response)
    async def pair(
        name: Identity,
        number: Annotated[int, Path(ge=0, lt=2**31)],
        what: Literal["image", "mask"],
    ) -> Response:
        """A pair's photo or mask, in the order in which they were made."""
        job = bench.needed(bench.jobs, "--generator and --data").find(name)
        if number >= len(job.entries):
            raise Problem(404, f"the job has made {len(job.entries)} pairs")

        def work() -> Response:
            sample = read_sample(job.entries[number].record(job.folder))
            assert sample.mask is not None  # noqa: S101 - every entry has one
            return png(sample.image if what == "image" else sample.mask)

        return await in_turn(work)


def described(bench: Workbench) -> dict[str, Any]:
    """Return what `/models` tells."""
    detector, generator, settings = bench.detector, bench.generator, bench.settings
    return {
        "detector": {
            "name": bench.name,
            "runs_on": detector.runs_on,
            "precision": detector.precision,
            "threshold": detector.threshold,
            "false_alarm_rate": detector.calibration.false_alarm_rate,
            "guaranteed_rate": detector.calibration.guaranteed_rate,
            "good_scores": list(detector.calibration.scores),
            "good_families": list(detector.calibration.families),
            "size": detector.view.size,
            "facts": detector.facts,
        },
        "generator": generator
        and {"name": bench.generator_name, "types": list(generator.types), "kind": generator.kind},
        "studio": {
            "paint": generator is not None and bench.dataset is not None,
            "keep": bench.pairs is not None,
            "review": bench.pairs is not None,
            "reports": bench.reports is not None,
        },
        "limits": {
            "max_bytes": settings.max_bytes,
            "max_pixels": settings.max_pixels,
            "max_photos": settings.max_photos,
            "max_pixels_together": settings.pixels,
        },
    }


def _result(upload: Upload, verdicts: Any, shown: Shown) -> dict[str, Any]:
    """Return the answer on one photo."""
    if upload.image is None:
        assert upload.error is not None  # noqa: S101 - one of the two is there
        return {"name": upload.name, "error": upload.error.args[0], "hint": upload.error.hint}
    verdict: Prediction = next(verdicts)
    height, width = upload.image.shape[:2]
    picture = None
    if shown == "heat":
        picture = data_url(np.rint(verdict.map * 255).astype(np.uint8))
    elif shown == "overlay":
        picture = data_url(overlay(upload.image, verdict.map))
    return {
        "name": upload.name,
        "width": width,
        "height": height,
        **verdict.summary(),
        "map": picture,
        "reconstruction": None if verdict.reconstruction is None else data_url(verdict.reconstruction),
    }
