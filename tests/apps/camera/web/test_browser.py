"""The page in a real Chromium; needs playwright and a chromium on the machine."""

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
sync_api: Any = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
PHONE = {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("needs chromium")
    with sync_api.sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page; whatever it complains about is an error of the test."""
    complaints: list[str] = []
    contexts = []

    def open_(url: str, **options: Any) -> Any:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.goto(url)
        return page

    yield open_
    for context in contexts:
        context.close()
    assert complaints == []


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.05)
    return value


def pixels(page: Any, selector: str) -> str:
    """A picture or canvas of the page as text."""
    script = """selector => { const from = document.querySelector(selector), to = document.createElement("canvas");
      to.width = from.naturalWidth || from.width; to.height = from.naturalHeight || from.height;
      if (!to.width) return ""; to.getContext("2d").drawImage(from, 0, 0); return to.toDataURL(); }"""
    return str(page.evaluate(script, selector))


def names(page: Any) -> list[str]:
    return [str(name) for name in page.locator("#objects td:first-child").all_text_contents()]


def test_picture_and_plots_move(web: Any, open_page: Any) -> None:
    page = open_page(web.base)
    first = until(lambda: pixels(page, "#picture"))
    until(lambda: pixels(page, "#picture") != first)
    for plot in ("#plotFps", "#plotMs", "#plotAge"):
        before = pixels(page, plot)
        until(lambda plot=plot, before=before: pixels(page, plot) != before)
    assert float(page.locator("#fps").inner_text()) > 5
    assert "fake" in page.locator("#facts").inner_text()


def test_slider_changes_the_boxes(web: Any, open_page: Any) -> None:
    page = open_page(web.base)
    until(lambda: names(page) == ["cat", "dog"])
    page.locator("#threshold").fill("0.8")
    until(lambda: names(page) == ["cat"])
    assert web.engine.info.score_threshold == 0.8
    page.locator("#threshold").fill("0.95")
    until(lambda: names(page) == [] and page.locator("#nothing").is_visible())


def test_classes_model_and_pause(web: Any, open_page: Any) -> None:
    page = open_page(web.base)
    page.locator("#filter summary").click()
    page.locator("#find").fill("do")
    assert page.locator("#classes button").all_inner_texts() == ["dog"]
    page.locator("#classes button").click()
    until(lambda: names(page) == ["dog"])
    page.locator("#model").select_option("two")
    until(lambda: web.engine.info.model == "two")
    page.locator("#pause").click()
    until(lambda: web.control.paused and page.locator("#pause").inner_text() == "Go on")
    page.locator("#pause").click()
    until(lambda: not web.control.paused)


def test_snapshot_is_a_download(web: Any, open_page: Any, tmp_path: Path) -> None:
    page = open_page(web.base)
    until(lambda: names(page))
    with page.expect_download() as download:
        page.locator("#snapshot").click()
    download.value.save_as(tmp_path / "it.jpg")
    assert (tmp_path / "it.jpg").read_bytes()[:3] == b"\xff\xd8\xff"


def test_own_camera_of_the_browser(web: Any, open_page: Any) -> None:
    page = open_page(web.base)
    until(lambda: names(page))
    page.locator("#camera").click()
    until(lambda: int(page.locator("#own").get_attribute("data-frames") or 0) > 5)
    first = pixels(page, "#own")
    until(lambda: pixels(page, "#own") != first)
    assert names(page) == ["cat", "dog"] and page.locator("#picture").is_hidden()
    page.locator("#camera").click()
    before = until(lambda: pixels(page, "#picture"))
    until(lambda: pixels(page, "#picture") != before)


def test_lost_source_is_said_and_lost_server_is_found_again(web: Any, open_page: Any) -> None:
    page = open_page(web.base)
    until(lambda: names(page))
    web.capture.trouble = "source lost: attempt 2"
    until(lambda: page.locator("#say").inner_text() == "source lost: attempt 2")
    web.capture.trouble = None
    until(lambda: page.locator("#say").is_hidden())


def test_wrong_token_is_refused(run_web: Any, browser: Any, open_page: Any) -> None:
    web = run_web(token="right-token-here")
    context = browser.new_context()
    page = context.new_page()
    assert page.goto(f"{web.base}/?token=wrong").status == 401
    assert "token missing or wrong" in page.content()
    context.close()
    page = open_page(f"{web.base}/?token=right-token-here")
    until(lambda: names(page) == ["cat", "dog"])
    assert page.url == f"{web.base}/"
    until(lambda: pixels(page, "#picture"))


@pytest.mark.parametrize("name", ["desktop", "phone"])
def test_page_fits_its_width(web: Any, open_page: Any, name: str) -> None:
    size = PHONE if name == "phone" else {"width": 1400, "height": 950}
    page = open_page(web.base, viewport=size)
    until(lambda: names(page))
    time.sleep(1)
    widths = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert widths[0] <= widths[1], json.dumps(widths)
    if folder := os.environ.get("EDGESSD_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"web-{name}.png", full_page=True)
