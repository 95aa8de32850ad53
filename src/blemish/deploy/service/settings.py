"""What the operator of a service decides."""

from __future__ import annotations

from dataclasses import dataclass

from blemish.errors import ConfigError

LOOPBACK = ("127.0.0.1", "::1", "localhost")
_PHOTOS = 8  # of the largest size, for which there is room


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSettings:
    """Limits and addresses of a service.

    key: what clients must send as X-API-Key, printable ASCII, None = nothing. queue: requests that are
    read, wait or are worked on at a time, and photos that wait; the next are told to come back. batch:
    photos that the networks see at once. max_bytes: of a request's body. max_pixels: of a photo; see
    `pixels`. timeout: seconds for a body to arrive, and again for the verdicts on all its photos.
    max_photos: of one request, and no more than `queue`. jobs: that are remembered.

    Raises:
        ConfigError: the key has a letter that no header carries.
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

    def __post_init__(self) -> None:
        if self.key is not None and not (self.key.isascii() and self.key.isprintable()):
            raise ConfigError(
                "the key holds a letter that is not printable ASCII, and clients cannot send it",
                hint="choose a key of letters A to Z, digits and punctuation, in one line",
            )
        object.__setattr__(self, "max_photos", min(self.max_photos, self.queue))

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in LOOPBACK

    @property
    def pixels(self) -> int:
        """Pixels of all photos that are decoded, wait or are answered at a time."""
        return _PHOTOS * self.max_pixels
