"""The hub examples of the documentation, used by two people each, in a real browser, on several transports."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from . import examples
from .examples import Visit, all_texts, lists, picture, run, served, shows

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.own_server("an example of the documentation, on `persistconn serve`"),
    pytest.mark.one_loop("trio"),
]

visit = examples.visit

hub_chat, shape_share, progress, empty_hub = map(served, ("hub_chat", "shape_share", "progress", "empty_hub"))
stock_ticker, hub_outside = map(run, ("stock_ticker", "hub_outside"))


def connected(page: Page, transport: str) -> Page:
    shows(page, "#state", f"connected: {transport}")
    return page


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
