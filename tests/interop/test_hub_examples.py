"""The hub examples of the documentation, used by two people each, in a real browser, on several transports.

With SCREENSHOTS=1 in the environment the pictures that the documentation shows are taken anew, from these very pages.
"""

from __future__ import annotations

import base64
import os
import re
import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
IMAGES = ROOT / "docs" / "images"
WANTED = os.environ.get("SCREENSHOTS", "") not in ("", "0")

Visit: TypeAlias = "Callable[..., Page]"


# Servers and pages ------------------------------------------------------------------------------


@contextmanager
def running(node_modules: Path, *command: str) -> Iterator[str]:
    """A program of docs/examples, started where the scripts from npm are; it may log no error."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(EXAMPLES), str(ROOT))), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=node_modules.parent,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout is not None
        found = re.search(r"http://[0-9.]+:[0-9]+", process.stdout.readline())
        assert found is not None, process.communicate()[1]
        yield found[0]
        process.terminate()
        logged = process.communicate(timeout=15)[1].splitlines()
        assert [line for line in logged if " INFO " not in line and "no secret_keys" not in line] == []
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()


def served(name: str) -> Any:
    """A fixture: `persistconn serve NAME:app`."""

    @pytest.fixture(scope="module", name=name)
    def server(backend: str, node_modules: Path) -> Iterator[str]:
        command = ("-m", "persistconn", "serve", f"{name}:app", "--port", "0", "--backend", backend)
        with running(node_modules, *command, "--no-access-log") as origin:
            yield origin

    return server


def run(name: str) -> Any:
    """A fixture: `python NAME.py`."""

    @pytest.fixture(scope="module", name=name)
    def server(backend: str, node_modules: Path) -> Iterator[str]:
        start = f"import anyio, {name}; anyio.run({name}.main, 0, backend={backend!r})"
        with running(node_modules, "-c", start) as origin:
            yield origin

    return server


hub_chat, shape_share, progress, empty_hub = map(served, ("hub_chat", "shape_share", "progress", "empty_hub"))
stock_ticker, hub_outside = map(run, ("stock_ticker", "hub_outside"))


@pytest.fixture
def visit(browser: Browser) -> Iterator[Visit]:
    """Opens a page in a browser context of its own; none may have an error when the test is over."""
    contexts = []
    errors: list[str] = []

    def visit(address: str, width: int = 900, height: int = 640) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, device_scale_factor=2, color_scheme="light"
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(f"{address}: {error}"))
        page.on("console", lambda message: message.type == "error" and errors.append(f"{address}: {message.text}"))
        page.goto(address)
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []


def connected(page: Page, transport: str) -> Page:
    shows(page, "#state", f"connected: {transport}")
    return page


def shows(page: Page, selector: str, text: str) -> None:
    """Wait until this is the text of that element, and no more than this."""
    page.wait_for_function(
        "([selector, text]) => document.querySelector(selector)?.textContent === text", arg=[selector, text]
    )


def lists(page: Page, selector: str, *texts: str) -> None:
    """Wait until these are the texts of those elements, in order."""
    page.wait_for_function(
        "([selector, texts]) => [...document.querySelectorAll(selector)].map(one => one.textContent).join('\\n')"
        " === texts.join('\\n')",
        arg=[selector, texts],
    )


def all_texts(page: Page, selector: str) -> list[str]:
    texts: list[str] = page.locator(selector).all_text_contents()
    return texts


# Pictures ---------------------------------------------------------------------------------------


def picture(backend: str, name: str, *pages: Page) -> None:
    """Take one of the pages, side by side, and see that there is something on it; keep it for the docs if asked."""
    taken = [page.screenshot(animations="disabled") for page in pages]
    for one in taken:
        assert_picture(one)
    whole = taken[0] if len(taken) == 1 else side_by_side(pages[0], taken)
    assert_picture(whole)
    if WANTED and backend == "asyncio":
        (IMAGES / f"{name}.png").write_bytes(whole)


def side_by_side(page: Page, taken: list[bytes]) -> bytes:
    assert page.viewport_size is not None
    frames = "".join(f'<img src="data:image/png;base64,{base64.b64encode(one).decode()}">' for one in taken)
    style = "body{margin:0;display:flex;align-items:start;gap:16px;padding:16px;width:max-content;background:#d4d9cd}"
    style += f"img{{width:{page.viewport_size['width']}px;border-radius:10px;box-shadow:0 2px 10px #0003}}"
    assert page.context.browser is not None
    context = page.context.browser.new_context(
        device_scale_factor=2
    )  # a page beside this one would push it into the background
    sheet = context.new_page()
    sheet.set_content(f"<!doctype html><style>{style}</style>{frames}")
    sheet.wait_for_function("() => [...document.images].every(image => image.complete && image.naturalWidth)")
    shot = sheet.locator("body").screenshot()
    context.close()
    return shot


def assert_picture(png: bytes) -> None:
    """It is a PNG that can be unpacked, of some size, whose lines are not all the same."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height, depth = struct.unpack_from(">IIB", png, 16)
    assert width >= 600
    assert height >= 500
    packed, at = b"", 8
    while at < len(png):
        (size,) = struct.unpack_from(">I", png, at)
        if png[at + 4 : at + 8] == b"IDAT":
            packed += png[at + 8 : at + 8 + size]
        at += size + 12
    lines = zlib.decompress(packed)
    row = len(lines) // height
    assert row * height == len(lines)
    assert row > width * depth // 8
    assert len({lines[at : at + row] for at in range(0, len(lines), row)}) > height // 8


# The chat with rooms ----------------------------------------------------------------------------


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")
    page.wait_for_function("() => document.querySelector('#text').value === ''")


def test_two_people_chat_in_rooms(visit: Visit, hub_chat: str, backend: str) -> None:
    ann = connected(visit(f"{hub_chat}/?name=Ann&transport=webSockets", height=550), "webSockets")
    bob = connected(visit(f"{hub_chat}/?name=Bob&transport=longPolling"), "longPolling")
    for page in (ann, bob):
        lists(page, "#people li", "Ann", "Bob")
    said = ["Good morning, Bob.", "Morning! <b>Bold</b> and 😀 & co.", "Have you seen the garden?", "Going there now."]
    for speaker, text in zip((ann, bob, ann, bob), said, strict=True):
        say(speaker, text)
        for page in (ann, bob):
            page.locator("#log p", has_text=text).wait_for()
    for page in (ann, bob):
        lists(page, "#log p", *said)
        lists(page, "#log b", "Ann", "Bob", "Ann", "Bob")
    picture(backend, "hub_chat", ann)

    bob.click("text=garden")
    lists(ann, "#people li", "Ann")
    lists(bob, "#people li", "Bob")
    lists(bob, "#log p")
    say(bob, "Nobody here.")
    say(ann, "Bob has gone.")
    lists(bob, "#log p", "Nobody here.")

    bob.click("text=lobby")
    lists(bob, "#log p", *said, "Bob has gone.")  # what was said while he was elsewhere, and before he came
    bob.fill("#name", "Robert")
    bob.press("#name", "Enter")
    lists(ann, "#people li", "Ann", "Robert")
    bob.fill("#name", " ")
    bob.press("#name", "Enter")
    shows(bob, "#error", "A name has 1 to 24 letters.")
    bob.goto("about:blank")
    lists(ann, "#people li", "Ann")


# The box ----------------------------------------------------------------------------------------

KEEP_TIMES = """() => {
    const move = shape.server.move;
    window.times = [];
    shape.server.move = place => { times.push(performance.now()); return move(place); };
}"""

UNDER_THE_MOUSE = """([x, y]) => {
    const at = box.getBoundingClientRect();
    return Math.abs(at.x + at.width / 2 - x) < 1 && Math.abs(at.y + at.height / 2 - y) < 1;
}"""


def middle(page: Page) -> tuple[float, float]:
    rests(page)
    box = page.locator("#box").bounding_box()
    assert box is not None
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def rests(page: Page) -> None:
    """Wait until the style sheet has moved the box to where it belongs."""
    page.wait_for_function("() => box.getAnimations().length === 0")


def same_place(page: Page, other: Page) -> None:
    """Wait until the box is on the board of one page where it is on that of the other."""
    on_board = """() => {
        const at = box.getBoundingClientRect(), edge = board.getBoundingClientRect();
        return [at.x + at.width / 2 - edge.x, at.y + at.height / 2 - edge.y];
    }"""
    rests(other)
    page.wait_for_function(
        f"place => ({on_board})().every((value, axis) => Math.abs(value - place[axis]) < 1)",
        arg=other.evaluate(on_board),
    )


def test_a_box_is_dragged_and_seen_to_move(visit: Visit, shape_share: str, backend: str) -> None:
    ann = connected(visit(f"{shape_share}/?transport=serverSentEvents", 600, 440), "serverSentEvents")
    bob = connected(visit(f"{shape_share}/?transport=webSockets", 600, 440), "webSockets")
    for page in (ann, bob):
        shows(page, "#watching", "2 are here")
    ann.evaluate(KEEP_TIMES)
    start = middle(ann)
    ann.mouse.move(*start)
    ann.mouse.down()
    for step in range(1, 6):  # on the way, too, not only at the end
        to = (start[0] - 24 * step, start[1] - 14 * step)
        ann.mouse.move(*to, steps=12)
        ann.wait_for_function(UNDER_THE_MOUSE, arg=list(to))
        shows(bob, "#place", str(ann.text_content("#place")))
    ann.mouse.up()
    ann.wait_for_function("() => !document.querySelector('.held')")
    same_place(bob, ann)
    times = ann.evaluate("() => times")
    assert len(times) >= 5
    assert min(after - before for before, after in pairwise(times)) > 45  # 60 moves, few calls

    start = middle(bob)
    bob.mouse.move(*start)
    bob.mouse.down()
    bob.mouse.move(start[0] + 210, start[1] + 60, steps=30)
    bob.wait_for_function(UNDER_THE_MOUSE, arg=[start[0] + 210, start[1] + 60])
    same_place(ann, bob)
    picture(backend, "shape_share", bob, ann)
    bob.mouse.up()

    ann.focus("#box")
    ann.keyboard.press("ArrowLeft")
    ann.keyboard.press("ArrowDown")
    same_place(bob, ann)
    ann.goto("about:blank")
    shows(bob, "#watching", "only you are here")
    cara = connected(visit(f"{shape_share}/", 600, 440), "webSockets")
    same_place(cara, bob)  # who comes late sees it where it is


# The stock ticker -------------------------------------------------------------------------------


UP_AND_DOWN = """() => {
    const [up, down] = [".up", ".down"].map(kind => document.querySelector("#stocks " + kind));
    return up && down && getComputedStyle(up).color !== getComputedStyle(down).color;
}"""


def test_prices_move_while_the_market_is_open(visit: Visit, stock_ticker: str, backend: str) -> None:
    ann = connected(visit(f"{stock_ticker}/?transport=longPolling", height=470), "longPolling")
    bob = connected(visit(f"{stock_ticker}/?transport=serverSentEvents", height=470), "serverSentEvents")
    for page in (ann, bob):
        shows(page, "#market", "The market is closed.")
        lists(page, "#stocks td:first-child", "AIR", "BMW", "CRN", "ELM", "OAK", "SEA")
    ann.click("#open")
    for page in (ann, bob):
        shows(page, "#market", "The market is open.")
        page.locator("#close:enabled").wait_for()
        page.wait_for_function(UP_AND_DOWN)
    picture(backend, "stock_ticker", ann)

    bob.click("#close")
    for page in (ann, bob):
        shows(page, "#market", "The market is closed.")
        page.locator("#open:enabled").wait_for()
    assert all_texts(ann, "#stocks td") == all_texts(bob, "#stocks td")
    cara = connected(visit(f"{stock_ticker}/"), "webSockets")
    lists(cara, "#stocks td", *all_texts(ann, "#stocks td"))


# The long call ----------------------------------------------------------------------------------


KEEP_PERCENTS = """() => {
    window.percents = [];
    const watch = { attributes: true, attributeFilter: ["aria-valuenow"], attributeOldValue: true };
    const keep = changes => percents.push(...changes.map(change => Number(change.oldValue)));
    new MutationObserver(changes => { keep(changes); percents.push(Number(bar.ariaValueNow)); }).observe(bar, watch);
}"""


def percent(page: Page) -> int:
    return int(str(page.get_attribute("#bar", "aria-valuenow")))


def test_a_long_call_reports_fails_and_is_cancelled(visit: Visit, progress: str, backend: str) -> None:
    ann = connected(visit(f"{progress}/?transport=webSockets", 660, 270), "webSockets")
    bob = connected(visit(f"{progress}/?transport=longPolling", 660, 270), "longPolling")
    ann.evaluate(KEEP_PERCENTS)
    ann.fill("#count", "60")
    ann.click("#start")
    bob.fill("#count", "30")
    bob.check("#broken")
    bob.click("#start")
    shows(bob, "#outcome", "Picture 18 is broken.")  # a HubError's words
    shows(bob, "#count-done", "17 of 30")  # and its data
    shows(ann, "#outcome", "60 pictures are smaller now.")
    shows(ann, "#count-done", "60 of 60")
    assert (percent(ann), percent(bob)) == (100, 57)
    percents = ann.evaluate("() => percents")
    assert percents == sorted(percents)
    assert set(percents) == {round(done / 60 * 100) for done in range(61)}  # each report has come, in order
    picture(backend, "progress", ann, bob)

    for page in (ann, bob):
        page.fill("#count", "500")
        page.uncheck("#broken")
        page.click("#start")
        page.wait_for_function("() => +bar.ariaValueNow > 0")
        page.click("#cancel")
        shows(page, "#outcome", "Cancelled.")
        assert 0 < percent(page) < 100
        page.locator("#start:enabled").wait_for()
    bob.fill("#count", "501")
    bob.evaluate("() => { form.noValidate = true; }")
    bob.click("#start")
    shows(bob, "#outcome", "Between 1 and 500 pictures, please.")
    shows(ann, "#outcome", "Cancelled.")


# The tutorial -----------------------------------------------------------------------------------


def test_an_empty_hub_connects(visit: Visit, empty_hub: str) -> None:
    shows(visit(f"{empty_hub}/"), "#log", "Connected over webSockets.")


def test_the_hub_of_the_article(visit: Visit, hub_outside: str) -> None:
    steps = [
        "increment(1): 2",
        "echoItem: 42, FISH",
        "alertMessage: Somebody wants to be called.",
        "receiveComplex: 1 is one, 2 is two",
        "alertMessage: external test",
    ]
    ann = visit(f"{hub_outside}/")
    for step in [*steps, "count: 2 of the class, 1 of the instance"]:
        ann.locator("#log li", has_text=step).first.wait_for()
    bob = visit(f"{hub_outside}/")
    for step in [*steps, "count: 4 of the class, 1 of the instance"]:
        bob.locator("#log li", has_text=step).first.wait_for()
    ann.locator("#log li", has_text="Somebody wants to be called.").nth(1).wait_for()


# All of them ------------------------------------------------------------------------------------


def test_the_pages_fit_a_phone(visit: Visit, hub_chat: str, shape_share: str, stock_ticker: str, progress: str) -> None:
    for origin in (hub_chat, shape_share, stock_ticker, progress):
        page = connected(visit(f"{origin}/"), "webSockets")
        for width in (900, 390, 320):
            page.set_viewport_size({"width": width, "height": 700})
            assert page.evaluate("() => document.documentElement.scrollWidth") <= width
