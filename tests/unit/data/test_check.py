from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from blemish.config import CalibrationConfig, DataConfig
from blemish.data import encode_png, hold_out
from blemish.data.check import ENOUGH_GOOD, check
from blemish.data.images import read_image
from blemish.data.readers import read_dataset
from blemish.errors import ImageError


@pytest.fixture
def clean(tmp_path, paint, spot):
    """A small dataset with nothing wrong."""
    for number in range(ENOUGH_GOOD):
        paint(f"train/good/{number}.png")
    paint("test/good/a.png")
    for number in range(2):
        paint(f"test/crack/{number}.png")
        paint(f"ground_truth/crack/{number}_mask.png", spot)
    return tmp_path


def only_problem(report):
    assert len(report.problems) == 1, report.problems
    assert report.problems[0].fix
    return report.problems[0]


def test_a_clean_dataset_has_no_problems_and_is_counted(clean):
    report = check(clean)
    assert report.ok
    assert report.problems == ()
    assert report.counts == {"train": {"good": 76}, "test": {"crack": 2, "good": 1}}
    assert report.sizes == {(40, 48): 79}
    assert json.loads(json.dumps(report.summary()))["sizes"] == {"48x40": 79}


def test_an_unreadable_photo_is_an_error(clean):
    (clean / "train/good/x.png").write_bytes((clean / "train/good/1.png").read_bytes()[:200])
    problem = only_problem(check(clean))
    assert (problem.severity, problem.file.name) == ("error", "x.png")
    assert "truncated" in problem.what


def test_a_mask_without_an_image_is_an_error_that_reading_survives(clean, paint, spot):
    paint("ground_truth/crack/9_mask.png", spot)
    report = check(clean)
    assert "mask without an image" in only_problem(report).what
    assert not report.ok
    assert len(read_dataset(clean).records) == 79


def test_folders_of_photos_beside_the_splits_are_reported_with_their_place(clean, paint, spot):
    paint("dent/1.png"), paint("ok/1.png"), paint("masks/crack/0.png", spot)
    (clean / "masks/crack/0.png").unlink()
    (clean / "notes").mkdir()
    (clean / "notes/shift.txt").write_text("2")
    report = check(clean)
    assert report.ok
    fixes = {p.file.name: p.fix for p in report.problems}
    assert fixes == {
        "dent": "move its photos, if they show defects, into test/dent/ to judge by, or train/dent/ to "
        "learn from",
        "ok": "move its photos into train/good/ or test/good/",
    }
    shutil.rmtree(clean / "train")
    errors = [p for p in check(clean).problems if p.severity == "error"]
    assert [p.fix for p in errors if p.file.name == "ok"] == ["move its photos into train/good/"]


def test_masks_of_a_type_without_photos_are_errors(clean, paint, spot):
    paint("ground_truth/hole/1_mask.png", spot)
    paint("ground_truth/flat.png", spot)
    assert [p.file.name for p in check(clean).problems] == ["flat.png", "1_mask.png"]


def test_a_mask_outside_the_folder_of_its_type_is_to_be_moved_there(clean, paint, spot):
    paint("ground_truth/0_mask.png", spot)
    problem = only_problem(check(clean))
    assert "mask without an image" in problem.what
    assert problem.fix == "move it into ground_truth/<type>/, the type of its photo"


def test_a_photo_without_its_mask_is_an_error(clean):
    (clean / "ground_truth/crack/1_mask.png").unlink()
    assert "has no mask" in only_problem(check(clean)).what


def test_a_type_without_masks_is_a_warning(clean):
    shutil.rmtree(clean / "ground_truth")
    report = check(clean)
    assert report.ok
    assert "2 photos of crack have no mask" in only_problem(report).what
    assert check(clean, masks="none").problems == ()


@pytest.mark.parametrize(
    ("mask", "what"),
    [(np.zeros((40, 48), np.uint8), "is empty"), (np.ones((48, 40), np.uint8), "expected 48x40")],
)
def test_an_empty_or_misfit_mask_is_an_error(clean, paint, mask, what):
    paint("ground_truth/crack/1_mask.png", mask)
    report = check(clean)
    assert what in only_problem(report).what
    assert not report.ok


@pytest.mark.parametrize(
    ("marked", "share"), [(1920, "all"), (1872, "98%"), (1153, "60%"), (1152, None), (1, None)]
)
def test_a_mask_of_most_of_its_photo_is_a_warning_that_it_may_be_inverted(clean, paint, marked, share):
    mask = np.zeros(40 * 48, np.uint8)
    mask[:marked] = 255
    paint("ground_truth/crack/1_mask.png", mask.reshape(40, 48))
    report = check(clean)
    assert report.ok
    if share is None:
        assert report.problems == ()
    else:
        problem = only_problem(report)
        assert problem.severity == "warning"
        assert f"1_mask.png covers {share} of its photo: it may be inverted" in problem.what
        assert "white where the defect is" in problem.fix


def test_a_mask_drawn_in_transparency_covers_all_of_its_photo(clean, spot):
    layer = np.full((40, 48, 4), 255, np.uint8)
    layer[..., 3] = spot
    Image.fromarray(layer).save(clean / "ground_truth/crack/1_mask.png")
    problem = only_problem(check(clean))
    assert "covers all of its photo" in problem.what
    assert "drawn in transparency" in problem.what
    assert "without transparency" in problem.fix


def test_the_same_pixels_in_train_and_test_are_an_error_whatever_the_file(clean):
    Image.fromarray(read_image(clean / "train/good/3.png")).save(clean / "test/good/b.bmp")
    report = check(clean)
    assert "same pixels" in only_problem(report).what
    assert "3.png" in only_problem(report).what
    assert not report.ok


@pytest.mark.parametrize("quality", [60, 95])
def test_a_photo_saved_again_in_the_other_split_is_a_warning(clean, quality):
    large = Image.fromarray(read_image(clean / "train/good/3.png")).resize((480, 400))
    large.save(clean / "train/good/3.png")
    large.save(clean / "test/good/b.jpg", quality=quality)
    problem = only_problem(check(clean))
    assert problem.severity == "warning"
    assert "nearly the same" in problem.what
    assert "3.png" in problem.what


def test_too_few_good_photos_are_an_error(clean):
    for number in range(9, ENOUGH_GOOD):
        (clean / f"train/good/{number}.png").unlink()
    report = check(clean)
    assert "9 readable good photos" in only_problem(report).what
    assert not report.ok


@pytest.mark.parametrize(("count", "kept", "rate"), [(75, 18, "5%"), (24, 6, "14%"), (10, 2, "33%")])
def test_too_few_good_photos_for_the_usual_promise_are_a_warning(clean, count, kept, rate):
    for number in range(count, ENOUGH_GOOD):
        (clean / f"train/good/{number}.png").unlink()
    report = check(clean)
    assert report.ok
    problem = only_problem(report)
    assert problem.severity == "warning"
    words = f"{count} good photos to train on: a quarter is held out, and {kept} cannot promise"
    assert problem.what == f"{words} a false-alarm rate of 5%, only {rate}"
    assert "take 76 or more" in problem.fix


def test_enough_good_photos_are_those_of_which_training_holds_out_enough(clean):
    train, data = read_dataset(clean).train, DataConfig()
    needed = 1 / CalibrationConfig().false_alarm_rate - 1
    for records, enough in ((train, True), (train[1:], False)):
        at_least = min(data.holdout_at_least, len(records) // 4)
        split = hold_out(records, seed=0, fraction=data.holdout, at_least=at_least)
        assert (len(split.validation) >= needed) is enough


def test_odd_photos_and_left_out_files_are_warnings(clean, paint):
    paint("train/good/tiny.png", np.uint8([[1, 2], [3, 4]]))
    paint("train/good/long.png", np.uint8(np.arange(40 * 400).reshape(40, 400) % 251))
    paint("train/good/black.png", np.zeros((40, 48), np.uint8))
    (clean / "train/good/IMG_1").write_text("no extension")
    report = check(clean)
    assert report.ok
    found = {p.file.name: p.what for p in report.problems}
    assert "under 32 pixels" in found["tiny.png"]
    assert "times as long" in found["long.png"]
    assert "one colour" in found["black.png"]
    assert "left out" in found["IMG_1"]


@pytest.mark.parametrize(("name", "top"), [("png", 65535), ("tif", 65535), ("float.tif", 1)])
@pytest.mark.parametrize(("bits", "factor"), [(10, 64), (12, 16), (13, 8), (14, None)])
def test_deep_photos_that_use_little_of_their_range_are_a_warning(tmp_path, bits, factor, name, top):
    (tmp_path / "good").mkdir()
    for number in range(10):
        values = np.random.default_rng(number).integers(0, 2**bits, (40, 48))
        values[0, 0] = 2**bits - 1
        deep = np.float32(values / 65535) if top == 1 else values.astype(np.uint16)
        Image.fromarray(deep).save(tmp_path / f"good/{number}.{name}")
    found = [p for p in check(tmp_path).problems if "deep grey" in p.what]
    assert [p.severity for p in found] == (["warning"] if factor else [])
    if factor:
        assert "10 of 10 deep grey photos" in found[0].what
        assert f" by {factor} " in found[0].fix


def test_dark_photos_of_eight_bits_and_a_few_deep_ones_are_no_warning(clean, paint):
    paint("train/good/dark.png", np.uint8(np.arange(1920).reshape(40, 48) % 20))
    assert check(clean).problems == ()
    for number in range(10):
        deep = np.uint16(np.random.default_rng(number).integers(0, 65536 if number else 4096, (40, 48)))
        paint(f"train/good/deep {number}.png", deep)
    assert check(clean).problems == ()


def test_copies_among_the_good_training_photos_are_one_warning(clean):
    folder = clean / "train/good"
    for number in range(4):
        Image.fromarray(read_image(folder / f"{number}.png")).save(folder / f"copy {number}.bmp")
    shutil.copy(clean / "test/crack/0.png", clean / "test/crack/2.png")
    shutil.copy(clean / "ground_truth/crack/0_mask.png", clean / "ground_truth/crack/2_mask.png")
    problem = only_problem(check(clean))
    assert problem.severity == "warning"
    assert problem.what.startswith("4 good training photos are copies of others: ")
    assert f"{folder / 'copy 0.bmp'} of {folder / '0.png'}" in problem.what
    assert problem.what.endswith(" and 1 more")


def test_a_bad_manifest_is_reported_line_by_line(tmp_path, paint):
    for number in range(ENOUGH_GOOD):
        paint(f"{number}.png")
    lines = [f'{{"image": "{n}.png"}}' for n in range(ENOUGH_GOOD)] + ["{", '{"image": "../x.png"}']
    (tmp_path / "manifest.jsonl").write_text("\n".join(lines))
    report = check(tmp_path)
    assert [p.what.split(": ")[0].split()[-1] for p in report.problems] == ["77", "78"]
    assert report.counts == {"train": {"good": 76}}


@pytest.mark.parametrize("drawn", [0, 1, 2])
def test_photos_of_a_manifest_without_a_mask_are_a_warning_even_where_others_have_one(
    clean, spot, drawn
):
    (clean / "mask.png").write_bytes(encode_png(spot > 0))
    lines = [{"image": f"train/good/{n}.png"} for n in range(ENOUGH_GOOD)]
    for number in range(2):
        mask = {"mask": "mask.png"} if number < drawn else {}
        lines.append({"image": f"test/crack/{number}.png", "label": "crack", **mask})
    (clean / "manifest.jsonl").write_text("\n".join(map(json.dumps, lines)))
    report = check(clean)
    assert report.ok
    if drawn == 2:
        assert report.problems == ()
    else:
        problem = only_problem(report)
        assert problem.what.startswith(f"{2 - drawn} photos of crack have no mask")
        assert problem.fix == "draw masks, and write their paths as mask into the lines of their photos"
    assert check(clean, masks="none").problems == ()


@pytest.mark.parametrize("name", ["absent", "empty"])
def test_a_path_without_photos_is_one_error(tmp_path, name):
    (tmp_path / "empty").mkdir()
    report = check(tmp_path / name)
    assert only_problem(report).severity == "error"
    assert not report.ok


def test_a_name_that_is_no_text_is_reported_in_printable_words(clean):
    shutil.copy(clean / "test/good/a.png", os.fsencode(clean) + b"/train/good/\xff.png")
    problem = only_problem(check(clean))
    assert "not valid UTF-8" in problem.what
    assert json.dumps(check(clean).summary(), ensure_ascii=False).encode()


def test_a_folder_of_odd_files_gives_a_result_or_an_error_for_each(tmp_path, paint):
    folder = tmp_path / "good"
    photo = Image.fromarray(read_image(paint("good/plain.png")))
    whole = (folder / "plain.png").read_bytes()
    grey = np.uint16(np.arange(1920).reshape(40, 48) * 30)
    readable = {"plain.png"}
    for name, picture, options in [
        ("cmyk.jpg", photo.convert("CMYK"), {}),
        ("cmyk.tif", photo.convert("CMYK"), {}),
        ("palette.png", photo.convert("P"), {}),
        ("bilevel.tif", photo.convert("1"), {}),
        ("grey alpha.png", photo.convert("LA"), {}),
        ("rgba.webp", photo.convert("RGBA"), {}),
        ("deep.png", Image.fromarray(grey), {}),
        ("deep.tif", Image.fromarray(grey), {}),
        ("float.tif", Image.fromarray(np.float32(grey / 65535)), {}),
        ("animated.gif", photo, {"save_all": True, "append_images": [photo.rotate(90)]}),
        ("pages.tif", photo, {"save_all": True, "append_images": [photo.rotate(90)]}),
        ("one.png", Image.new("L", (1, 1), 3), {}),
        ("endless.png", Image.new("L", (20_000, 20)), {}),
        ("größe 写真 📷.png", photo, {}),
        ("UPPER.JPG", photo, {}),
        ("progressive.jpg", photo, {"progressive": True}),
        ("lossy.jp2", photo, {}),
    ]:
        picture.save(folder / name, **options)
        readable.add(name)
    for orientation in range(12):
        exif = Image.Exif()
        exif[0x0112] = orientation
        photo.save(folder / f"turned {orientation}.jpg", exif=exif)
        readable.add(f"turned {orientation}.jpg")
    for share in range(1, 10):
        (folder / f"cut {share}.png").write_bytes(whole[: len(whole) * share // 10])
    (folder / "nothing.png").touch()
    (folder / "text.jpg").write_text("hello")
    (folder / "zip.png").write_bytes(b"PK\x03\x04" + bytes(40))
    (folder / "zeros.tif").write_bytes(bytes(5000))
    (folder / "header.png").write_bytes(whole[:8])
    os.mkfifo(folder / "pipe.png")
    (folder / "dangling.png").symlink_to(tmp_path / "nowhere.png")
    paint("dent/1.png")

    good = [r for r in read_dataset(tmp_path).records if r.is_good]
    assert len(good) == len(list(folder.iterdir()))
    fine = set()
    for record in good:
        try:
            fine.add(record.image.name)
            assert read_image(record.image).ndim == 3
        except ImageError:
            fine.discard(record.image.name)
    assert fine == readable
    errors = {p.file.name for p in check(tmp_path).problems if p.severity == "error"}
    assert {r.image.name for r in good} - readable <= errors
