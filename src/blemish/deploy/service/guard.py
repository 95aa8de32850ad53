"""What stands before every request: who may come in, how much may be sent, and how many at a time."""

from __future__ import annotations

import asyncio
import hmac
import time
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blemish.deploy.service.measures import Measures
from blemish.deploy.service.problems import Problem, answer, busy
from blemish.deploy.service.settings import LOOPBACK, ServiceSettings

OPEN = ("/api/v1/health", "/api/v1/ready")
"""Probes need no key."""

_READING = ("GET", "HEAD", "OPTIONS")
_METHODS = (*_READING, "POST", "PATCH", "DELETE", "PUT")
_SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data: blob:; "
    "frame-ancestors 'self'; base-uri 'none'; form-action 'none'",
}


class Guard:
    """Middleware: host, origin, key, number of requests, size and speed of bodies; counts answers."""

    def __init__(self, app: ASGIApp, settings: ServiceSettings, measures: Measures) -> None:
        self.app, self.settings, self.measures = app, settings, measures
        self.admitted = 0
        self.stopping = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or answer it here."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        begun, status = time.monotonic(), 499  # where the client left before the answer

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _SAFE.items():
                    headers.setdefault(name, value)
                if self.stopping:
                    headers["Connection"] = "close"
            await send(message)

        writing = scope["method"] not in _READING
        self.admitted += writing
        try:
            self._refuse(scope, writing=writing)
            await self.app(scope, _Body(receive, self.settings), sending)
        except Problem as problem:
            await answer(problem)(scope, receive, sending)
        finally:
            self.admitted -= writing
            route = getattr(scope.get("route"), "path", "none")
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self.measures.answered(method, route, status, time.monotonic() - begun)

    def _refuse(self, scope: Scope, *, writing: bool) -> None:
        """Return where the request may come in.

        Raises:
            Problem: it may not.
        """
        headers = Headers(scope=scope)
        host = urlsplit(f"//{headers.get('host', '')}")
        try:
            name = host.hostname
        except ValueError:
            name = None
        # A name of the outside that leads here is how a web page reaches a service behind a browser.
        if self.settings.local and name not in LOOPBACK:
            raise Problem(421, f"{name} is not served here", "use http://127.0.0.1")
        origin = headers.get("origin")
        if writing and (
            headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
            or (origin is not None and urlsplit(origin).netloc != headers.get("host"))
        ):
            raise Problem(403, "a page of another site may not write here")
        if self.settings.key is not None and scope["path"] not in OPEN and _needs_key(scope["path"]):
            given = headers.get("x-api-key") or headers.get("authorization", "").removeprefix("Bearer ")
            if not hmac.compare_digest(given.encode(), self.settings.key.encode()):
                raise Problem(401, "the key is missing or wrong", "send it as X-API-Key")
        if writing and self.stopping:
            raise busy("the service is stopping", 5, 503)
        if writing and self.admitted > self.settings.queue:
            raise busy("too many requests are in progress", 1)
        declared = headers.get("content-length", "0")
        if (
            not declared.isascii()
            or not declared.isdecimal()
            or int(declared) > self.settings.max_bytes
        ):
            raise _too_much(self.settings)


class _Body:
    """A request's body as it arrives, cut off where it gets too long or too slow."""

    def __init__(self, receive: Receive, settings: ServiceSettings) -> None:
        self.receive, self.settings = receive, settings
        self.deadline = time.monotonic() + settings.timeout
        self.read, self.whole = 0, False

    async def __call__(self) -> Message:
        if self.whole:  # what comes now is only that the client has left
            return await self.receive()
        try:
            rest = self.deadline - time.monotonic()
            message = await asyncio.wait_for(self.receive(), max(0.0, rest))
        except TimeoutError as error:
            raise Problem(
                408, f"the request took longer than {self.settings.timeout:g} s to arrive"
            ) from error
        if message["type"] == "http.request":
            self.read += len(message.get("body", b""))
            self.whole = not message.get("more_body", False)
            if self.read > self.settings.max_bytes:
                raise _too_much(self.settings)
        return message


def _too_much(settings: ServiceSettings) -> Problem:
    most = f"{settings.max_bytes / 1e6:g} MB"
    return Problem(413, f"the request is larger than {most}", "send fewer or smaller photos")


def _needs_key(path: str) -> bool:
    """Return whether a path holds anything worth a key: the page itself does not."""
    return path.startswith("/api/") or path == "/metrics"


def _number(text: str) -> float:
    """Return a length as it is declared; what is no number is too long."""
    return int(text) if text.isascii() and text.isdecimal() else float("inf")
