"""A service under more load than it can carry, and under nonsense: what it answers, and what it keeps.

Starts `blemish serve` as a process of its own and talks to it over loopback. Prints one JSON value.

    python benchmarks/service_load.py DETECTOR PHOTOS --minutes 10 --clients 24
    python benchmarks/service_load.py DETECTOR PHOTOS --fuzz 2000 --hostile 200
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import shlex
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import numpy as np

API = "/api/v1"
PATIENCE = 60.0
_STRANGE = 0.2  # share of requests with a strange header
_ON_ITS_WAY = 0.05  # seconds in which a request surely has come in


class Service:
    """`blemish serve` on a free port."""

    def __init__(self, detector: Path, words: list[str], port: int = 0) -> None:
        command = [sys.executable, "-m", "blemish", "serve", str(detector), "--port", str(port), *words]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)  # noqa: S603 - ours
        assert self.process.stderr is not None
        line = next(line for line in self.process.stderr if line.startswith("open "))
        self.place = urlsplit(line.split()[1])
        threading.Thread(target=self.process.stderr.read, daemon=True).start()

    def connection(self) -> http.client.HTTPConnection:
        """Return a new connection."""
        return http.client.HTTPConnection(self.place.hostname or "", self.place.port, timeout=PATIENCE)

    def memory(self) -> float:
        """Return the memory that the process holds, MiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        line = next(line for line in text.splitlines() if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024

    def stop(self) -> int:
        """Ask for a stop and return the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


def form(name: str, content: bytes) -> tuple[bytes, dict[str, str]]:
    """Return body and headers of an inspection."""
    shown = quote(name, safe="").encode()
    head = b'--x\r\nContent-Disposition: form-data; name="photos"; filename="' + shown + b'"\r\n\r\n'
    return head + content + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}


class Tally:
    """What clients saw."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.statuses: Counter[str] = Counter()
        self.seconds: list[float] = []
        self.stop = 0.0  # when the service was asked to stop
        self.lost = 0

    def add(self, status: str, seconds: float) -> None:
        """Count an answer."""
        with self.lock:
            self.statuses[status] += 1
            if status == "200":
                self.seconds.append(seconds)


def client(
    box: list[Service], bodies: list[bytes], headers: dict[str, str], tally: Tally, end: float
) -> None:
    """Send photos one after the other until the end, coming back when told to."""
    rng = random.Random(threading.get_ident())  # noqa: S311 - which photo
    line: http.client.HTTPConnection | None = None
    while time.monotonic() < end:
        begun = time.monotonic()
        try:
            line = line or box[0].connection()
            line.request("POST", f"{API}/inspect", rng.choice(bodies), headers)
            answer = line.getresponse()
            answer.read()
            tally.add(str(answer.status), time.monotonic() - begun)
            if answer.status in (429, 503):
                time.sleep(0.25)
            if answer.getheader("Connection") == "close":
                line = None
        except (OSError, http.client.HTTPException):
            # A service that stops closes idle connections and refuses new ones. What had come in
            # before it was asked to stop is another matter.
            with tally.lock:
                tally.statuses["refused"] += 1
                tally.lost += begun < tally.stop - _ON_ITS_WAY
            line = None
            time.sleep(0.1)


def loaded(options: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """Return figures of sustained load with a stop and a start in the middle."""
    photos = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in (".png", ".jpg"))[:32]
    made = [form(p.name, p.read_bytes()) for p in photos]
    bodies, headers = [body for body, _ in made], made[0][1]
    box, tally = [Service(options.detector, words)], Tally()
    port = box[0].place.port
    seconds = 60 * options.minutes
    end = time.monotonic() + seconds
    threads = [
        threading.Thread(target=client, args=(box, bodies, headers, tally, end))
        for _ in range(options.clients)
    ]
    for thread in threads:
        thread.start()
    memory: list[tuple[float, float]] = []
    codes: list[int] = []
    again = 0.0
    answered_before_stop = finished = 0
    middle = time.monotonic() + seconds / 2
    while time.monotonic() < end - 1:
        time.sleep(min(5.0, max(0.1, seconds / 100)))
        if not codes and time.monotonic() > middle:
            answered_before_stop = open_requests(box[0])
            tally.stop, before = time.monotonic(), tally.statuses["200"]
            codes.append(box[0].stop())
            finished = tally.statuses["200"] - before
            box[0] = Service(options.detector, words, port or 0)
            again = time.monotonic() - tally.stop
            tally.stop = 0.0
        memory.append((time.monotonic(), box[0].memory()))
    for thread in threads:
        thread.join()
    second = [value for moment, value in memory if moment > middle + 15] or [memory[-1][1]]
    codes.append(box[0].stop())
    answered = tally.statuses["200"]
    return {
        "minutes": options.minutes,
        "clients": options.clients,
        "answers": dict(sorted(tally.statuses.items())),
        "photos_per_second": round(answered / seconds, 2),
        "latency_ms": {
            name: round(1000 * float(np.percentile(tally.seconds, q)), 1)
            for name, q in (("p50", 50), ("p99", 99), ("max", 100))
        },
        "memory_mib": quarters(second),
        "stop": {
            "open_when_asked": answered_before_stop,
            "answered_while_stopping": finished,
            "taken_and_not_answered": tally.lost,
            "seconds_until_it_served_again": round(again, 1),
        },
        "exit_codes": codes,
    }


def open_requests(service: Service) -> int:
    """Return how many requests are in progress."""
    line = service.connection()
    line.request("GET", "/metrics")
    page = line.getresponse().read().decode().splitlines()
    line.close()
    return int(float(next(x for x in page if x.startswith("blemish_requests_open")).split()[1]))


VALUES = ["", "x", "-1", "1e999", "NaN", "null", "../../etc/passwd", "%00", "9" * 400, "\u202e", "💥"]
METHODS = [*["GET", "POST"] * 4, "PATCH", "DELETE", "PUT", "OPTIONS", "HEAD", "BREW"]
PARTS = ["inspect", "paint", "pairs", "photos", "jobs", "generate", "models", "session", "reports"]
WORDS = ["map", "threshold", "false_alarm_rate", "offset", "limit", "label", "state"]
KINDS = ["application/json", "multipart/form-data; boundary=x", "text/plain", ""]
HEADERS = ["Origin", "Range", "Accept", "X-API-Key", "Cookie"]
STUBS = [b"", b"GIF89a", b"\xff\xd8\xff", b"BM", b"II*\0", b"%!PS", b"\0" * 9999]


def nonsense(rng: random.Random) -> Iterator[tuple[str, str, bytes, dict[str, str]]]:
    """Yield made-up requests: methods, paths, bodies and headers."""
    paths = [*(f"{API}/{part}" for part in PARTS), "/studio/main.js", "/", "/metrics"]
    while True:
        path, word = rng.choice(paths), quote(rng.choice(VALUES), safe="")
        path += rng.choice(["", f"/{word}", f"?{rng.choice(WORDS)}={word}"])
        junk, value = rng.randbytes(rng.randrange(200)), rng.choice(VALUES)
        order = {"counts": {value: rng.choice([1, -1, "1", None])}, "photo": value}
        body = rng.choice([b"", junk, json.dumps(order).encode(), b"[" * 5000, b"--x\r\n" + junk])
        headers = {"Content-Type": rng.choice(KINDS)}
        if rng.random() < _STRANGE:
            headers[rng.choice(HEADERS)] = "a" * rng.randrange(3000)
        yield rng.choice(METHODS), path, body, headers


def hostile(photos: list[Path], rng: random.Random) -> Iterator[tuple[str, bytes]]:
    """Yield damaged and misleading files: cut, overwritten, claiming to be huge, of other kinds."""
    names = ["a.png", "../../../etc/passwd", "CON", "x" * 300, "é\u202e.jpg", "a\nb.png", "a.png\0.exe"]
    while True:
        content = bytearray(rng.choice(photos).read_bytes())
        how = rng.randrange(6)
        if how == 0:
            content = content[: rng.randrange(len(content))]
        elif how == 1:
            for _ in range(rng.randrange(1, 200)):
                content[rng.randrange(len(content))] = rng.randrange(256)
        elif how == 2:
            content[16:24] = rng.randbytes(8)
        elif how == 3:
            content = bytearray(rng.randbytes(rng.randrange(5000)))
        elif how == 4:
            content = bytearray(
                rng.choice([b"", b"GIF89a", b"\xff\xd8\xff", b"BM", b"II*\0", b"%!PS", b"\0" * 9999])
            )
        else:
            content += rng.randbytes(5000)
        yield rng.choice(names), bytes(content)


def fuzzed(options: argparse.Namespace, words: list[str]) -> dict[str, Any]:
    """Return what made-up requests and hostile files were answered."""
    rng = random.Random(0)  # noqa: S311 - repeatable
    photos = sorted(p for p in options.photos.rglob("*") if p.suffix.lower() in (".png", ".jpg"))[:32]
    service = Service(options.detector, words)
    statuses: dict[str, Counter[str]] = {kind: Counter() for kind in ("healthy", "requests", "files")}
    slowest = 0.0

    def ask(kind: str, method: str, path: str, body: bytes, headers: dict[str, str]) -> None:
        nonlocal slowest
        line, begun = service.connection(), time.monotonic()
        try:
            line.request(method, path, body, headers)
            status = str(line.getresponse().status)
        except TimeoutError:
            status = "hang"
        except (OSError, http.client.HTTPException, socket.gaierror) as error:
            status = type(error).__name__
        slowest = max(slowest, time.monotonic() - begun)
        statuses[kind][status] += 1
        line.close()

    memory: dict[str, list[float]] = {"requests": [], "files": []}
    made, files = nonsense(rng), hostile(photos, rng)
    for photo in photos:  # what inspecting takes is no growth
        body, headers = form(photo.name, photo.read_bytes())
        ask("healthy", "POST", f"{API}/inspect?map=heat", body, headers)
    for number in range(options.fuzz):
        ask("requests", *next(made))
        if number % 50 == 0:
            memory["requests"].append(service.memory())
    for number in range(options.hostile):
        body, headers = form(*next(files))
        ask("files", "POST", f"{API}/inspect?map=heat", body, headers)
        if number % 20 == 0:
            memory["files"].append(service.memory())
    return {
        **{kind: dict(sorted(counts.items())) for kind, counts in statuses.items()},
        "slowest_seconds": round(slowest, 2),
        "memory_mib": {kind: quarters(values) for kind, values in memory.items() if values},
        "exit_code": service.stop(),
    }


def quarters(memory: list[float]) -> list[float]:
    """Return the mean of each quarter of what was seen, in order."""
    return [round(float(part.mean()), 1) for part in np.array_split(memory, 4) if len(part)]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("detector", type=Path)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--minutes", type=float, default=0.0)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--fuzz", type=int, default=0)
    parser.add_argument("--hostile", type=int, default=0)
    parser.add_argument("--serve", default="", metavar="WORDS", help="more words for `serve`")
    options = parser.parse_args()
    words = shlex.split(options.serve)
    found: dict[str, Any] = {}
    if options.minutes:
        found["load"] = loaded(options, words)
    if options.fuzz or options.hostile:
        found["nonsense"] = fuzzed(options, words)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
