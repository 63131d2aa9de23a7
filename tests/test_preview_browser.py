"""The page of `msgfm preview` in a real browser: it is looked at, dragged, zoomed and read as a person would."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from preview_data import write_scene
from rasterio.io import MemoryFile
from rasterio.warp import transform
from scene_data import UTM, at, write

from msgfm.scenes.preview import PreviewRequest, write_preview

playwright = pytest.importorskip("playwright.sync_api", reason="drives the browser: pip install playwright")
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_BROWSER = next(filter(None, map(shutil.which, _NAMES)), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(_BROWSER is None, reason=f"no browser here (one of {', '.join(_NAMES)})"),
    pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning"),  # screenshots
]

SIDE = 120
RED, BLUE = (220, 30, 30), (20, 60, 220)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=_BROWSER, args=quiet)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def page_file(tmp_path_factory) -> Path:
    """Two maps of one place, the first all red, the second blue, and radar."""
    folder = tmp_path_factory.mktemp("preview")
    places = []
    for name, colour in (("red", RED), ("blue", BLUE)):
        places.append(write(folder / f"{name}.tif", np.ones((1, SIDE, SIDE), np.uint8)))
        with rasterio.open(places[-1], "r+") as target:
            target.write_colormap(1, {1: (*colour, 255)})
    places.append(write(folder / "s1.tif", np.random.default_rng(0).normal(-12, 3, (2, SIDE, SIDE)).astype(np.float32)))
    write_preview(PreviewRequest(places=tuple(map(str, places)), labels=("red", "blue", "radar")), folder / "page.html")
    return folder / "page.html"


class Visit:
    """A page that is open, and what it asked for and complained of."""

    def __init__(self, browser: Any, file: Path, **options: Any) -> None:
        self.context = browser.new_context(**({"viewport": {"width": 1200, "height": 900}} | options))
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())

    def stage(self) -> dict[str, float]:
        return self.page.locator("#stage").bounding_box()

    def colour_at(self, across: float, down: float = 0.3) -> tuple[int, ...]:
        """What is seen at a place of the stage, as a share of its width and height."""
        with MemoryFile(self.page.locator("#stage").screenshot()) as memory, memory.open() as picture:
            pixels = picture.read((1, 2, 3))
        _, height, width = pixels.shape
        return tuple(pixels[:, int(down * (height - 1)), int(across * (width - 1))].tolist())

    def point(self, across: float, down: float) -> tuple[float, float]:
        box = self.stage()
        return box["x"] + across * box["width"], box["y"] + down * box["height"]

    def readout(self) -> str:
        return self.page.locator("#readout").inner_text()

    def transforms(self) -> list[str]:
        return [self.page.locator(f"#pane-{side} img").evaluate("e => e.style.transform") for side in ("left", "right")]


@pytest.fixture
def visit(browser, page_file) -> Iterator[Visit]:
    visit = Visit(browser, page_file)
    yield visit
    assert visit.complaints == []
    visit.context.close()


def near(seen: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    return max(abs(a - b) for a, b in zip(seen, wanted, strict=True)) <= 2


def test_everything_is_there_and_nothing_is_fetched(visit, page_file):
    assert [address for address in visit.requests if not address.startswith("data:")] == [page_file.as_uri()]
    sizes = visit.page.locator("figure > img").evaluate_all("all => all.map(e => [e.naturalWidth, e.naturalHeight])")
    assert sizes == [[SIDE, SIDE]] * 3
    assert visit.page.locator("figcaption h3").all_inner_texts() == ["red", "blue", "radar"]
    assert visit.page.title() == "red | blue | radar"


def test_the_slider_divides_the_two_images_and_is_dragged(visit):
    assert near(visit.colour_at(0.4), RED) and near(visit.colour_at(0.6), BLUE)
    visit.page.mouse.move(*visit.point(0.5, 0.5))
    visit.page.mouse.down()
    visit.page.mouse.move(*visit.point(0.35, 0.5), steps=4)
    visit.page.mouse.up()
    assert visit.page.locator("#handle").get_attribute("aria-valuenow") == "35"
    assert near(visit.colour_at(0.4), BLUE)


def test_the_slider_is_moved_with_the_keyboard(visit):
    handle = visit.page.locator("#handle")
    handle.focus()
    for _ in range(5):
        visit.page.keyboard.press("ArrowRight")
    assert handle.get_attribute("aria-valuenow") == "60"
    assert near(visit.colour_at(0.58), RED)
    visit.page.keyboard.press("Home")
    assert near(visit.colour_at(0.4), BLUE)
    assert "red left, blue right" in handle.get_attribute("aria-valuetext")


def test_images_are_chosen_and_swapped(visit):
    visit.page.click("#swap")
    assert near(visit.colour_at(0.4), BLUE) and near(visit.colour_at(0.6), RED)
    visit.page.select_option("#right", label="blue")
    assert near(visit.colour_at(0.6), BLUE)
    assert visit.page.locator("#pane-right .name").inner_text() == "blue"


def test_both_images_are_zoomed_and_moved_together(visit):
    visit.page.get_by_role("button", name="Side by side").click()
    assert near(visit.colour_at(0.25), RED) and near(visit.colour_at(0.75), BLUE)
    before = visit.transforms()
    assert before[0] == before[1]
    visit.page.mouse.move(*visit.point(0.3, 0.4))
    visit.page.mouse.wheel(0, -300)
    zoomed = visit.transforms()
    assert zoomed[0] == zoomed[1] != before[0]
    visit.page.locator("#stage").focus()
    visit.page.keyboard.press("ArrowLeft")
    moved = visit.transforms()
    assert moved[0] == moved[1] != zoomed[0]
    visit.page.keyboard.press("0")
    assert visit.transforms() == before


def in_degrees(text: str) -> tuple[float, float]:
    latitude, north, longitude, east = re.search(r"([\d.]+)° ([NS]), ([\d.]+)° ([EW])", text).groups()
    return float(longitude) * (1 if east == "E" else -1), float(latitude) * (1 if north == "N" else -1)


def test_the_place_under_the_pointer_is_told_and_stays_there_when_zoomed_and_dragged(visit):
    place = visit.point(0.45, 0.25)
    visit.page.mouse.move(*place)
    told = visit.readout()
    x, y = (float(number) for number in re.search(r"x ([\d.]+), y ([\d.]+)", told).groups())
    (longitude,), (latitude,) = transform(UTM, "EPSG:4326", [x], [y])
    assert in_degrees(told) == pytest.approx((longitude, latitude), abs=2e-5)
    row, column = (int(number) for number in re.search(r"row (\d+), column (\d+)", told).groups())
    assert (row, column) == (int((5_000_000 - y) // 10), int((x - 500_000) // 10))
    visit.page.mouse.wheel(0, -500)
    assert in_degrees(visit.readout()) == pytest.approx(in_degrees(told), abs=2e-5)
    visit.page.mouse.down()
    visit.page.mouse.move(place[0] + 90, place[1] + 40, steps=5)
    visit.page.mouse.up()
    assert in_degrees(visit.readout()) == pytest.approx(in_degrees(told), abs=3e-5)


def test_one_pixel_can_be_seen_sharp(visit):
    visit.page.locator("#stage").focus()
    for _ in range(12):
        visit.page.keyboard.press("+")
    assert "pixels" in visit.page.locator("#pane-left").get_attribute("class")
    assert re.search(r"\d+ m$", visit.page.locator("#scale").inner_text())


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_phone_shows_all_without_moving_sideways_in_its_own_colours(browser, page_file, scheme):
    visit = Visit(browser, page_file, viewport={"width": 360, "height": 740}, has_touch=True, color_scheme=scheme)
    wide = "[...document.querySelectorAll('body *')].filter(e => !e.closest('#stage, svg, .scroll') && "
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= 360
    assert visit.page.evaluate(wide + "e.getBoundingClientRect().right > 361).map(e => e.outerHTML)") == []
    ground = visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground)[:3])) < 384) == (scheme == "dark")
    visit.page.click("#theme")
    assert visit.page.evaluate("getComputedStyle(document.body).backgroundColor") != ground
    flat = "[...document.querySelectorAll('button, select')].filter(e => e.offsetHeight && e.offsetHeight < 36)"
    assert visit.page.evaluate(flat + ".map(e => e.outerHTML)") == []  # a finger finds them all
    visit.page.get_by_role("button", name="Side by side").click()
    left, right = (visit.page.locator(f"#pane-{side}").bounding_box() for side in ("left", "right"))
    assert right["y"] > left["y"] + left["height"] - 1 and left["width"] > 300  # one above the other
    visit.context.close()


def test_everything_has_a_name_for_who_does_not_see_it(visit):
    nameless = """[...document.querySelectorAll('button, select, [role=slider], figure img, svg, section')].filter(e =>
        e.offsetParent !== null && !(e.ariaLabel || e.alt || e.innerText || e.labels?.length ||
        e.hasAttribute('aria-labelledby') || e.hasAttribute('aria-label'))).map(e => e.outerHTML)"""
    assert visit.page.evaluate(nameless) == []
    assert visit.page.locator("html").get_attribute("lang") == "en"
    assert visit.page.locator("h1").count() == 1


def test_without_scripts_pictures_and_facts_are_still_there(browser, page_file):
    visit = Visit(browser, page_file, java_script_enabled=False)
    assert visit.page.locator("figure > img").first.is_visible()
    assert not visit.page.locator("#viewer").is_visible()
    assert "EPSG:32633" in visit.page.locator("main").inner_text()
    visit.context.close()


def test_an_image_alone_has_no_slider(browser, tmp_path):
    radar, *_ = write_scene(tmp_path)
    write_preview(PreviewRequest(places=(str(radar),)), tmp_path / "page.html")
    visit = Visit(browser, tmp_path / "page.html")
    assert visit.page.locator("#stage").is_visible()
    assert not visit.page.locator("#handle").is_visible()
    assert not visit.page.locator("#left").is_visible()
    assert visit.complaints == []
    visit.context.close()


def test_pixels_of_a_geographic_grid_are_as_wide_as_on_the_ground(browser, tmp_path):
    array = np.ones((1, 100, 100), np.uint8)
    place = write(tmp_path / "a.tif", array, crs="EPSG:4326", transform=at(1e-4, 10, 60))  # cos 60 degrees is a half
    write_preview(PreviewRequest(places=(str(place),)), tmp_path / "page.html")
    visit = Visit(browser, tmp_path / "page.html")
    for picture in ("figure > img", "#pane-left img"):
        box = visit.page.locator(picture).bounding_box()
        assert box["width"] / box["height"] == pytest.approx(0.5, rel=0.02)
    visit.context.close()
