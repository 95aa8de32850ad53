"""What the operator of a service decides."""

from __future__ import annotations

from dataclasses import dataclass

LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Limits and addresses of a service.

    key: what clients must send as X-API-Key, None = nothing. queue: requests that are read, wait or are
    worked on at a time, and photos that wait; the next are told to come back. batch: photos that the
    networks see at once. max_bytes: of a request's body. max_pixels: of a photo; waiting photos may
    have eight times as many together. timeout: seconds for a body to arrive, and again for the answer.
    max_photos: of one request. jobs: that are remembered.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    key: str | None = None
    queue: int = 64
    batch: int = 8
    max_bytes: int = 32_000_000
    max_pixels: int = 25_000_000
    max_photos: int = 32
    timeout: float = 30.0
    jobs: int = 32

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in LOOPBACK
