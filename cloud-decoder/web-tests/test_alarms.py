"""Cameras that need attention, over real services."""

import json
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

from services import Service
from test_dashboard import accessible

PIXEL = b"\x80\x80\x80"


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A cloud that calls a camera silent after a second, and an edge node of small gray frames."""
    folder = tmp_path_factory.mktemp("fleet")
    cloud = Service("cloud-decoder", folder, grpc__listen="127.0.0.1:0", data_dir="cloud", analysis__silence_s=1.0,
                    analysis__intervals_s__gate=0.01)
    edge = Service("edge-node", folder, node_id="edge-1", spool__path="spool.sqlite",
                   uplink__endpoint=f"http://{cloud.addresses['grpc']}")
    yield cloud, edge
    edge.stop()
    cloud.stop()


def post(edge: Service, camera: str):
    size = {"x-frame-width": "8", "x-frame-height": "8", "content-type": "application/octet-stream"}
    with urlopen(Request(f"{edge.url}/v1/frames?camera={camera}", data=PIXEL * 64, headers=size), timeout=60) as answer:
        return json.load(answer)


def test_a_silent_camera_is_told_acknowledged_and_over_when_it_sends(fleet, open_page):
    cloud, edge = fleet
    post(edge, "yard")
    post(edge, "gate")
    page = open_page(cloud.url)
    alarm = page.locator("#alerts .alert", has_text="gate is silent")
    expect(alarm).to_have_attribute("data-level", "bad")
    expect(page.locator("#alerts")).not_to_contain_text("All is well")
    expect(page.locator("#cameras .camera").first).to_contain_text("silent")
    expect(page.locator("#totals")).to_contain_text("Uplink, 7 days")
    accessible(page, "an alarm")
    alarm.get_by_role("button", name="Acknowledge").click()
    expect(alarm).to_contain_text("seen by anonymous")
    expect(page.locator("#alerts")).not_to_contain_text("All is well")
    # The next frame ends it; the one after that silence is another.
    first = cloud.json("/api/v1/alarms")["alarms"][0]["id"]
    post(edge, "gate")
    expect(page.locator("#alerts .alert", has_text="gate is silent").get_by_role("button", name="Acknowledge")).to_be_visible()
    alarms = cloud.json("/api/v1/alarms?camera=gate")["alarms"]
    assert [alarm["end_ms"] is None for alarm in alarms] == [True, False]
    assert alarms[1]["id"] == first


def test_more_cameras_than_a_page_are_all_shown(fleet, open_page):
    cloud, edge = fleet
    for number in range(60):
        post(edge, f"camera-{number}")
    page = open_page(cloud.url)
    expect(page.locator("#cameras .camera")).to_have_count(48)
    expect(page.locator("#cameras-note")).to_contain_text("48 of 62")
    page.get_by_role("button", name="Show more cameras").click()
    expect(page.locator("#cameras .camera")).to_have_count(62)
    expect(page.get_by_role("button", name="Show more cameras")).not_to_be_visible()
    expect(page.locator("#camera option")).to_have_count(63)


def test_a_node_that_leaves_with_an_empty_spool_is_told_so(fleet, open_page):
    cloud, edge = fleet
    page = open_page(cloud.url)
    expect(page.locator("#nodes")).to_contain_text("0 frames wait")
    page.goto(f"{cloud.url}/#/quality")
    expect(page.locator("#alarm-list li").first).to_contain_text("gate")
    accessible(page, "alarms of the past")
    page.goto(f"{cloud.url}/#/")
    edge.stop()
    expect(page.locator("#alerts")).to_contain_text("Its spool was empty when it was last heard of")
