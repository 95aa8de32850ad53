"""The inspector at work: files in, verdicts out; and what this machine can carry."""

from blemish.deploy.doctor import examine
from blemish.deploy.inspection import Finding, find_photos, inspect_files, write_overlay

__all__ = ["Finding", "examine", "find_photos", "inspect_files", "write_overlay"]
