"""The two pages of the tutorial, in a real browser, served as the tutorial says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = [
    pytest.mark.own_server("an example of the documentation, on `persistconn serve`"),
    pytest.mark.one_loop("trio"),
]

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"


@pytest.fixture(scope="module")
def tutorial(backend: str, node_modules: Path) -> Iterator[str]:
    """`persistconn serve jquery_page:app`, which is the chat and one page more."""
    command = [sys.executable, "-m", "persistconn", "serve", "jquery_page:app", "--port", "0", "--backend", backend]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(EXAMPLES), str(ROOT))), "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(command, cwd=node_modules.parent, env=env, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            found = re.search(r"http://[0-9.]+:[0-9]+", process.stdout.readline())
            assert found is not None
            yield found[0]
        finally:
            process.terminate()


@pytest.fixture
def open_at(browser: Browser, tutorial: str) -> Iterator[Any]:
    contexts = []

    def open_at(path: str) -> Page:
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.goto(tutorial + path)
        return page

    yield open_at
    for context in contexts:
        context.close()


def wait_for(page: Page, text: str) -> None:
    page.wait_for_function(
        "text => [...log.children].some(line => line.textContent === text)", arg=text, timeout=15_000
    )


def messages(page: Page) -> list[str]:
    """What was said, oldest first."""
    lines: list[str] = page.evaluate("() => [...log.querySelectorAll('.message')].map(line => line.textContent)")
    return lines[::-1]


def say(page: Page, text: str) -> None:
    page.fill("#text", text)
    page.press("#text", "Enter")


def test_the_page_written_by_hand(open_at: Any) -> None:
    ann, bob = open_at("/?name=Ann"), open_at("/?name=Bob")
    for page in (ann, bob):
        wait_for(page, "connected")

    ann.select_option("#room", "kitchen")
    wait_for(ann, "Ann came into the kitchen.")
    say(ann, "soup?")
    wait_for(ann, "Ann in the kitchen: soup?")

    ann.click("#plug")
    wait_for(ann, "away for three seconds")
    for number in range(20):
        say(bob, f"number {number}")
    wait_for(ann, "back again")
    wait_for(ann, "Bob: number 19")
    assert messages(ann)[-20:] == [f"Bob: number {number}" for number in range(20)]
    assert "Ann in the kitchen: soup?" not in messages(bob)


def test_the_page_with_jquery(open_at: Any) -> None:
    page = open_at("/signalr")
    page.wait_for_function("() => log.textContent.includes('Ada: Hello from webSockets')", timeout=15_000)
