"""What the studio's page needs: photos to paint on, paintings, pairs to review, reports, the page."""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import lru_cache
from importlib import resources
from pathlib import Path as File
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import HTMLResponse, Response

from blemish.data import encode_png, natural_key, read_image, read_mask
from blemish.data.pictures import thumbnail
from blemish.deploy.service.pictures import data_url, png, sent_mask
from blemish.deploy.service.problems import Problem
from blemish.deploy.service.routes import ERRORS, Identity, Seed
from blemish.deploy.service.uploads import in_turn
from blemish.deploy.service.workbench import Workbench
from blemish.errors import DatasetError
from blemish.generation.generator import Judged
from blemish.generation.reviewing import Pair, PairFolder
from blemish.records import Record

_THUMBNAIL = 192
_REMEMBERED = 16
_REPORTS = 200
_KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src data:; font-src data:"
)
_MASK = 20_000_000  # letters of a mask in base64

Offset = Annotated[int, Query(ge=0, lt=2**31)]
Limit = Annotated[int, Query(ge=1, le=200)]


class Wish(BaseModel):
    """A painting: on which photo, of which type, where (PNG in base64, None = anywhere), which seed."""

    model_config = ConfigDict(extra="forbid")

    photo: Annotated[str, Field(max_length=64)]
    type: Annotated[str, Field(max_length=200)]
    mask: Annotated[str, Field(max_length=_MASK)] | None = None
    seed: Seed = 0


class Decision(BaseModel):
    """What a person says of a pair."""

    model_config = ConfigDict(extra="forbid")

    accepted: Annotated[bool, Field(strict=True)] | None = None
    mask: Annotated[str, Field(max_length=_MASK)] | None = None


class _Painted:
    """The paintings of late, to be kept or not."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, tuple[Judged, Record, Wish]] = OrderedDict()

    def add(self, made: Judged, record: Record, wish: Wish) -> str:
        name = hashlib.sha256(made.painting.image.tobytes() + wish.model_dump_json().encode())
        self._known[found := name.hexdigest()[:16]] = (made, record, wish)
        while len(self._known) > _REMEMBERED:
            self._known.popitem(last=False)
        return found

    def find(self, name: str) -> tuple[Judged, Record, Wish]:
        if name not in self._known:
            raise Problem(404, "there is no such painting", "paint it again: only the last are kept")
        return self._known[name]


def router(bench: Workbench) -> APIRouter:
    """Return the studio's routes."""
    found = APIRouter(prefix="/api/v1", responses=ERRORS)
    goods = () if bench.dataset is None else bench.dataset.train
    photos = {_short(str(number)): record for number, record in enumerate(goods)}
    _add_photos(found, bench, photos)
    _add_painting(found, bench, photos)
    _add_review(found, bench)
    _add_decisions(found, bench)
    _add_reports(found, bench)
    return found


def _photo_of(photos: Mapping[str, Record], name: str) -> Record:
    if name not in photos:
        raise Problem(404, "there is no such photo")
    return photos[name]


def _add_photos(found: APIRouter, bench: Workbench, photos: Mapping[str, Record]) -> None:
    @found.get("/photos")
    def list_photos(offset: Offset = 0, limit: Limit = 60) -> dict[str, Any]:
        """Good photos to paint on."""
        bench.needed(bench.dataset, "--data")
        some = list(photos.items())[offset : offset + limit]
        return {
            "total": len(photos),
            "photos": [{"id": name, "name": record.image.name} for name, record in some],
        }

    @found.get("/photos/{name}", response_class=Response)
    async def photo(name: Identity) -> Response:
        """A good photo."""
        return await in_turn(lambda: png(read_image(_photo_of(photos, name).image)))

    @found.get("/photos/{name}/thumbnail", response_class=Response)
    async def photo_thumbnail(name: Identity) -> Response:
        """A good photo, small."""
        found: bytes = await in_turn(lambda: _small(_photo_of(photos, name).image))
        return Response(found, media_type="image/png")


def _add_painting(found: APIRouter, bench: Workbench, photos: Mapping[str, Record]) -> None:
    painted = _Painted()

    @found.post("/paint")
    async def paint(wish: Wish) -> dict[str, Any]:
        """Paint a defect into a photo."""
        generator = bench.needed(bench.generator, "--generator")
        record = _photo_of(photos, wish.photo)
        generator.repertoire.known(wish.type)
        begun = time.monotonic()

        def work() -> tuple[Judged, str, str]:
            image = read_image(record.image)
            mask = None if wish.mask is None else sent_mask(wish.mask, image.shape[:2])
            made = generator.paint_judged(image, wish.type, mask, seed=wish.seed)
            return made, data_url(made.painting.image), data_url(made.painting.mask)

        made, image, mask = await bench.asked(bench.desk.ask(work))
        return {
            "id": painted.add(made, record, wish),
            "image": image,
            "mask": mask,
            "scores": made.verdict.scores.summary(),
            "accepted": made.verdict.accepted,
            "reasons": made.verdict.reasons,
            "seconds": round(time.monotonic() - begun, 2),
        }

    @found.post("/paintings/{name}/keep")
    async def keep(name: Identity) -> dict[str, Any]:
        """Write a painting into the folder of pairs."""
        folder = bench.needed(bench.pairs, "--pairs")
        made, record, wish = painted.find(name)
        facts = {"seed": wish.seed, "by_hand": wish.mask is not None}

        def work() -> Pair:
            return folder.keep(made, wish.type, record.image, facts)

        return _told(await bench.asked(bench.desk.ask(work)))


def _folder(bench: Workbench) -> PairFolder:
    return bench.needed(bench.pairs, "--pairs")


def _pair_of(bench: Workbench, name: str) -> Pair:
    try:
        return _folder(bench).find(name)
    except DatasetError as error:
        raise Problem(404, str(error.args[0]), error.hint) from error


def _add_review(found: APIRouter, bench: Workbench) -> None:
    @found.get("/pairs")
    def pairs(
        label: Annotated[str | None, Query(max_length=200)] = None,
        state: Literal["all", "accepted", "rejected", "waiting"] = "all",
        offset: Offset = 0,
        limit: Limit = 60,
    ) -> dict[str, Any]:
        """Generated pairs: all, or those of a type or state; waiting = nobody has decided."""
        known = _folder(bench).pairs()
        labels = sorted({pair.label for pair in known}, key=natural_key)
        some = [pair for pair in known if label in (None, pair.label) and _is(pair, state)]
        return {
            "total": len(some),
            "labels": {name: sum(pair.label == name for pair in known) for name in labels},
            "counts": {
                name: sum(_is(pair, name) for pair in known)
                for name in ("all", "accepted", "rejected", "waiting")
            },
            "pairs": [_told(pair) for pair in some[offset : offset + limit]],
        }

    @found.get("/pairs/{name}/{what}", response_class=Response)
    async def picture(name: Identity, what: Literal["image", "mask", "thumbnail"]) -> Response:
        """A pair's photo, its mask, or its photo small."""

        def work() -> Response:
            pair = _pair_of(bench, name)
            if what == "mask":
                return png(read_mask(pair.mask))
            if what == "image":
                return png(read_image(pair.image))
            return Response(_small(pair.image), media_type="image/png")

        return await in_turn(work)


def _add_decisions(found: APIRouter, bench: Workbench) -> None:
    @found.patch("/pairs/{name}")
    async def decide(name: Identity, decision: Decision) -> dict[str, Any]:
        """Accept or reject a pair, or correct its mask; it is in the manifest before the answer."""
        place = _folder(bench)
        if decision.accepted is None and decision.mask is None:
            raise Problem(400, "nothing was decided", "send accepted, mask, or both")

        def work() -> Pair:
            pair = _pair_of(bench, name)
            if decision.mask is not None:
                shape = read_mask(pair.mask).shape
                pair = place.correct(name, sent_mask(decision.mask, (shape[0], shape[1])))
            if decision.accepted is not None:
                pair = place.decide(name, accepted=decision.accepted)
            return pair

        return _told(await bench.asked(bench.desk.ask(work)))


def _add_reports(found: APIRouter, bench: Workbench) -> None:
    def pages() -> dict[str, tuple[str, File]]:
        """Return the report pages below the operator's folder: id to shown name and file."""
        root = bench.needed(bench.reports, "--reports")
        files = (file for file in root.rglob("*.html") if file.is_file())
        shown = sorted((file.relative_to(root).as_posix(), file) for file in files)[:_REPORTS]
        return {_short(name): (name, file) for name, file in shown}

    @found.get("/reports")
    def reports() -> list[dict[str, str]]:
        """Report pages."""
        return [
            {"id": name, "path": shown, "title": _title(file)}
            for name, (shown, file) in pages().items()
        ]

    @found.get("/reports/{name}", response_class=HTMLResponse)
    def report(name: Identity) -> Response:
        """A report page, in a box of its own: it can neither send nor fetch anything."""
        known = pages()
        if name not in known:
            raise Problem(404, "there is no such report")
        text = known[name][1].read_bytes()
        return HTMLResponse(text, headers={"Content-Security-Policy": _REPORT_POLICY})


def page() -> APIRouter:
    """Return the routes of the page itself: files of the package, looked up by name."""
    found = APIRouter(include_in_schema=False)
    folder = resources.files("blemish.deploy") / "studio"
    files = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}

    def sent(name: str) -> Response:
        if name not in files:
            raise Problem(404, "there is no such file")
        kind = _KINDS.get(File(name).suffix, "application/octet-stream")
        return Response(files[name], media_type=kind, headers={"Cache-Control": "no-cache"})

    @found.get("/")
    async def index() -> Response:
        return sent("index.html")

    @found.get("/studio/{name}")
    async def file(name: Identity) -> Response:
        return sent(name)

    return found


def _small(path: File) -> bytes:
    """Return a photo small, as PNG."""
    return _thumbnail(path, path.stat().st_mtime_ns)


@lru_cache(512)
def _thumbnail(path: File, written: int) -> bytes:
    del written  # a photo that is written anew is another one
    return encode_png(thumbnail(read_image(path), _THUMBNAIL))


def _short(text: str) -> str:
    """Return an id that says nothing of what it stands for."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is(pair: Pair, state: str) -> bool:
    tests: dict[str, Callable[[Pair], bool]] = {
        "all": lambda _: True,
        "accepted": lambda one: one.accepted,
        "rejected": lambda one: not one.accepted,
        "waiting": lambda one: not one.reviewed,
    }
    return tests[state](pair)


def _told(pair: Pair) -> dict[str, Any]:
    """Return a pair ready for JSON."""
    facts = pair.facts
    return {
        "id": pair.id,
        "label": pair.label,
        "name": pair.image.stem,
        "accepted": pair.accepted,
        "reviewed": pair.reviewed,
        "scores": facts.get("scores") or {},
        "reasons": facts.get("reasons") or [],
    }


def _title(file: File) -> str:
    with file.open("rb") as page:
        head = page.read(4096).decode("utf-8", "ignore")
    found = re.search(r"<title>([^<]*)</title>", head)
    return found[1].strip() if found else file.stem
