"""A browser, both services, and a page that tolerates no console error and no request to elsewhere."""

import subprocess

import pytest
from playwright.sync_api import expect, sync_playwright

from services import BINARIES, Pair, Service, chromium

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]
# Longer than anything here takes, even on a busy machine.
PATIENCE_MS = 60_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def browser():
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def pair(tmp_path_factory):
    """Four frames of two cameras, all rebuilt."""
    pair = Pair(tmp_path_factory.mktemp("services"))
    for camera, sample in [("gate", "lake.jpg"), ("yard", "dogs.jpg"), ("gate", "canyon.jpg"), ("yard", "sign.jpg")]:
        pair.send(camera, sample)
    yield pair
    pair.stop()


@pytest.fixture
def open_page(browser):
    """Opens pages; in the end, nothing may have gone wrong on any of them."""
    wrong, contexts = [], []

    def open_page(url: str, width: int = 1440, height: int = 900, theme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        page = context.new_page()
        origin = "/".join(url.split("/")[:3])
        page.on("console", lambda line: wrong.append(f"console: {line.text}") if line.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
        page.on("request", lambda request: None if request.url.startswith((origin + "/", "data:", "blob:")) else wrong.append(f"request to {request.url}"))
        page.on("response", lambda response: wrong.append(f"{response.status} for {response.url}") if response.status >= 400 else None)
        page.goto(url)
        page.wait_for_selector("#main:not([aria-busy])")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def guarded(tmp_path_factory):
    """A cloud decoder with one viewer, and the viewer's token."""
    folder = tmp_path_factory.mktemp("guarded")
    command = [BINARIES / "cloud-decoder", "token", "viewer", "ops", "--add-to", folder / "tokens"]
    token = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    cloud = Service("cloud-decoder", folder, grpc__listen="127.0.0.1:0", data_dir="cloud", auth__tokens=folder / "tokens")
    yield cloud, token
    cloud.stop()


@pytest.fixture
def visit(browser):
    """Opens pages of a browser of its own, where refusals are to be expected and nothing else may go wrong."""
    wrong, contexts = [], []

    def visit(url: str, width: int = 1440, height: int = 900, theme: str = "light"):
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(f"exception: {error}"))
        origin = "/".join(url.split("/")[:3])
        page.on("request", lambda request: None if request.url.startswith(origin + "/") else wrong.append(f"request to {request.url}"))
        page.on("response", lambda response: wrong.append(f"{response.status} for {response.url}") if response.status >= 400 and response.status != 401 else None)
        page.goto(url)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []
