"""Workbenches of a service with tiny models, and clients that talk to them in this process."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

from blemish.data import Dataset, encode_png
from blemish.deploy.service.app import create_app
from blemish.deploy.service.settings import ServiceSettings
from blemish.deploy.service.workbench import Workbench
from blemish.detection import TrainedDetector
from blemish.generation import Generator
from blemish.synthesis import draw_good

API = "/api/v1"


def nut(seed: int = 0, size: int = 64) -> np.ndarray:
    return draw_good("nut", size, np.random.default_rng(seed))


def png(array: np.ndarray | None = None) -> bytes:
    return encode_png(nut() if array is None else array)


def picture(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)))


def sent(*contents: bytes, name: str = "photo.png") -> list[tuple[str, tuple[str, bytes, str]]]:
    """Return the parts of a multipart request, as httpx takes them."""
    return [("photos", (name, content, "image/png")) for content in contents]


Serve = Callable[..., Any]


@pytest.fixture
def serve(
    detector: TrainedDetector, generator: Generator, dataset: Dataset, tmp_path: Path
) -> Iterator[Serve]:
    """Return a client of a new service: `serve(queue=2)` changes a setting, `serve(bare=True)` is
    one without a generator and folders; `serve(detector=...)` has another detector."""
    open_clients: list[TestClient] = []

    def start(*, bare: bool = False, detector: Any = detector, **settings: Any) -> TestClient:
        parts: dict[str, Any] = {}
        if not bare:
            reports = tmp_path / "reports"
            (reports / "deep").mkdir(parents=True, exist_ok=True)
            page = "<!doctype html><title>All is well</title><p>fine</p>"
            (reports / "deep" / "report.html").write_text(page, encoding="utf-8")
            parts = {
                "generator": generator,
                "dataset": dataset,
                "pairs": tmp_path / "pairs",
                "reports": reports,
            }
        bench = Workbench(detector, ServiceSettings(**settings), **parts)
        client = TestClient(create_app(bench), base_url="http://127.0.0.1:8000")
        client.bench = bench  # type: ignore[attr-defined]
        client.__enter__()
        open_clients.append(client)
        return client

    yield start
    for client in open_clients:
        client.__exit__(None, None, None)


@contextmanager
def served(folder: Path, *words: object) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run `blemish serve` as a process of its own; yield it and its address."""
    command = [sys.executable, "-m", "blemish", "serve", folder, "--device", "cpu", "--port", 0, *words]
    process = subprocess.Popen(
        [str(word) for word in command], stderr=subprocess.PIPE, text=True, cwd=folder
    )
    try:
        address = _address(process)
        yield process, address
    finally:
        process.kill()
        process.communicate()


def _address(process: subprocess.Popen[str]) -> str:
    assert process.stderr is not None
    talk = []
    for line in process.stderr:
        talk.append(line)
        if line.startswith("open "):
            threading.Thread(target=process.stderr.read, daemon=True).start()
            return line.split()[1]
    raise AssertionError("".join(talk))


def get(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=30) as answer:  # noqa: S310 - our own server
        return bytes(answer.read())


def chromium() -> str:
    """Return where a browser is; skip the test where there is none."""
    for name in ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable"):
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium is installed")
