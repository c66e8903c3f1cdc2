"""Many tabs of one browser, over HTTP/1.1."""

import re
import time
from urllib.request import urlopen

import pytest
from playwright.sync_api import expect

from conftest import PATIENCE_MS
from services import Pair

TABS = 9  # a browser opens six connections to a host


@pytest.fixture
def tabs(browser, pair: Pair):
    """Pages of one browser's profile."""
    context = browser.new_context()
    context.set_default_timeout(PATIENCE_MS)
    pages = [context.new_page() for _ in range(TABS)]
    for page in pages:
        page.goto(pair.cloud.url)
    yield pages
    context.close()


def one_stream(pair: Pair):
    """Waits until the service has one stream open: those of pages that other tests closed end a little later."""
    deadline = time.monotonic() + PATIENCE_MS / 1000
    while time.monotonic() < deadline:
        with urlopen(f"{pair.cloud.url}/metrics", timeout=60) as answer:
            open_now = re.search(r"^cloud_decoder_watchers (\d+)$", answer.read().decode(), re.MULTILINE)[1]
        if open_now == "1":
            return
    raise AssertionError(f"{open_now} streams")


def test_all_tabs_are_live_over_one_stream(pair, tabs):
    for page in tabs:
        expect(page.locator("#link")).to_have_attribute("data-state", "live")
    one_stream(pair)
    frame = pair.send("tabs", "facade.jpg")
    for page in tabs:
        expect(page.locator(f"[data-id='{frame}']")).to_have_attribute("data-state", "decoded")

    # The stream belongs to none of them.
    for page in tabs[:2]:
        page.close()
    tabs[2].reload()
    expect(tabs[2].locator("#link")).to_have_attribute("data-state", "live")
    frame = pair.send("tabs", "sign.jpg")
    for page in tabs[2:]:
        expect(page.locator(f"[data-id='{frame}']")).to_have_attribute("data-state", "decoded")
    one_stream(pair)


def test_where_tabs_cannot_share_each_has_a_stream_of_its_own(pair, browser):
    context = browser.new_context()
    context.add_init_script("delete window.SharedWorker")
    page = context.new_page()
    page.goto(pair.cloud.url)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    frame = pair.send("tabs", "lake.jpg")
    expect(page.locator(f"[data-id='{frame}']")).to_have_attribute("data-state", "decoded")
    context.close()
