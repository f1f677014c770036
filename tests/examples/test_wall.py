"""The wall, in a browser: `nox -s examples`."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from abroad import world

from greenapi_async.simulator import Refuse

pytest.importorskip("starlette", reason="nox -s examples")
playwright = pytest.importorskip("playwright.sync_api", reason="nox -s examples")
expect = playwright.expect
pytestmark = pytest.mark.examples

WALL = Path(__file__).parents[2] / "examples" / "wall" / "wall.py"
CHROMIUM = "/usr/bin/chromium"
PIXEL = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c4944415408d763f8cfc000000301010018dd8db0"
    "0000000049454e44ae426082"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser):
    """A page that hears the media host, fails on any error of its script, and reaches nothing else."""
    context = browser.new_context()
    page = context.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    context.route(
        re.compile("^https://"),
        lambda route: route.fulfill(body=PIXEL, headers={"Content-Type": "image/png"}),
    )
    yield page
    context.close()
    assert errors == []


@pytest.fixture
def api():
    with world(posts=False) as (api, variables):
        api.variables = variables
        yield api


@pytest.fixture
def port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextmanager
def wall_of(api, port):
    """Run the wall as a reader does; Ctrl-C ends it, even with a page open."""
    command = [sys.executable, str(WALL), "--port", str(port), "--interval", "0.2"]
    process = subprocess.Popen(command, env=os.environ | api.variables, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == f"http://127.0.0.1:{port}\n"
        wait_until_it_listens(port)
        yield process
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def wait_until_it_listens(port):
    for _ in range(300):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)


@pytest.fixture
def wall(api, port):
    with wall_of(api, port) as process:
        yield process


def opened(page, port):
    page.goto(f"http://127.0.0.1:{port}/")
    return page


def cards(page):
    return page.locator("#cards > li:visible")


def test_an_empty_wall_says_so_and_then_shows_what_comes(wall, api, page, port):
    opened(page, port)
    expect(page.locator("#state")).to_have_text("live")
    expect(page.locator("#empty")).to_be_visible()

    api.post("text", text="<b>שלום</b>", sender_contact_name="נועה")

    expect(cards(page)).to_have_count(1)
    expect(cards(page).locator(".words")).to_have_text("<b>שלום</b>")
    expect(page.locator("#empty")).to_be_hidden()


def test_a_text_has_its_colour_and_an_ink_that_can_be_read(wall, api, page, port):
    for colour in ("#228B22", "FFFF00FF", "not a colour"):
        api.post("text", text=colour, extendedTextMessage={"text": colour, "backgroundColor": colour})

    opened(page, port)

    expect(page.get_by_text("#228B22")).to_have_css("background-color", "rgb(34, 139, 34)")
    expect(page.get_by_text("#228B22")).to_have_css("color", "rgb(255, 255, 255)")
    expect(page.get_by_text("FFFF00FF")).to_have_css("background-color", "rgb(255, 255, 0)")
    expect(page.get_by_text("FFFF00FF")).to_have_css("color", "rgb(0, 0, 0)")
    expect(page.get_by_text("not a colour")).to_have_css("background-color", "rgba(0, 0, 0, 0)")


def test_a_picture_shows_its_thumbnail_first_and_then_the_file(wall, api, page, port):
    held = []
    page.route(re.compile("^https://media.example/"), lambda route: held.extend([route]))
    api.post("image", caption="a river")

    opened(page, port)
    expect(cards(page).locator("img")).to_have_attribute("src", re.compile("^data:image/jpeg;base64,"))

    for _ in range(100):
        if held:
            break
        page.wait_for_timeout(100)
    held[0].fulfill(body=PIXEL, headers={"Content-Type": "image/png"})

    expect(cards(page).locator("img")).to_have_attribute("src", re.compile("^https://media.example/"))


def test_an_address_that_is_not_https_is_not_requested(wall, api, page, port):
    requested = []
    page.on("request", lambda request: requested.append(request.url))
    api.post("image", downloadUrl=f"http://127.0.0.1:{api.port}/media/x.jpg")
    api.post("video", downloadUrl="javascript:alert(1)", jpegThumbnail=None)

    opened(page, port)
    expect(cards(page)).to_have_count(2)

    assert [url for url in requested if not url.startswith((f"http://127.0.0.1:{port}/", "data:"))] == []


def test_rings_and_kinds_filter_by_keyboard_and_keep_the_focus(wall, api, page, port):
    api.post("text", text="one", sender="1@c.us", sender_contact_name="Anna")
    api.post("video", sender="2@c.us", sender_contact_name="Boris")
    opened(page, port)
    expect(cards(page)).to_have_count(2)

    page.locator("#rings button").first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    expect(cards(page)).to_have_count(1)
    name = page.evaluate("document.activeElement.querySelector('bdi').textContent")
    expect(cards(page).locator(".by bdi")).to_have_text(name)

    api.post("text", text="two", sender="3@c.us", sender_contact_name="Vera")
    expect(page.locator("#rings button")).to_have_count(3)
    assert page.evaluate("document.activeElement.querySelector('bdi').textContent") == name

    page.keyboard.press("Enter")
    page.get_by_role("button", name="Voice").click()
    expect(page.locator("#filtered")).to_be_visible()


def test_a_deletion_takes_a_status_away(wall, api, page, port):
    mistaken = api.post("text", text="oops")
    opened(page, port)
    expect(cards(page)).to_have_count(1)

    api.post("deleted", of=mistaken["idMessage"])

    expect(cards(page)).to_have_count(0)
    expect(page.locator("#empty")).to_be_visible()


def test_a_failure_is_told_and_goes(wall, api, page, port):
    opened(page, port)
    expect(page.locator("#state")).to_have_text("live")

    api.faults.extend([Refuse(502)] * 4)

    expect(page.locator("#state")).to_have_text("failing")
    expect(page.locator("#trouble")).to_contain_text("HTTP 502")
    expect(page.locator("#state")).to_have_text("live", timeout=60_000)
    expect(page.locator("#trouble")).to_be_hidden()


def test_the_end_of_polling_is_told(api, page, port):
    api.faults.append(Refuse(401))

    with wall_of(api, port):
        opened(page, port)

        expect(page.locator("#state")).to_have_text("stopped")
        expect(page.locator("#trouble")).to_contain_text("GREEN_API_TOKEN_INSTANCE")


def test_a_browser_comes_back_and_gets_what_it_missed(api, page, port):
    """With the server's restart the numbers begin anew; the boot's id keeps them from being mistaken."""
    api.post("text", text="before")
    with wall_of(api, port):
        opened(page, port)
        expect(cards(page)).to_have_count(1)

    expect(page.locator("#state")).to_have_text("connecting")
    api.post("text", text="meanwhile")

    with wall_of(api, port):
        expect(page.get_by_text("meanwhile")).to_be_visible(timeout=30_000)
        expect(cards(page)).to_have_count(2)


def test_another_name_for_this_machine_gets_nothing(wall, port):
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"GET /events HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n")

        assert b" 400 " in connection.recv(1000)
