"""The dashboard in a real browser, over the real services with the shipped models."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from services import Pair, Service

# Each view, and what is there once it is shown.
VIEWS = {"#/": "#wall .tile img", "#/quality": "#charts canvas", "#/labels": "#label-list li", "#/parked": "#parked-note:not(:empty)"}


def tiles(page, state="decoded"):
    return page.locator(f"#wall .tile[data-state={state}]")


def open_frame(page, mode=None):
    expect(tiles(page)).not_to_have_count(0)
    tiles(page).first.click()
    expect(page.locator("#viewer .facts")).to_be_visible()
    if mode:
        page.click(f"[data-mode={mode}]")


def shown(image):
    """Whether a picture was loaded, not only named."""
    return image.evaluate("image => image.decode().then(() => image.naturalWidth > 0)")


def accessible(page, what):
    found = Axe().run(page, options={"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
    told = [f"{v['id']}: {node['html'][:160]} {node.get('failureSummary', '')}" for v in found.response["violations"] for node in v["nodes"]]
    assert told == [], what


def test_frames_appear_while_one_looks(pair, open_page):
    page = open_page(pair.cloud.url)
    expect(page.locator("#link")).to_have_attribute("data-state", "live")
    frame = pair.send("dock", "facade.jpg")
    tile = page.locator(f"[data-id='{frame}']")
    expect(tile).to_have_attribute("data-state", "decoded")
    assert shown(tile.locator("img"))
    expect(page.locator("[data-camera=dock]")).to_contain_text("1 frame")
    expect(page.locator("#nodes")).to_contain_text("connected")
    expect(page.locator("#nodes")).to_contain_text("edge-1")
    expect(page.locator("#totals")).to_contain_text("that cameras sent")
    # Still the page that was opened: nothing was loaded anew.
    assert page.evaluate("performance.getEntriesByType('navigation').length") == 1


def test_a_camera_is_chosen_by_its_card_and_in_the_header(pair, open_page):
    page = open_page(pair.cloud.url)
    expect(tiles(page).filter(has_text="yard")).not_to_have_count(0)
    page.click("[data-camera=gate]")
    expect(tiles(page).filter(has_text="yard")).to_have_count(0)
    expect(page.locator("#camera")).to_have_value("gate")
    page.select_option("#camera", "")
    expect(tiles(page).filter(has_text="yard")).not_to_have_count(0)


def test_a_frame_is_compared_by_pointer_and_keyboard(pair, open_page):
    page = open_page(pair.cloud.url)
    open_frame(page)
    slider = page.locator(".slider")
    for image in slider.locator("img").all():
        assert shown(image)
    at = lambda: slider.evaluate("box => box.style.getPropertyValue('--at')")
    box = slider.bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 4, box["y"] + box["height"] / 2)
    page.mouse.up()
    assert 24 <= float(at().rstrip("%")) <= 26
    page.keyboard.press("End")
    assert at() == "100%"
    page.keyboard.press("ArrowLeft")
    assert at() == "98%"
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).not_to_be_visible()


def test_a_frame_tells_its_program_and_the_time_of_each_stage(pair, open_page):
    page = open_page(pair.cloud.url)
    open_frame(page)
    facts = page.locator("#viewer .facts")
    for part in ["Encoded", "Spool and link", "Waiting for a decoder", "Decoded", "Measured", "Stored", "Capture to picture",
                 "MACs per patch", "of 1,048,576 bits", "256", "Camera's file"]:
        expect(facts).to_contain_text(part)


def test_latents_tell_how_they_travelled(tmp_path, open_page):
    pair = Pair(tmp_path)
    try:
        # Frames of a camera that does not move.
        first, second = pair.send("gate"), pair.send("gate")
        page = open_page(pair.cloud.url)
        expect(tiles(page)).to_have_count(2)
        card = page.locator("[data-camera=gate]")
        expect(card).to_contain_text("kB latents")
        expect(card).to_contain_text("saved")
        ways = card.locator(".parts").get_attribute("aria-label")
        assert "latents after a frame before" in ways and "latents not coded 0 B" in ways
        expect(page.locator("#totals")).to_contain_text("off the latents")
        for frame, way in [(first, "Coded alone"), (second, "Coded against the camera's frame before")]:
            latents = pair.cloud.json(f"/api/v1/frames/{frame}")["latents"]
            page = open_page(f"{pair.cloud.url}/#/frame/{frame}")
            facts = page.locator("#viewer .facts")
            expect(facts).to_contain_text(way)
            expect(facts).to_contain_text(f"{latents['wire_bytes']:,} bytes in place of {latents['container_bytes']:,}")
        assert latents["wire_bytes"] < latents["container_bytes"] / 4
    finally:
        pair.stop()


def test_a_picture_tells_its_decoder_and_whether_another_has_come(tmp_path, open_page):
    pair = Pair(tmp_path)
    try:
        frame = pair.send("gate")
        page = open_page(f"{pair.cloud.url}/#/frame/{frame}")
        facts = page.locator("#viewer .facts")
        made_by = pair.cloud.json("/api/v1/summary")["decoder"]["id"]
        expect(facts).to_contain_text(made_by)
        expect(facts).not_to_contain_text("of an earlier decoder")
        page.context.close()
        pair.cloud.stop()
        pair.cloud = Service("cloud-decoder", tmp_path, grpc__listen="127.0.0.1:0", data_dir="cloud", decode__fast="true")
        page = open_page(f"{pair.cloud.url}/#/frame/{frame}")
        facts = page.locator("#viewer .facts")
        expect(facts).to_contain_text(made_by)
        expect(facts).to_contain_text("of an earlier decoder")
    finally:
        pair.stop()


def test_errors_are_mapped(pair, open_page):
    page = open_page(pair.cloud.url)
    open_frame(page, "error")
    heat = page.locator(".layers .map")
    expect(page.locator(".beside .note")).to_contain_text("Mean error")
    colours = heat.evaluate("""canvas => {
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const found = new Set();
        for (let at = 0; at < data.length; at += 4) found.add(data[at] << 16 | data[at + 1] << 8 | data[at + 2]);
        return found.size;
    }""")
    assert colours > 16


def test_patches_are_walked_by_keyboard(pair, open_page):
    page = open_page(pair.cloud.url)
    open_frame(page, "patches")
    grid = page.locator(".layers.grid")
    expect(grid).to_have_attribute("aria-valuemax", "384")
    grid.focus()
    before = int(grid.get_attribute("aria-valuenow"))
    down = before + 24 <= 384
    page.keyboard.press("ArrowDown" if down else "ArrowUp")
    assert int(grid.get_attribute("aria-valuenow")) == before + (24 if down else -24)
    assert "dB" in grid.get_attribute("aria-valuetext")
    expect(page.locator("#viewer")).to_contain_text("24 × 16 patches")
    expect(page.locator(".crops canvas")).to_have_count(2)


def test_the_same_bytes_as_jpeg(pair, open_page):
    page = open_page(pair.cloud.url)
    open_frame(page, "jpeg")
    table = page.locator(".figures")
    expect(table).to_contain_text("Reconstruction")
    sizes = [cell.inner_text() for cell in table.locator("tbody td:nth-child(2)").all()]
    number = [float(size.split()[0]) for size in sizes]
    assert number[1] <= number[0], sizes
    # At a quarter of a bit per pixel JPEG is bad, and no worse than this.
    psnr = float(table.locator("tbody tr:nth-child(2) td:nth-child(3)").inner_text().split()[0])
    assert 15 < psnr < 40
    assert shown(page.locator(".slider .over"))


def test_quality_is_plotted_zoomed_and_told_by_program(pair, open_page):
    page = open_page(pair.cloud.url + "/#/quality")
    expect(page.locator("#charts canvas")).to_have_count(8)
    expect(page.locator("#legend")).to_contain_text("gate")
    plot = page.locator("#charts .u-over").first
    box = plot.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 40, steps=4)
    with page.expect_request(lambda request: "/history" in request.url and "to_ms" in request.url):
        page.mouse.up()
    expect(page.locator("#quality-tools [aria-label=Time] [aria-pressed=true]")).to_have_count(0)
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Programs").click()
    expect(page.locator("#legend li")).to_have_count(1)
    expect(page.locator("#drifts")).to_contain_text("learning")


def test_labels_come_with_their_scores(pair, open_page):
    page = open_page(pair.cloud.url + "/#/labels")
    expect(page.locator("#label-chart canvas")).to_have_count(1)
    expect(page.locator("#label-list li")).not_to_have_count(0)
    before = page.locator("#label-list li").count()
    pair.send("gate", "fig.jpg", "classify")
    expect(page.locator("#label-list li")).to_have_count(before + 1)
    expect(page.locator("#label-list li").first).to_contain_text("%")


def test_a_parked_frame_tells_why_and_is_decoded_again(pair, open_page):
    frame = pair.send("attic", "hillside.jpg")
    fleet = open_page(pair.cloud.url)
    expect(fleet.locator(f"[data-id='{frame}']")).to_have_attribute("data-state", "decoded")
    pair.lose_latents(frame)
    page = open_page(pair.cloud.url + "/#/parked")
    expect(page.locator("#parked-note")).to_contain_text("No frame is parked")
    page.evaluate("id => fetch(`/api/v1/frames/${id}/retry`, { method: 'POST' })", frame)
    row = page.locator(f"#parked-list [data-id='{frame}']")
    expect(row).to_contain_text("the latents object is missing")
    expect(page.locator("#parked-count")).to_have_text("1")
    expect(fleet.locator("#alerts")).to_contain_text("1 frame could not be decoded")
    row.get_by_role("button").click()
    # It fails again, and is back with a button that can be pressed.
    expect(row.get_by_role("button")).to_be_enabled()
    accessible(page, "parked frames")


def test_the_keyboard_reaches_everything(pair, open_page):
    page = open_page(pair.cloud.url)
    expect(tiles(page)).not_to_have_count(0)
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    tiles(page).first.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#viewer")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#viewer")).not_to_be_visible()
    expect(page).to_have_url(pair.cloud.url + "/#/")


@pytest.mark.parametrize("width, height, theme", [(390, 844, "dark"), (1440, 900, "light")])
def test_every_view_is_accessible_and_fits(pair, open_page, width, height, theme):
    page = open_page(pair.cloud.url, width, height, theme)
    for view, there in VIEWS.items():
        page.evaluate("view => { location.hash = view; }", view)
        expect(page.locator(there).first).to_be_visible()
        wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert wide <= 0, f"{view} is {wide} pixels too wide"
        accessible(page, view)
    page.evaluate("location.hash = '#/'")
    open_frame(page)
    for mode, there in [("slider", ".slider"), ("error", ".layers"), ("patches", ".layers.grid"), ("jpeg", ".figures")]:
        page.click(f"[data-mode={mode}]")
        expect(page.locator(f"#viewer {there}")).to_be_visible()
        accessible(page, f"frame, {mode}")


def test_an_empty_service_says_what_to_do(tmp_path, open_page):
    empty = Pair(tmp_path)
    try:
        page = open_page(empty.cloud.url)
        expect(page.locator("#empty")).to_be_visible()
        accessible(page, "nothing yet")
        empty.send("front", "mountain.jpg")
        expect(tiles(page)).to_have_count(1)
        expect(page.locator("#empty")).not_to_be_visible()
    finally:
        empty.stop()
