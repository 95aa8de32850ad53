"""Errors that a user can cause: each says what was expected, what was got, and what to do."""

from __future__ import annotations


class BlemishError(Exception):
    """Anything that the user can put right. `hint`: how; `exit_code`: what the command ends with."""

    exit_code = 2

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        """Return the message with its hint on a line of its own."""
        message = super().__str__()
        return f"{message}\n  hint: {self.hint}" if self.hint else message


class ConfigError(BlemishError):
    """A setting is unknown, malformed, or contradicts another."""


class DatasetError(BlemishError):
    """A folder of photos is not what it was taken for."""


class ImageError(BlemishError):
    """One photo or mask cannot be used."""


class ArtifactError(BlemishError):
    """A saved model or run folder is missing, damaged, or from another version."""


class DependencyError(BlemishError):
    """An optional package or a weight file is not installed."""
