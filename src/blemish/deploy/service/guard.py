"""What stands before every request: who may come in, how much may be sent, and how many at a time."""

from __future__ import annotations

import asyncio
import hmac
import time
from urllib.parse import SplitResult, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import cookie_parser
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from blemish.deploy.service.measures import Measures
from blemish.deploy.service.problems import Problem, answer, busy
from blemish.deploy.service.settings import LOOPBACK, ServiceSettings

OPEN = ("/api/v1/health", "/api/v1/ready", "/api/v1/session")
"""Probes need no key, nor does the way in."""

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
        host = _split(f"//{headers.get('host', '')}")
        name = None if host is None else host.hostname
        # A name of the outside that leads here is how a web page reaches a service behind a browser.
        if self.settings.local and name not in LOOPBACK:
            raise Problem(421, f"{name} is not served here", "use http://127.0.0.1")
        origin = headers.get("origin")
        if writing and (
            headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none")
            or (origin is not None and not _is_at(origin, headers.get("host")))
        ):
            raise Problem(403, "a page of another site may not write here")
        key = self.settings.key
        if key is not None and _needs_key(scope["path"]) and not _is_let_in(headers, key):
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


def is_key(given: str, key: str) -> bool:
    """Return whether a word is the key, in a time that does not tell how much of it is right."""
    return hmac.compare_digest(given.encode(), key.encode())


def session_cookie(key: str) -> tuple[str, str]:
    """Return name and value of the cookie that lets a browser in.

    Services on other ports of a host get the cookie, too: it has a name of its own for each key, and
    does not tell the key.
    """
    name, value = (hmac.new(key.encode(), word, "sha256").hexdigest() for word in (b"name", b"value"))
    return f"blemish_{name[:16]}", value


def _is_let_in(headers: Headers, key: str) -> bool:
    """Return whether a program has sent the key in a header, or a browser its cookie."""
    kind, _, bearer = headers.get("authorization", "").partition(" ")
    given = headers.get("x-api-key") or (bearer if kind.lower() == "bearer" else "")
    if given:
        return is_key(given, key)
    name, value = session_cookie(key)
    return is_key(cookie_parser(headers.get("cookie", "")).get(name, ""), value)


def _needs_key(path: str) -> bool:
    """Return whether a path holds anything worth a key: the page itself does not."""
    return path not in OPEN and (path.startswith("/api/") or path == "/metrics")


def _split(address: str) -> SplitResult | None:
    """Return an address in parts, None where it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return None


def _is_at(origin: str, host: str | None) -> bool:
    """Return whether a page came from this host."""
    parts = _split(origin)
    return parts is not None and parts.netloc == host
