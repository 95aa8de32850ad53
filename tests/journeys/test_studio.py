"""Through the studio's page in a real browser, against a real server with tiny models."""

from __future__ import annotations

import json
import re
import shutil
import socket
import threading
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import numpy as np
import pytest
import uvicorn
from playwright.sync_api import Browser, Page, expect, sync_playwright

from blemish.data import read_dataset, read_mask
from blemish.deploy.service.app import create_app
from blemish.deploy.service.settings import ServiceSettings
from blemish.deploy.service.workbench import Workbench
from service_fixtures import chromium, png

PATIENCE = 20_000  # milliseconds


class Site:
    """A served workbench. address: where; folder: of pairs and reports."""

    def __init__(self, bench: Workbench, folder: Path) -> None:
        self.folder = folder
        line = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{line.getsockname()[1]}"
        config = uvicorn.Config(create_app(bench), log_config=None, lifespan="on")
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [line]})
        self.thread.start()

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def site(detector, generator, dataset, tmp_path) -> Iterator[Site]:
    """A service with everything: three pairs of each type to review, a report."""
    generator.generate(dataset.train, {"rust": 3, "scratch": 3}, tmp_path / "pairs", processes=1)
    (tmp_path / "reports").mkdir()
    page = "<!doctype html><title>A report</title><h1>Found them all</h1>"
    (tmp_path / "reports" / "report.html").write_text(page, encoding="utf-8")
    bench = Workbench(
        detector,
        ServiceSettings(),
        generator=generator,
        dataset=dataset,
        pairs=tmp_path / "pairs",
        reports=tmp_path / "reports",
    )
    found = Site(bench, tmp_path)
    yield found
    found.stop()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = chromium()
    with sync_playwright() as driver:
        started = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture
def page(browser, site) -> Iterator[Page]:
    """A page whose every request stays at home and whose scripts never fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    found, wrong = context.new_page(), []
    found.set_default_timeout(PATIENCE)
    expect.set_options(timeout=PATIENCE)
    found.on("pageerror", lambda error: wrong.append(str(error)))
    home = (site.address, "data:", "blob:")
    found.on("request", lambda asked: None if asked.url.startswith(home) else wrong.append(asked.url))
    yield found
    context.close()
    assert not wrong


def photo(name: str = "nut.png", content: bytes | None = None) -> dict[str, object]:
    return {"name": name, "mimeType": "image/png", "buffer": png() if content is None else content}


def manifest(site: Site) -> list[dict]:
    text = (site.folder / "pairs" / "manifest.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def stroke(page: Page, places: list[tuple[float, float]]) -> None:
    """Draw on the mask with the mouse; places are shares of its width and height."""
    box = page.locator(".canvas canvas").bounding_box()
    points = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in places]
    page.mouse.move(*points[0])
    page.mouse.down()
    for point in points[1:]:
        page.mouse.move(*point, steps=5)
    page.mouse.up()


def test_a_photo_is_inspected_and_another_threshold_changes_its_verdict(page, site, detector):
    page.goto(site.address)
    expect(page.get_by_role("heading", name="No photo yet")).to_be_visible()
    page.get_by_label("Choose photos").set_input_files([photo(), photo("bad.png", b"no photo")])
    expect(page.locator(".list .spin")).to_have_count(0)
    expect(page.get_by_role("img", name="Defect map").first).to_be_visible()
    page.get_by_role("button", name="Normal look").click()
    expect(page.get_by_role("img", name="Normal look").first).to_be_visible()
    slider, good = page.get_by_role("slider", name="Threshold"), len(detector.calibration.scores)
    least = 1 / (detector.calibration.parts + 1)
    for key, verdict, count, rate in (("Home", "reject", good, 1), ("End", "pass", 0, least)):
        slider.press(key)
        expect(page.locator(".side .chip")).to_have_text(verdict)
        told = f"{100 * rate:.{1 if rate < 0.1 else 0}f} %"
        words = f"Rejects {count} of {good} held-out good photos: expect at most {told} false alarms."
        expect(page.get_by_text(words)).to_be_visible()
    page.get_by_role("button", name="Back to the calibrated").click()
    page.get_by_role("button", name="bad.png").click()
    expect(page.get_by_role("alert")).to_contain_text("not a photo")


def test_a_defect_is_painted_by_hand_and_kept(page, site):
    page.goto(f"{site.address}/#paint")
    page.get_by_label("Type of defect").select_option("rust")
    expect(page.get_by_text("No mask:")).to_be_visible()
    stroke(page, [(0.4, 0.3), (0.6, 0.35)])
    expect(page.get_by_text("The defect will fill the mask.")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.get_by_text("No mask:")).to_be_visible()
    page.get_by_role("button", name="Redo").click()
    page.get_by_role("button", name="Eraser").click()
    stroke(page, [(0.35, 0.29), (0.45, 0.32)])
    page.get_by_role("button", name="Paint the defect").click()
    page.get_by_role("button", name="Keep it").click()
    expect(page.get_by_role("button", name="Kept")).to_be_visible()
    (kept,) = [line for line in manifest(site) if "hand" in line["image"]]
    assert (kept["label"], kept["accepted"], kept["parameters"]["by_hand"]) == ("rust", True, True)
    images = {record.image for record in read_dataset(site.folder / "pairs").train_defects}
    assert site.folder / "pairs" / kept["image"] in images
    mask = read_mask(site.folder / "pairs" / kept["mask"])
    rows, columns = np.nonzero(mask)
    assert 20 < rows.mean() < 40
    assert columns.mean() > 45  # its left part was erased


def test_a_mask_is_painted_with_the_keyboard_alone(page, site):
    page.goto(f"{site.address}/#paint")
    canvas = page.get_by_role("application")
    expect(page.get_by_text("No mask:")).to_be_visible()
    canvas.focus()
    canvas.press("ArrowUp")
    canvas.press("Space")
    expect(page.get_by_text("The defect will fill the mask.")).to_be_visible()
    canvas.press("z")
    expect(page.get_by_text("No mask:")).to_be_visible()


def test_pairs_are_reviewed_with_keys_and_the_next_training_follows(page, site):
    page.goto(f"{site.address}/#review")
    expect(page.get_by_role("heading", name="rust 000000")).to_be_visible()
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="rust 000001")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="rust 000002")).to_be_visible()
    expect(page.get_by_text("4 not yet decided by you")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    stroke(page, [(0.5, 0.5), (0.6, 0.5)])
    page.keyboard.press("s")
    expect(page.get_by_text("The mask is saved.")).to_be_visible()
    lines = {line["image"]: line for line in manifest(site)}
    states = [lines[f"test/rust/00000{n}.png"]["accepted"] for n in (0, 1)]
    assert states == [False, True]
    corrected = lines["test/rust/000002.png"]
    assert corrected["reviewed"]
    assert read_mask(site.folder / "pairs" / corrected["mask"])[48, 48:57].all()
    learned = {
        r.image.name for r in read_dataset(site.folder / "pairs").train_defects if r.label == "rust"
    }
    assert "000000.png" not in learned
    assert "000001.png" in learned


def test_a_corrected_mask_goes_with_its_acceptance_and_is_not_left_by_mistake(page, site):
    page.goto(f"{site.address}/#review")
    expect(page.get_by_role("heading", name="rust 000000")).to_be_visible()
    page.get_by_role("button", name="Clear").click()
    stroke(page, [(0.5, 0.5), (0.6, 0.5)])
    page.get_by_role("button", name="Next").click()
    expect(page.get_by_text("The mask is not saved")).to_be_visible()
    expect(page.get_by_role("heading", name="rust 000000")).to_be_visible()
    page.keyboard.press("a")
    expect(page.get_by_role("heading", name="rust 000001")).to_be_visible()
    line = next(line for line in manifest(site) if line["image"] == "test/rust/000000.png")
    assert (line["accepted"], line["reviewed"]) == (True, True)
    mask = read_mask(site.folder / "pairs" / line["mask"])
    assert mask[48, 48:57].all()
    assert mask.sum() < 0.1 * mask.size


def test_every_undecided_pair_comes_up_page_after_page(page, site):
    """Two pages of the studio; the list of the undecided grows shorter as they are decided."""
    lines = manifest(site)
    first = next(line for line in lines if line["image"] == "test/rust/000000.png")
    folder = site.folder / "pairs"
    for number in range(100, 160):
        stem = f"rust/{number:06d}"
        names = {"image": f"test/{stem}.png", "mask": f"ground_truth/{stem}_mask.png"}
        for what, name in names.items():
            shutil.copyfile(folder / first[what], folder / name)
        lines.append({**first, **names, "index": number})
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "manifest.jsonl").write_text(text, encoding="utf-8")
    page.goto(f"{site.address}/#review")
    tiles = page.locator(".grid button")
    expect(tiles).to_have_count(60)
    for number in range(2):
        page.keyboard.press("a")
        expect(page.get_by_role("heading", name=f"rust {number + 1:06d}")).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(tiles).to_have_count(66)
    expect(page.get_by_role("button", name="Show more")).to_be_hidden()


def test_a_part_that_is_left_while_it_loads_does_not_listen(page, site):
    held = []

    def hold(route):
        held.append(route)

    page.route("**/api/v1/pairs?*", hold)
    page.goto(f"{site.address}/#review")
    page.wait_for_function("() => location.hash === '#review'")
    page.get_by_role("link", name="Inspect").click()
    expect(page.get_by_role("heading", name="No photo yet")).to_be_visible()
    for route in held:
        route.continue_()
    page.wait_for_load_state("networkidle")
    page.keyboard.press("r")
    expect(page.get_by_role("heading", name="No photo yet")).to_be_visible()
    assert not [line for line in manifest(site) if line.get("reviewed")]


def test_a_service_that_has_too_much_to_do_is_asked_again(page, site):
    asked = []

    def busy(route):
        asked.append(route)
        if len(asked) < 3:
            route.fulfill(status=429, headers={"Retry-After": "1"}, json={"error": "busy"})
        else:
            route.continue_()

    page.route("**/api/v1/inspect?*", busy)
    page.goto(site.address)
    page.get_by_label("Choose photos").set_input_files([photo()])
    expect(page.get_by_role("img", name="Defect map").first).to_be_visible()
    assert len(asked) == 3


def test_more_pairs_are_generated_as_a_job_that_can_be_cancelled(page, site):
    page.goto(f"{site.address}/#review")
    page.get_by_text("Generate more").click()
    page.get_by_label("rust", exact=True).fill("40")
    page.get_by_label("scratch", exact=True).fill("3")
    page.get_by_role("button", name="Generate").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_text(re.compile("^cancelled"))).to_be_visible()
    assert 3 <= len([line for line in manifest(site) if line["label"] == "rust"]) < 40


def test_reports_are_shown(page, site):
    page.goto(f"{site.address}/#reports")
    inside = page.frame_locator("iframe")
    expect(inside.get_by_role("heading", name="Found them all")).to_be_visible()


def test_what_was_not_given_is_said_with_the_command_that_gives_it(browser, detector, tmp_path):
    bare = Site(Workbench(detector, ServiceSettings(key="word")), tmp_path)
    page = browser.new_page()
    page.set_default_timeout(PATIENCE)
    page.goto(bare.address)
    page.get_by_label("Key", exact=True).fill("wrong")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_label("Key", exact=True)).to_have_value("")
    page.get_by_label("Key", exact=True).fill("word")
    page.get_by_role("button", name="Enter").click()
    expect(page.get_by_role("heading", name="No photo yet")).to_be_visible()
    for name, option in (("Paint", "--generator"), ("Review", "--pairs"), ("Reports", "--reports")):
        page.get_by_role("link", name=name).click()
        expect(page.locator(".empty code")).to_contain_text(option)
    page.close()
    bare.stop()


@pytest.mark.parametrize("part", ["inspect", "paint", "review", "reports"])
def test_every_control_has_a_name(page, site, part):
    page.goto(f"{site.address}/#{part}")
    expect(page.locator("main section").first).to_be_visible()
    expect(page.locator("main .spin")).to_have_count(0)
    controls = page.locator("main :is(button, input, select, summary, iframe, canvas)")
    assert controls.count() > 0
    for control in controls.all():
        if control.is_visible():
            assert control.aria_snapshot().strip().rstrip(":") not in (
                "- button",
                "- slider",
                "- spinbutton",
            )


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(digit * 2 for digit in digits) if len(digits) == 3 else digits
    shares = [int(digits[place : place + 2], 16) / 255 for place in (0, 2, 4)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize(
    ("text", "ground"),
    [
        *[
            ("ink", "page"),
            ("ink", "panel"),
            ("muted", "page"),
            ("muted", "panel"),
            ("muted", "sunken"),
        ],
        *[("accent", "panel"), ("on-accent", "accent"), ("good", "good-soft"), ("bad", "bad-soft")],
    ],
)
def test_text_stands_out_from_its_ground(scheme, text, ground):
    style = (resources.files("blemish.deploy") / "studio" / "studio.css").read_text(encoding="utf-8")
    block = re.findall(r":root \{(.*?)\}", style, re.DOTALL)[scheme]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]+)", block))
    low, high = sorted(luminance(colours[name]) for name in (text, ground))
    assert (high + 0.05) / (low + 0.05) >= 4.5
