"""A service as a process: from its start to a stop that finishes what was taken."""

from __future__ import annotations

import logging
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
        """Refuse new work, finish the old; a second signal ends it all."""
        if self.should_exit:
            self.force_exit = True
        self._guard.stopping = True
        super().handle_exit(sig, frame)


def run(bench: Workbench) -> int:
    """Serve until a signal comes; return the exit code.

    Raises:
        ConfigError: the address cannot be used.
    """
    settings, guard = bench.settings, create_app(bench)
    config = uvicorn.Config(
        guard,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=_KEEP_ALIVE,
        backlog=_BACKLOG,
    )
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = _Server(config, guard)
    shown = f"[{settings.host}]" if ":" in settings.host else settings.host
    logger.info("open http://%s:%d", shown, settings.port)
    try:
        server.run()
    except SystemExit as error:
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}",
            hint="another program may have the port: choose another with --port",
        ) from error
    return 0
