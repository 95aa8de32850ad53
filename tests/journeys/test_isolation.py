"""What training may not touch: the test photos, and the network."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file

from blemish.cli import main
from blemish.config import write_yaml
from blemish.data import read_dataset
from blemish.detection import Length, train

NETWORK = ("socket.__new__", "socket.connect", "socket.getaddrinfo", "urllib.Request")


def train_under_watch(words: list[str], report: Path) -> None:
    """Run the command line with the network cut, and write down every file that it opens."""
    opened: list[str] = []

    def watch(event: str, given: tuple) -> None:
        if event in NETWORK:
            raise PermissionError(f"training used the network: {event} {given}")
        if event == "open" and isinstance(given[0], str):
            opened.append(given[0])

    sys.addaudithook(watch)
    code = main(words)
    report.write_text(json.dumps(opened))
    sys.exit(code)


def test_training_opens_no_test_file_uses_no_network_and_is_not_moved_by_broken_test_photos(
    product, tiny, tmp_path, processes
):
    data = Path(shutil.copytree(product, tmp_path / "nut"))
    for path in [p for part in ("test", "ground_truth") for p in (data / part).rglob("*.png")]:
        path.write_bytes(b"garbage")
    settings = tiny(training={"validations": 2})
    write_yaml(tmp_path / "tiny.yaml", settings)
    words = ["train", str(data), "--out", str(tmp_path / "run"), "--device", "cpu"]
    words += ["--config", str(tmp_path / "tiny.yaml"), "--iterations", "10"]
    report = tmp_path / "opened.json"
    worker = processes.Process(target=train_under_watch, args=(words, report))
    worker.start()
    worker.join()
    assert worker.exitcode == 0
    opened = {Path(name) for name in json.loads(report.read_text())}
    train_photos = set((data / "train").rglob("*.png"))
    assert len(train_photos) == 12
    assert train_photos <= opened
    assert not [p for p in opened if p.is_relative_to(data) and p not in train_photos]
    plan = Length(iterations=10).plan(settings.training, 0)
    train(read_dataset(product), settings, tmp_path / "healthy", plan, device="cpu")
    found, expected = (
        load_file(tmp_path / name / "detector" / "weights.safetensors") for name in ("run", "healthy")
    )
    assert not [name for name in expected if not found[name].equal(expected[name])]
