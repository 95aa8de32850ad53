from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from blemish.data import read_dataset, read_image, read_mask
from service_fixtures import API, picture, png


def first_photo(client) -> str:
    return client.get(f"{API}/photos").json()["photos"][0]["id"]


def drawn(size: int = 96) -> np.ndarray:
    mask = np.zeros((size, size), np.bool_)
    mask[40:52, 30:60] = True
    return mask


def as_text(mask: np.ndarray) -> str:
    return "data:image/png;base64," + base64.b64encode(png(mask)).decode()


def painted(client, **wish) -> dict:
    asked = {"photo": first_photo(client), "type": "rust", **wish}
    answer = client.post(f"{API}/paint", json=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_good_photos_are_offered_under_names_that_say_nothing_of_where_they_are(serve, dataset):
    client = serve()
    told = client.get(f"{API}/photos?limit=3&offset=1").json()
    assert told["total"] == len(dataset.train)
    assert [one["name"] for one in told["photos"]] == ["001.png", "002.png", "003.png"]
    full = client.get(f"{API}/photos/{told['photos'][0]['id']}")
    np.testing.assert_array_equal(picture(full.content), read_image(dataset.train[1].image))
    small = client.get(f"{API}/photos/{told['photos'][0]['id']}/thumbnail")
    assert max(picture(small.content).shape) <= 192
    assert client.get(f"{API}/photos/..%2f..%2fetc").status_code == 404


def test_a_painting_is_the_generators_own(serve, generator, dataset):
    made = painted(serve(), mask=as_text(drawn()), seed=5)
    expected = generator.paint(dataset.train[0].image, "rust", drawn(), seed=5)
    image = picture(base64.b64decode(made["image"].partition(",")[2]))
    np.testing.assert_array_equal(image, expected.image)
    np.testing.assert_array_equal(
        picture(base64.b64decode(made["mask"].partition(",")[2])) > 0, expected.mask
    )
    assert made["accepted"] == (not made["reasons"])


@pytest.mark.parametrize(
    ("wish", "status"),
    [
        ({"photo": "nothing"}, 404),
        ({"type": "unknown"}, 400),
        ({"mask": "!!"}, 400),
        ({"mask": base64.b64encode(b"no picture").decode()}, 400),
        ({"mask": as_text(drawn(50))}, 400),
        ({"mask": as_text(np.zeros((96, 96), np.bool_))}, 400),
        ({"seed": -1}, 422),
        ({"seed": "1"}, 422),
        ({"path": "/etc"}, 422),
    ],
)
def test_wishes_that_cannot_be_met_say_why(serve, wish, status):
    client = serve()
    asked = {"photo": first_photo(client), "type": "rust", **wish}
    answer = client.post(f"{API}/paint", json=asked)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_a_kept_painting_is_learned_from(serve, tmp_path):
    client = serve()
    made = painted(client, mask=as_text(drawn()))
    kept = client.post(f"{API}/paintings/{made['id']}/keep").json()
    assert (kept["label"], kept["reviewed"], kept["accepted"]) == ("rust", True, True)
    (record,) = read_dataset(tmp_path / "pairs").train_defects
    assert record.synthetic
    assert record.made_of
    expected = base64.b64decode(made["image"].partition(",")[2])
    np.testing.assert_array_equal(read_image(record.image), picture(expected))
    again = client.post(f"{API}/paintings/{made['id']}/keep").json()
    assert again["name"] != kept["name"]
    assert client.get(f"{API}/pairs").json()["total"] == 2
    assert client.post(f"{API}/paintings/nothing/keep").status_code == 404


@pytest.fixture
def reviewing(serve, generator, dataset, tmp_path):
    """A client of a service whose folder holds three pairs of each type."""
    counts = {"rust": 3, "scratch": 3}
    generator.generate(dataset.train, counts, tmp_path / "pairs", processes=1)
    return serve()


def line_of(folder, name: str) -> dict:
    lines = (folder / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return next(line for line in map(json.loads, lines) if line["image"] == name)


def test_pairs_are_listed_by_type_and_state(reviewing):
    told = reviewing.get(f"{API}/pairs").json()
    assert told["labels"] == {"rust": 3, "scratch": 3}
    assert told["counts"]["waiting"] == told["total"] == 6
    rust = reviewing.get(f"{API}/pairs?label=rust&limit=2&offset=1").json()
    assert [pair["name"] for pair in rust["pairs"]] == ["000001", "000002"]
    assert reviewing.get(f"{API}/pairs?label=none").json()["total"] == 0


def test_a_decision_is_in_the_manifest_at_once_and_readers_follow_it(reviewing, tmp_path):
    pair = reviewing.get(f"{API}/pairs?label=rust").json()["pairs"][0]
    before = len(read_dataset(tmp_path / "pairs").train_defects)
    for accepted in (False, True):
        told = reviewing.patch(f"{API}/pairs/{pair['id']}", json={"accepted": accepted}).json()
        assert (told["accepted"], told["reviewed"]) == (accepted, True)
        line = line_of(tmp_path / "pairs", "test/rust/000000.png")
        assert (line["accepted"], line["reviewed"]) == (accepted, True)
        names = [
            r.image.name for r in read_dataset(tmp_path / "pairs").train_defects if r.label == "rust"
        ]
        assert ("000000.png" in names) == accepted
    assert reviewing.get(f"{API}/pairs?state=waiting").json()["total"] == 5
    assert len(read_dataset(tmp_path / "pairs").train_defects) in (before, before + 1)


def test_a_corrected_mask_takes_the_old_ones_place_and_is_whole_to_readers(reviewing, tmp_path):
    pair = reviewing.get(f"{API}/pairs?label=scratch").json()["pairs"][1]
    answer = reviewing.patch(f"{API}/pairs/{pair['id']}", json={"mask": as_text(drawn())})
    assert answer.json()["reviewed"]
    file = tmp_path / "pairs" / "ground_truth" / "scratch" / "000001_mask.png"
    np.testing.assert_array_equal(read_mask(file), drawn())
    np.testing.assert_array_equal(
        picture(reviewing.get(f"{API}/pairs/{pair['id']}/mask").content) > 0, drawn()
    )
    assert reviewing.get(f"{API}/pairs/{pair['id']}/image").status_code == 200
    wrong = reviewing.patch(f"{API}/pairs/{pair['id']}", json={"mask": as_text(drawn(50))})
    assert wrong.status_code == 400


def test_nothing_decided_and_unknown_pairs_are_refused(reviewing):
    pair = reviewing.get(f"{API}/pairs").json()["pairs"][0]["id"]
    assert reviewing.patch(f"{API}/pairs/{pair}", json={}).status_code == 400
    assert reviewing.patch(f"{API}/pairs/{pair}", json={"accepted": "yes"}).status_code == 422
    assert reviewing.patch(f"{API}/pairs/nothing", json={"accepted": True}).status_code == 404
    assert reviewing.get(f"{API}/pairs/nothing/image").status_code == 404
    assert reviewing.get(f"{API}/pairs/{pair}/other").status_code == 422


def test_reports_are_shown_in_a_box_that_can_do_nothing(serve):
    client = serve()
    (report,) = client.get(f"{API}/reports").json()
    assert (report["title"], report["path"]) == ("All is well", "deep/report.html")
    page = client.get(f"{API}/reports/{report['id']}")
    assert "fine" in page.text
    assert "sandbox" in page.headers["content-security-policy"]
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert client.get(f"{API}/reports/nothing").status_code == 404


@pytest.mark.parametrize("path", ["/photos", "/pairs", "/reports"])
def test_parts_that_were_not_given_say_which_option_is_missing(serve, path):
    answer = serve(bare=True).get(f"{API}{path}")
    assert answer.status_code == 404
    assert "--" in answer.json()["hint"]


def test_the_page_is_files_of_the_package_and_nothing_else(serve):
    client = serve()
    assert "blemish studio" in client.get("/").text
    assert client.get("/studio/main.js").headers["content-type"].startswith("text/javascript")
    for name in ("..%2fexport.py", "%2e%2e/export.py", "nothing.js", "main.js%00"):
        assert client.get(f"/studio/{name}").status_code == 404
