"""The page in a real browser."""

import io
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from explore_toys import HOSTILE
from PIL import Image

import ellipsoid as el
from ellipsoid.models import procedural_faces

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium"),
]

# This file is dropped on the page.
DROP = """([bytes, name]) => {
  const transfer = new DataTransfer();
  transfer.items.add(new File([new Uint8Array(bytes)], name, { type: "image/png" }));
  for (const kind of ["dragover", "drop"]) {
    const event = new DragEvent(kind, { dataTransfer: transfer, bubbles: true, cancelable: true });
    document.querySelector("#frame").dispatchEvent(event);
  }
}"""
PIXELS = """canvas => {
  const { width, height } = canvas;
  return [height, width, [...canvas.getContext("2d").getImageData(0, 0, width, height).data]];
}"""


@pytest.fixture(scope="module")
def address(trained_run, tmp_path_factory):
    """Address of the page of a run that has a mixture with a hostile label beside its state."""
    run = shutil.copytree(trained_run, tmp_path_factory.mktemp("explored") / "run")
    latents = np.load(run / "latents.npy")
    el.fit_by_label(latents, np.where(latents[:, 0] > 0, "plain", HOSTILE)).save(run / "by_label.npz")
    command = [sys.executable, "-m", "ellipsoid", "explore", str(run), "--no-browser"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            found = re.search(r"at (http://127\.0\.0\.1:\d+/\?token=\S+)", server.stdout.readline())
            assert found is not None
            yield found[1]
        finally:
            server.terminate()


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as engine:
        browser = engine.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser, address):
    """Function that opens the page; at the end nothing may have gone wrong, or outside."""
    problems, requests = [], []

    def open_it(at=address, **options):
        page = browser.new_context(**options).new_page()
        page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(at)
        page.wait_for_selector("#draws .tile canvas")
        settle(page)
        return page

    yield open_it
    # The browser reports each answer that is not a success.
    problems = [text for text in problems if "status of 400" not in text]
    assert problems == []
    origin = address.partition("/?")[0]
    assert all(url.startswith((origin + "/", "data:", "blob:" + origin)) for url in requests)


def settle(page):
    """Wait until all requested pictures are shown."""
    page.wait_for_timeout(300)
    page.wait_for_selector("main[aria-busy=false]")
    page.wait_for_timeout(50)


def pixels(page, selector="#picture"):
    height, width, values = page.locator(selector).evaluate(PIXELS)
    return np.array(values, np.uint8).reshape(height, width, 4)[..., :3]


def drag(page, slider, positions):
    """Drag a slider with the mouse to places between 0 and 1."""
    box = slider.bounding_box()
    height = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] / 2, height)
    page.mouse.down()
    for position in positions:
        page.mouse.move(box["x"] + box["width"] * position, height)
        page.wait_for_timeout(16)
    page.mouse.up()
    settle(page)


def test_a_person_explores(open_page, tmp_path):
    page = open_page()
    first = pixels(page)
    sliders = page.locator("#components input")
    assert sliders.count() == 8

    # A slider moves the picture, at once.
    drag(page, sliders.nth(0), 0.5 + 0.3 * np.sin(np.arange(100) / 8))
    moved = pixels(page)
    assert (moved != first).any()
    times = page.evaluate("performance.getEntriesByName('move').map(entry => entry.duration)")
    assert len(times) > 20
    print("from slider to picture, ms at 50 % and 95 %:", np.quantile(times, [0.5, 0.95]).round(1))
    assert np.median(times) < 250  # 18 on two idle cores; the machine may have other work
    assert page.locator("#side").inner_text().startswith("inside")

    # Undo and redo, by keys too.
    page.get_by_role("button", name="Undo").click()
    settle(page)
    np.testing.assert_array_equal(pixels(page), first)
    page.keyboard.press("y")
    settle(page)
    np.testing.assert_array_equal(pixels(page), moved)

    # A draw that is pressed becomes the picture.
    page.locator("#draws .tile").nth(5).click()
    settle(page)
    assert page.locator("#draws .tile").nth(5).get_attribute("aria-pressed") == "true"
    np.testing.assert_array_equal(pixels(page), pixels(page, "#draws .tile:nth-child(6) canvas"))
    page.keyboard.press("a")
    settle(page)

    # So does a picture that is dropped.
    content = io.BytesIO()
    face = procedural_faces(1, 48, key=el.key(5)).images[0]
    Image.fromarray(face).save(content, "PNG")
    page.evaluate(DROP, [list(content.getvalue()), HOSTILE + ".png"])
    page.wait_for_selector("#pair:not([hidden])")
    settle(page)
    np.testing.assert_array_equal(pixels(page), pixels(page, "#rebuilt"))
    assert pixels(page, "#original").shape == (16, 16, 3)

    # From A to B.
    page.keyboard.press("b")
    settle(page)
    np.testing.assert_array_equal(pixels(page, "#frames .tile:last-child canvas"), pixels(page))
    drag(page, page.locator("#t"), [0.3])
    page.get_by_label("Show them").check()
    page.wait_for_selector("#nearest canvas")
    drag(page, sliders.nth(1), [0.6, 0.7])

    # The link shows the same, and so do the files.
    shown = pixels(page)
    np.testing.assert_array_equal(pixels(open_page(page.url)), shown)
    for button, check in (
        ("Picture (PNG)", same_picture),
        ("Latents (.npz)", is_latents),
        ("Film (GIF)", is_film),
    ):
        with page.expect_download() as download:
            page.get_by_role("button", name=button).click()
        download.value.save_as(tmp_path / download.value.suggested_filename)
        check(tmp_path / download.value.suggested_filename, shown)
    assert "el.load" in page.locator("#code").inner_text()


def same_picture(path, shown):
    with Image.open(path) as image:
        times = image.width // 16
        np.testing.assert_array_equal(np.asarray(image)[::times, ::times], shown)


def is_latents(path, _):
    with np.load(path, allow_pickle=False) as file:
        assert file["latents"].shape == (1, 8)


def is_film(path, _):
    with Image.open(path) as film:
        assert film.n_frames > 9


def test_hostile_names_are_text_and_other_shapes_are_offered(open_page):
    page = open_page()
    page.locator("#shape").select_option("by_label")
    settle(page)
    page.locator("#label").select_option(HOSTILE)
    settle(page)
    page.locator("#draws .tile").nth(0).click()
    settle(page)
    assert "label=" in page.locator("#code").inner_text()
    assert page.locator("img").count() == 0
    assert page.locator("#status").inner_text() == ""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_can_be_used_by_keys(open_page, scheme):
    page = open_page(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    slider = page.locator("#components input").nth(0)
    slider.focus()
    before = pixels(page)
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert (pixels(page) != before).any()
    assert slider.get_attribute("aria-valuetext") == "1.00 standard deviations"
    # All controls have a name, and the one with the focus shows it.
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, canvas:not([aria-hidden])")]
          .filter(one => one.checkVisibility())
          .filter(one => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
          .map(one => one.id)"""
    )
    assert nameless == []
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def test_a_link_that_makes_no_sense_is_survived(open_page, address):
    page = open_page(address + "#moves=%7B%22c99%22%3A1%7D&level=oops&seed=NaN")
    assert page.locator("#status").inner_text().startswith("moves: expected c0 to c7")
    page.get_by_role("button", name="Reset").click()
    settle(page)
    assert page.locator("#status").inner_text() == ""
