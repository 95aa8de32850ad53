from __future__ import annotations

import io
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from blemish.data import decode_image
from blemish.deploy.service import uploads
from blemish.deploy.service.problems import Problem
from blemish.detection import TrainedDetector
from blemish.errors import ImageError
from service_fixtures import API, nut, picture, png, sent


def test_a_photo_gets_the_verdict_that_the_detector_gives(serve, detector):
    client = serve()
    (found,) = client.post(f"{API}/inspect", files=sent(png())).json()["results"]
    expected = detector.predict(nut())
    assert found["score"] == pytest.approx(expected.score, abs=1e-5)
    assert (found["name"], found["width"], found["height"]) == ("photo.png", 64, 64)
    assert (found["threshold"], found["anomalous"]) == (expected.threshold, expected.anomalous)
    assert found["map"] is found["reconstruction"] is None


def decoded(url: str) -> np.ndarray:
    import base64

    return picture(base64.b64decode(url.partition("base64,")[2]))


def test_maps_and_normal_looks_come_as_pictures_of_the_photos_size(serve, detector):
    client, photo = serve(), np.array(Image.fromarray(nut()).resize((90, 50)))
    address = f"{API}/inspect?map=heat&reconstruction=true"
    (found,) = client.post(address, files=sent(png(photo))).json()["results"]
    expected = detector.predict(photo)
    np.testing.assert_allclose(decoded(found["map"]), expected.map * 255, atol=1)
    difference = decoded(found["reconstruction"]).astype(int) - expected.reconstruction
    assert np.abs(difference).max() <= 1
    (overlaid,) = client.post(f"{API}/inspect?map=overlay", files=sent(png(photo))).json()["results"]
    assert decoded(overlaid["map"]).shape == (50, 90, 3)


def test_many_photos_are_answered_in_their_order_and_a_bad_one_keeps_its_place(serve, detector):
    client = serve(batch=2)
    photos = [nut(seed) for seed in range(4)]
    contents = [png(photos[0]), b"no photo", *map(png, photos[1:])]
    results = client.post(f"{API}/inspect", files=sent(*contents)).json()["results"]
    assert "not a photo" in results.pop(1)["error"]
    for photo, found in zip(photos, results, strict=True):
        assert found["score"] == pytest.approx(detector.predict(photo).score, abs=1e-5)


def test_requests_that_come_together_share_batches_and_get_their_own_answers(serve, detector):
    client = serve(queue=32)
    photos = [nut(seed) for seed in range(12)]
    with ThreadPoolExecutor(12) as pool:
        found = list(
            pool.map(lambda p: client.post(f"{API}/inspect", files=sent(png(p))).json(), photos)
        )
    for photo, answer in zip(photos, found, strict=True):
        (result,) = answer["results"]
        assert result["score"] == pytest.approx(detector.predict(photo).score, abs=1e-5)


@pytest.mark.parametrize(
    ("query", "name"), [("threshold=-1", "threshold"), ("false_alarm_rate=0.5", "false_alarm_rate")]
)
def test_another_threshold_is_for_that_answer_alone(serve, detector, query, name):
    client = serve()
    (found,) = client.post(f"{API}/inspect?{query}", files=sent(png())).json()["results"]
    wanted = -1 if name == "threshold" else detector.with_false_alarm_rate(0.5).threshold
    assert found["threshold"] == wanted
    assert client.get(f"{API}/models").json()["detector"]["threshold"] == detector.threshold
    counted = "anomalous" if found["anomalous"] else "normal"
    assert f'blemish_photos_total{{verdict="{counted}"}} 1.0' in client.get("/metrics").text


def test_an_answer_at_a_chosen_rate_tells_what_is_really_promised(serve, detector):
    client, held_out = serve(), len(detector.calibration.scores)

    def asked(rate: float) -> dict:
        address = f"{API}/inspect?false_alarm_rate={rate}"
        return client.post(address, files=sent(png())).json()

    kept, broken = asked(0.75), asked(0.001)
    assert (kept["guaranteed_rate"], kept["warning"]) == (0.75, None)
    assert broken["guaranteed_rate"] == 1 / (held_out + 1)
    assert "cannot promise a false-alarm rate of 0.1%" in broken["warning"]
    assert set(client.post(f"{API}/inspect", files=sent(png())).json()) == {"results"}


def test_a_threshold_and_a_rate_together_are_refused(serve):
    address = f"{API}/inspect?threshold=0.5&false_alarm_rate=0.1"
    refused = serve().post(address, files=sent(png()))
    assert refused.status_code == 422
    assert refused.json()["hint"] == "send one of them"


def animated() -> bytes:
    file = io.BytesIO()
    frames = [Image.fromarray(nut(seed)) for seed in range(2)]
    frames[0].save(file, "GIF", save_all=True, append_images=frames[1:])
    return file.getvalue()


def cmyk() -> bytes:
    file = io.BytesIO()
    Image.fromarray(nut()).convert("CMYK").save(file, "JPEG")
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [animated(), cmyk(), png(nut()[:1, :1]), png(np.zeros((20, 20_000, 3), np.uint8))],
    ids=["animated", "cmyk", "one pixel", "a strip"],
)
def test_odd_photos_are_photos(serve, content):
    answer = serve().post(f"{API}/inspect", files=sent(content))
    assert answer.status_code == 200
    assert 0 <= answer.json()["results"][0]["score"] <= 1


def bomb(side: int = 60_000) -> bytes:
    """A small file that claims to be a very large photo."""
    content = bytearray(png())
    content[16:24] = side.to_bytes(4, "big") * 2
    return bytes(content)


@pytest.mark.parametrize(
    "content",
    [b"", b"no photo", png()[:40], png()[:-30], bomb(), b"%!PS-Adobe-3.0 EPSF\n", b"\0" * 1000],
    ids=["empty", "text", "header", "truncated", "bomb", "postscript", "zeros"],
)
def test_what_is_no_photo_is_the_clients_error(serve, content):
    answer = serve().post(f"{API}/inspect", files=sent(content))
    assert answer.status_code == 400
    assert set(answer.json()) == {"error", "hint"}


def test_a_photo_with_more_pixels_than_allowed_is_refused_before_it_is_decoded(serve):
    answer = serve(max_pixels=1000).post(f"{API}/inspect", files=sent(png()))
    assert answer.status_code == 400
    assert "more than 0.001 million pixels" in answer.json()["error"]


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "C:\\x.png", "größe 写真.png", "a" * 3000, "\r\nX: y"]
)
def test_a_name_is_only_ever_shown(serve, name):
    answer = serve().post(f"{API}/inspect", files=sent(png(), name=name))
    assert answer.status_code == 200
    assert len(answer.json()["results"][0]["name"]) <= 200


@pytest.mark.parametrize("limits", [{"max_photos": 2}, {"queue": 2}])
def test_more_photos_than_may_ever_be_sent_together_are_too_much_and_the_limit_is_told(serve, limits):
    client = serve(**limits)
    assert client.get(f"{API}/models").json()["limits"]["max_photos"] == 2
    assert client.post(f"{API}/inspect", files=sent(png(), png())).status_code == 200
    refused = client.post(f"{API}/inspect", files=sent(png(), png(), png()))
    assert refused.status_code == 413
    assert "more than 2 photos" in refused.json()["error"]


def test_requests_without_photos_say_what_was_expected(serve):
    client = serve()
    assert client.post(f"{API}/inspect", json={}).status_code == 415
    nothing = client.post(f"{API}/inspect", files=[("other", ("a", b"x"))])
    assert (nothing.status_code, "photos" in nothing.json()["error"]) == (400, True)
    kind = {"content-type": "multipart/form-data; boundary=x"}
    damaged = client.post(f"{API}/inspect", content=b"--y\r\nnonsense", headers=kind)
    assert damaged.status_code == 400
    unbounded = {"content-type": "multipart/form-data"}
    assert client.post(f"{API}/inspect", content=b"", headers=unbounded).status_code == 400


class Blocked:
    """A detector that looks only when it is let."""

    def __init__(self, inner) -> None:
        self.inner, self.open, self.taken = inner, threading.Event(), threading.Event()

    def __getattr__(self, name):
        return getattr(self.inner, name)

    def predict_many(self, photos, **how):
        self.taken.set()
        assert self.open.wait(20)
        yield from self.inner.predict_many(photos, **how)


def begun(client, pool, blocked):
    """Return a request whose photo the detector is looking at."""
    first = pool.submit(client.post, f"{API}/inspect", files=sent(png()))
    assert blocked.taken.wait(20)
    return first


def test_when_too_much_waits_the_next_is_told_to_come_back(serve, detector):
    blocked = Blocked(detector)
    client = serve(detector=blocked, queue=3, batch=1)
    with ThreadPoolExecutor(8) as pool:
        first = begun(client, pool, blocked)
        three = pool.submit(client.post, f"{API}/inspect", files=sent(png(), png(), png()))
        while client.bench.inspection.waiting < 3:
            pass
        refused = client.post(f"{API}/inspect", files=sent(png()))
        assert refused.status_code == 429
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get(f"{API}/ready").status_code == 200
        blocked.open.set()
        assert first.result().status_code == 200
        assert len(three.result().json()["results"]) == 3
    assert client.post(f"{API}/inspect", files=sent(png())).status_code == 200


@pytest.fixture
def opened(monkeypatch) -> list[str]:
    """The names of the photos that the service decodes."""
    names: list[str] = []

    def decode(content: bytes, name: str, most: int) -> np.ndarray:
        names.append(name)
        return decode_image(content, name, most)

    monkeypatch.setattr(uploads, "decode_image", decode)
    return names


def test_pixels_in_memory_are_bounded_and_what_is_beyond_is_not_decoded(serve, detector, opened):
    blocked = Blocked(detector)
    client = serve(detector=blocked, max_pixels=64 * 64, batch=1)
    with ThreadPoolExecutor(8) as pool:
        first = begun(client, pool, blocked)
        seven = pool.submit(client.post, f"{API}/inspect", files=sent(*[png()] * 7))
        while client.bench.inspection.waiting < 7:
            pass
        refused = client.post(f"{API}/inspect", files=sent(png(), name="late"))
        assert (refused.status_code, "retry-after" in refused.headers) == (429, True)
        assert "late" not in opened
        blocked.open.set()
        assert {first.result().status_code, seven.result().status_code} == {200}
    assert client.post(f"{API}/inspect", files=sent(*[png()] * 8)).status_code == 200


def test_a_request_with_more_pixels_than_there_is_room_for_is_not_decoded(serve, opened):
    client = serve(max_pixels=64 * 64)
    assert client.get(f"{API}/models").json()["limits"]["max_pixels_together"] == 8 * 64 * 64
    refused = client.post(f"{API}/inspect", files=sent(*[png()] * 9))
    assert refused.status_code == 413
    assert set(refused.json()) == {"error", "hint"}
    assert opened == []


def test_room_is_kept_before_decoding_and_given_back_whatever_happens(serve, monkeypatch):
    client = serve(max_pixels=64 * 64, queue=8)
    desk = client.bench.inspection

    def decode(*_: object) -> np.ndarray:
        for photos, pixels in ((8, 0), (0, 8 * 64 * 64)):
            with pytest.raises(Problem, match="too many photos"), desk.place(photos, pixels):
                pass
        raise ImageError("no", hint="later")

    with monkeypatch.context() as patched:
        patched.setattr(uploads, "decode_image", decode)
        assert client.post(f"{API}/inspect", files=sent(png())).status_code == 400
    assert client.post(f"{API}/inspect", files=sent(*[png()] * 8)).status_code == 200


def test_a_photo_that_takes_up_room_keeps_it_until_the_detector_lets_go(serve, detector):
    blocked = Blocked(detector)
    client = serve(detector=blocked, max_pixels=64 * 64, timeout=0.5, batch=1)
    with ThreadPoolExecutor(1) as pool:
        assert begun(client, pool, blocked).result().status_code == 503
    eight = sent(*[png()] * 8)
    assert client.post(f"{API}/inspect", files=eight).status_code == 429
    blocked.open.set()
    while client.post(f"{API}/inspect", files=eight).status_code == 429:
        pass


def test_a_photo_that_needs_too_many_squares_does_not_harm_its_neighbours(serve, detector):
    data = detector.config.data.model_copy(update={"framing": "tiles"})
    config = detector.config.model_copy(update={"data": data})
    weights = detector.inspector.state_dict()
    tiled = TrainedDetector(config, weights, detector.calibration, device="cpu", precision="fp32")
    strip = png(np.zeros((1, 100_000, 3), np.uint8))
    answer = serve(detector=tiled).post(f"{API}/inspect", files=sent(strip, png()))
    strip_result, other = answer.json()["results"]
    assert "needs 2083 squares" in strip_result["error"]
    assert other["score"] == pytest.approx(tiled.predict(nut()).score, abs=1e-5)


def test_an_answer_that_takes_too_long_is_given_up_and_its_photo_passed_over(serve, detector):
    blocked = Blocked(detector)
    client = serve(detector=blocked, timeout=0.5, batch=1)
    with ThreadPoolExecutor(2) as pool:
        first = begun(client, pool, blocked)
        late = client.post(f"{API}/inspect", files=sent(png()))
        assert (late.status_code, first.result().status_code) == (503, 503)
        assert "retry-after" in late.headers
        blocked.open.set()
    while client.bench.inspection.waiting:
        pass
    assert client.post(f"{API}/inspect", files=sent(png())).status_code == 200


class Slow(Blocked):
    """A detector that takes a while for each photo."""

    def predict_many(self, photos, **how):
        for verdict in self.inner.predict_many(photos, **how):
            time.sleep(0.3)
            yield verdict


def test_all_photos_of_a_request_share_one_time_limit(serve, detector):
    client = serve(detector=Slow(detector), timeout=0.5, batch=1)
    late = client.post(f"{API}/inspect", files=sent(*[png()] * 8))
    assert (late.status_code, "retry-after" in late.headers) == (503, True)
    while client.bench.inspection.waiting:
        pass
    counted = client.get("/metrics").text
    assert "blemish_batch_photos_count 8" not in counted, "photos of nobody were looked at"


class Failing(Blocked):
    """A detector that fails once."""

    failed = False

    def predict_many(self, photos, **how):
        if not self.failed:
            self.failed = True
            raise ImageError("no", hint="later")
        yield from self.inner.predict_many(photos, **how)


def test_a_failure_is_that_requests_own_and_the_next_is_served(serve, detector):
    client = serve(detector=Failing(detector))
    assert client.post(f"{API}/inspect", files=sent(png())).status_code == 400
    assert client.post(f"{API}/inspect", files=sent(png())).status_code == 200


def test_models_tell_what_a_client_needs_to_know(serve, detector):
    told = serve().get(f"{API}/models").json()
    assert told["detector"]["guaranteed_rate"] == detector.calibration.guaranteed_rate
    assert told["detector"]["good_scores"] == list(detector.calibration.scores)
    assert told["detector"]["good_families"] == list(detector.calibration.families)
    assert told["generator"]["types"] == ["rust", "scratch"]
    assert all(told["studio"].values())
    bare = serve(bare=True).get(f"{API}/models").json()
    assert bare["generator"] is None
    assert not any(bare["studio"].values())


def test_figures_are_counted_by_route_and_never_by_what_clients_make_up(serve):
    client = serve()
    client.post(f"{API}/inspect", files=sent(png(), png()))
    client.get("/nonsense/of/mine")
    page = client.get("/metrics").text
    assert 'blemish_requests_total{method="POST",route="/api/v1/inspect",status="200"} 1.0' in page
    assert 'route="none",status="404"} 1.0' in page
    assert "nonsense" not in page
    photos = [line for line in page.splitlines() if line.startswith("blemish_photos_total")]
    assert sum(float(line.split()[-1]) for line in photos) == 2
