"""A service as a process: from its start to a stop that finishes what was taken."""

from __future__ import annotations

import logging
import os
import socket
from types import FrameType

import uvicorn

from blemish.deploy.service.app import create_app
from blemish.deploy.service.guard import Guard
from blemish.deploy.service.workbench import Workbench
from blemish.errors import ConfigError
from blemish.runtime import logger

_KEEP_ALIVE = 10
_BACKLOG = 256


class _Server(uvicorn.Server):
    """A server that says at once that it is stopping."""

    def __init__(self, config: uvicorn.Config, guard: Guard) -> None:
        super().__init__(config)
        self._guard = guard

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Refuse new work and finish the old, which is a success; a second signal ends it all."""
        del sig, frame  # not passed on: uvicorn would die of it once all is done
        self.force_exit = self.should_exit
        self.should_exit = self._guard.stopping = True


def run(bench: Workbench) -> int:
    """Serve until a signal comes; return the exit code.

    Raises:
        ConfigError: the address cannot be used.
    """
    settings = bench.settings
    try:
        listening = _listening(settings.host, settings.port)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
            hint="another program may have the port: choose another with --port",
        ) from error
    guard = create_app(bench)
    config = uvicorn.Config(
        guard,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    logger.info("open http://%s:%d", shown, listening.getsockname()[1])
    _Server(config, guard).run(sockets=[listening])
    return 0


def _listening(host: str, port: int) -> socket.socket:
    """Return a socket that takes connections; port 0 takes any that is free."""
    family, kind, protocol, _, address = socket.getaddrinfo(
        host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    found = socket.socket(family, kind, protocol)
    if os.name == "posix":  # elsewhere it would let two programs share a port
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    found.bind(address)
    found.listen(_BACKLOG)  # so that whoever reads the address can come
    return found
