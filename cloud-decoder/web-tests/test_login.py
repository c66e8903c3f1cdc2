"""The login page of a service that asks for tokens."""

import re

import pytest
from playwright.sync_api import expect

from test_dashboard import accessible


def test_who_has_no_token_is_asked_for_one(guarded, visit):
    cloud, token = guarded
    page = visit(cloud.url)
    expect(page).to_have_url(f"{cloud.url}/login.html")
    field = page.get_by_label("Viewer token")
    expect(field).to_be_focused()
    field.fill("pw_wrong")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text("unknown or revoked token")
    expect(field).to_have_value("")
    field.fill(token)
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{cloud.url}/")
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    # The cookie is not for scripts, and the token is nowhere.
    assert page.evaluate("document.cookie") == ""
    assert page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}])") == "[{},{}]"

    page.goto(f"{cloud.url}/login.html")
    expect(page.locator("#who")).to_have_text("Logged in as ops.")
    page.get_by_role("button", name="Log out").click()
    expect(field).to_be_visible()
    page.goto(cloud.url)
    expect(page).to_have_url(f"{cloud.url}/login.html")


@pytest.mark.parametrize("width,height,theme", [(1440, 900, "light"), (390, 844, "dark")])
def test_the_login_is_accessible_and_fits(guarded, visit, width, height, theme):
    cloud, _ = guarded
    page = visit(f"{cloud.url}/login.html", width, height, theme)
    expect(page.get_by_label("Viewer token")).to_be_visible()
    accessible(page, f"login {width} {theme}")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_where_no_token_is_needed_the_page_says_so(pair, visit):
    page = visit(f"{pair.cloud.url}/login.html")
    expect(page.locator("#who")).to_have_text("No token is needed here.")
    expect(page.get_by_label("Viewer token")).not_to_be_visible()
    page.get_by_role("link", name="Dashboard").click()
    expect(page).to_have_url(re.compile("/$"))
