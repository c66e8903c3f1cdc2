"""The dashboard and the reference of the APIs behind a proxy that has them under a prefix."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from services import Proxy
from test_dashboard import VIEWS, open_frame, shown, tiles

PREFIX = "/sites/north"


@pytest.fixture
def behind():
    """Puts a service behind a proxy."""
    proxies = []

    def behind(service) -> str:
        proxies.append(Proxy(service.addresses["http"], PREFIX))
        return proxies[-1].url

    yield behind
    for proxy in proxies:
        proxy.stop()


def watched(page) -> list[str]:
    """Paths that a page asks for from now on."""
    paths = []
    page.on("request", lambda request: paths.append(urlsplit(request.url).path))
    return paths


def test_every_view_is_there_and_live(pair, open_page, behind):
    url = behind(pair.cloud)
    page = open_page(url)
    paths = watched(page)
    page.reload()
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    frame = pair.send("prefix", "facade.jpg")
    tile = page.locator(f"[data-id='{frame}']")
    expect(tile).to_have_attribute("data-state", "decoded")
    assert shown(tile.locator("img"))
    for address, part in VIEWS.items():
        page.goto(url + address)
        expect(page.locator(part).first).to_be_visible()
    page.goto(url + "#/")
    open_frame(page)
    for image in page.locator("#viewer .slider img").all():
        assert shown(image)
    for mode in ["errors", "patches", "samesize"]:
        button = page.locator(f"[data-mode={mode}]")
        if button.count():
            button.click()
            expect(page.locator("#viewer img").first).to_be_visible()
    assert paths and all(path.startswith(f"{PREFIX}/") for path in paths), paths


def test_a_login_is_good_under_the_prefix_alone(guarded, visit, behind):
    cloud, token = guarded
    url = behind(cloud)
    page = visit(url)
    expect(page).to_have_url(f"{url}login.html")
    page.get_by_label("Viewer token").fill(token)
    page.keyboard.press("Enter")
    expect(page).to_have_url(url)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    [cookie] = page.context.cookies()
    assert cookie["path"] == f"{PREFIX}/api/v1"
    page.goto(f"{url}login.html")
    page.get_by_role("button", name="Log out").click()
    expect(page.get_by_label("Viewer token")).to_be_visible()
    assert page.context.cookies() == []


@pytest.mark.parametrize("service,place", [("cloud", "api/docs"), ("edge", "docs")])
def test_the_reference_of_an_api_is_there(pair, visit, behind, service, place):
    url = behind(getattr(pair, service))
    for slash in ["", "/"]:
        page = visit(url + place + slash)
        expect(page).to_have_url(url + place)
        article = page.locator("#get--livez")
        expect(article.get_by_text("curl")).to_have_text(f"curl '{url}livez'")
        article.get_by_text("Try it").click()
        article.get_by_role("button", name="Send").click()
        expect(article.locator("[aria-live]")).to_contain_text("200")
