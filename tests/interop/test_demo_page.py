"""The page of `persistconn demo`, used as a visitor would, on each transport, on asyncio and on trio."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.own_server("the page of `persistconn demo`")

ROOT = Path(__file__).parents[2]
NUMBERS = list(range(1, 41))
BACK = r"Recovered\. Away for [\d.]+ s: (\d+) messages? replayed, 0 lost\."
TRANSPORTS = {"webSockets": "WebSocket", "serverSentEvents": "event stream", "longPolling": "long poll"}

WATCH = """
addEventListener("DOMContentLoaded", () => {
  const states = [];
  new MutationObserver(() => {
    states.push(document.body.dataset.state);
    document.documentElement.dataset.states = states.join(" ");
  }).observe(document.body, { attributes: true, attributeFilter: ["data-state"] });
});
"""
"""Keeps the states that a page went through, in the document, where a selector sees them whatever the page's policy."""

Visit: TypeAlias = "Callable[..., Page]"


@pytest.fixture(scope="module")
def origin(backend: str) -> Iterator[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "persistconn", "demo", "--port", "0", "--backend", backend],
        cwd=ROOT,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        assert process.stdout is not None
        announced = process.stdout.readline()
        found = re.search(r"(http://[\d.:]+)/", announced)
        assert found is not None, announced
        yield found[1]
        process.terminate()
        assert process.communicate(timeout=15)[0] == "", "the demo logged something"
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def visit(browser: Browser, origin: str) -> Iterator[Visit]:
    """Opens the page under a name, each in a browser context of its own, and waits until it is connected."""
    contexts = []
    errors: list[str] = []

    def visit(name: str, transport: str = "auto", script: str = "") -> Page:
        context = browser.new_context()
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(15_000)
        page.on("pageerror", lambda error: errors.append(f"{name}: {error}"))
        page.on("console", lambda message: message.type == "error" and errors.append(f"{name}: {message.text}"))
        page.add_init_script(WATCH)
        page.add_init_script(f"if (location.host) sessionStorage.setItem('name', '{name}'); {script}")
        page.goto(f"{origin}/")
        connected(page, name)
        if transport != "auto":
            page.locator(f"[value={transport}]").check(force=True)
            connected(page, name)
            page.locator("#fact-transport", has_text=TRANSPORTS[transport]).wait_for()
        return page

    yield visit
    for context in contexts:
        context.close()
    assert errors == []


def connected(page: Page, name: str) -> None:
    page.locator("body[data-state=connected]").wait_for()
    page.locator("#people .self", has_text=name).wait_for()


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def heard(page: Page, text: str) -> None:
    page.locator("#chat .said .text", has_text=text).wait_for()


def numbers(page: Page, kind: str) -> list[int]:
    return [int(text) for text in page.locator(f"#numbers .{kind}").all_inner_texts()]


def test_two_pages_chat_and_see_each_other_come_and_go(visit: Visit, transport: str) -> None:
    ann = visit("Ann", transport)
    ben = visit("Ben", transport)
    ann.locator("#people li", has_text="Ben").locator("small", has_text=TRANSPORTS[transport]).wait_for()
    text = f"On {transport} <img src=x onerror=alert(1)> & co. 😀"
    say(ann, text)
    heard(ben, text)
    assert ben.locator("#chat img").count() == 0
    say(ben, f"Hello Ann, on {transport}")
    heard(ann, f"Hello Ann, on {transport}")
    ben.fill("#name", "Benjamin")
    ben.press("#name", "Enter")
    ann.locator("#people li", has_text="Benjamin").wait_for()
    ben.goto("about:blank")
    ann.locator("#chat .notice", has_text="Benjamin left").wait_for()
    ann.locator("#people li", has_text="Benjamin").wait_for(state="detached")


def test_a_cut_is_recovered_without_loss_on_each_transport(visit: Visit) -> None:
    pages = [(visit(f"{who} {name}", name), who) for who in ("server", "page") for name in TRANSPORTS]
    ben = visit("Ben")
    for page, who in pages:  # it takes a while, and each page the same: they do it at the same time
        page.click(f"#cut-{who}")
    for page, _ in pages:
        page.locator("html[data-states~=reconnecting]").wait_for()
    say(ben, "said after you were cut off")
    for page, who in pages:
        page.locator("#verdict .all").wait_for()
        verdict = page.inner_text("#verdict")
        found = re.search(BACK, verdict)
        assert found is not None, verdict
        assert verdict.endswith("All 40 numbers are here, once and in order.")
        live, replayed = numbers(page, "live"), numbers(page, "replay")
        assert sorted(live + replayed) == NUMBERS
        assert replayed == NUMBERS[replayed[0] - 1 : replayed[-1]], "one stretch"
        assert replayed[0] >= 10
        assert int(found[1]) >= len(replayed)
        heard(page, "said after you were cut off")
        page.locator(f"#cut-{who}:enabled").wait_for()
        assert str(page.get_attribute("html", "data-states")).endswith(" connected reconnecting connected")


def test_what_is_typed_while_cut_off_is_sent_on_return(visit: Visit) -> None:
    ann, ben = visit("Ann"), visit("Ben")
    ann.click("#cut-page")
    ann.locator("body[data-state=reconnecting]").wait_for()
    say(ann, "typed in the dark")
    heard(ben, "typed in the dark")


def test_auto_falls_back_where_there_are_no_web_sockets(visit: Visit) -> None:
    broken = (
        "window.WebSocket = class { constructor() { setTimeout(() => this.onclose({ code: 1006 })); } close() {} };"
    )
    ann = visit("Ann", script=broken)
    assert ann.inner_text("#fact-transport") == "event stream"
    ann.locator("#wire .note", has_text="webSockets does not work here").wait_for()


def test_the_wire_is_shown_without_secrets_and_can_be_paused(visit: Visit) -> None:
    ann = visit("Ann", "longPolling")
    shown = ann.inner_text("#wire")
    for what in ("GET negotiate", "POST connect", "POST poll", "envelope"):
        assert what in shown
    tokens = re.findall(r'"ConnectionToken":"([^"]*)"|connectionToken=([^&\s]*)', shown)
    assert tokens
    assert all(len(token) <= 6 and token.endswith("…") for pair in tokens for token in pair if token)
    ann.click("#pause")
    before = ann.locator("#wire li").count()
    say(ann, "one more frame")
    heard(ann, "one more frame")
    ann.locator("#pause", has_text=re.compile(r"Resume \(\d+\)")).wait_for()
    assert ann.locator("#wire li").count() == before
    ann.click("#pause")
    ann.locator("#wire li", has_text="one more frame").first.wait_for()
    ann.click("#clear")
    assert ann.locator("#wire li").count() == 0


def test_the_page_fits_a_phone(visit: Visit) -> None:
    ann = visit("Ann")
    for width in (1400, 900, 390, 320):
        ann.set_viewport_size({"width": width, "height": 800})
        assert ann.evaluate("() => document.documentElement.scrollWidth") <= width
