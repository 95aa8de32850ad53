"""A real `blemish serve` over a real socket."""

from __future__ import annotations

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from blemish.detection import TrainedDetector
from service_fixtures import API, get, nut, png, served

PATIENCE = 60


def posted(address: str, content: bytes, path: str = f"{API}/inspect") -> tuple[int, dict]:
    """Return status and body of a photo's inspection."""
    body = (
        b'--x\r\nContent-Disposition: form-data; name="photos"; filename="a.png"\r\n\r\n'
        + content
        + b"\r\n--x--\r\n"
    )
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    request = urllib.request.Request(address + path, data=body, headers=kind)  # noqa: S310 - ours
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310 - ours
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


def test_a_service_answers_and_says_nothing_on_stdout(run_folder, detector):
    with served(run_folder / "detector") as (_, address):
        assert json.loads(get(address + f"{API}/ready")) == {"status": "ready"}
        status, body = posted(address, png())
        assert status == 200
        assert body["results"][0]["score"] == pytest.approx(detector.predict(nut()).score, abs=1e-5)
        assert b"blemish studio" in get(address)


def test_a_stop_finishes_what_was_taken_and_refuses_the_rest(run_folder):
    with served(run_folder / "detector", "--batch", 1) as (process, address):
        posted(address, png())
        with ThreadPoolExecutor(12) as pool:
            taken = [pool.submit(posted, address, png(nut(seed))) for seed in range(12)]
            counted = 0
            while counted < 12:  # all twelve have come in
                page = get(address + "/metrics").decode()
                lines = [line for line in page.splitlines() if not line.startswith("#")]
                values = {line.split()[0]: float(line.split()[1]) for line in lines}
                name = 'blemish_requests_total{method="POST",route="/api/v1/inspect",status="200"}'
                counted = values["blemish_requests_open"] + values.get(name, 0) - 1
            process.send_signal(signal.SIGTERM)
            assert [future.result()[0] for future in taken] == [200] * 12
        assert process.wait(PATIENCE) == 0
        with pytest.raises(urllib.error.URLError):
            get(address)


def test_a_client_that_sends_too_slowly_is_cut_off(run_folder):
    with served(run_folder / "detector", "--timeout", "1s") as (_, address):
        place = urlsplit(address)
        with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as line:
            line.sendall(
                f"POST {API}/inspect HTTP/1.1\r\nHost: {place.netloc}\r\n"
                "Content-Type: multipart/form-data; boundary=x\r\n"
                "Content-Length: 9000\r\n\r\n--x".encode()
            )
            answer = http.client.HTTPResponse(line)
            answer.begin()
            assert answer.status == 408
        assert posted(address, png())[0] == 200


def test_a_client_that_leaves_in_the_middle_harms_nobody(run_folder):
    with served(run_folder / "detector") as (_, address):
        place = urlsplit(address)
        for _ in range(20):
            with socket.create_connection((place.hostname, place.port), timeout=PATIENCE) as line:
                line.sendall(
                    f"POST {API}/inspect HTTP/1.1\r\nHost: {place.netloc}\r\n"
                    "Content-Type: multipart/form-data; boundary=x\r\n"
                    "Content-Length: 9000\r\n\r\n--x".encode()
                )
        assert posted(address, png())[0] == 200
        for _ in range(100):
            page = get(address + "/metrics").decode()
            if "blemish_requests_open 0.0" in page:
                break
            time.sleep(0.1)
        assert "blemish_requests_open 0.0" in page


def test_the_same_service_runs_an_exported_detector(run_folder, product, tmp_path, blemish):
    out = tmp_path / "form"
    said = blemish("export", run_folder / "detector", "--data", product, "--to", "onnx", "--out", out)
    assert said.code == 0
    expected = TrainedDetector.load(run_folder / "detector", device="cpu").predict(nut())
    with served(out) as (_, address):
        status, body = posted(address, png())
    assert status == 200
    assert body["results"][0]["score"] == pytest.approx(expected.score, abs=1e-3)


def run(*words: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "blemish", "serve", *map(str, words)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=PATIENCE, env=environment or None
    )


def test_other_machines_need_a_key(run_folder):
    refused = run(run_folder / "detector", "--host", "0.0.0.0")  # noqa: S104 - that is the test
    assert refused.returncode == 2
    assert "--key-file" in refused.stderr


def test_an_address_that_is_taken_is_said_plainly(run_folder):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        refused = run(run_folder / "detector", "--port", port)
    assert refused.returncode == 2
    assert "cannot listen" in refused.stderr
    assert "Traceback" not in refused.stderr
