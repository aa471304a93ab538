"""The examples for clients of ASP.NET Core SignalR: their pages in a real browser, their scripts in Node."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import examples
from .examples import EXAMPLES, Visit, lists, picture, running, served, shows

if TYPE_CHECKING:
    from playwright.sync_api import Page

pytestmark = [
    pytest.mark.own_server("an example of the documentation, on `persistconn serve`"),
    pytest.mark.one_loop("asyncio"),
]

WITHIN = 30

visit = examples.visit
tokens, raw_sums = map(served, ("tokens", "raw_sums"))


# Token by token ---------------------------------------------------------------------------------


def text_of(page: Page) -> str:
    return str(page.text_content("#text"))


@pytest.mark.parametrize("transport", ["WebSockets", "ServerSentEvents", "LongPolling"])
def test_a_text_comes_token_by_token_and_stops_when_it_is_cancelled(
    visit: Visit, tokens: str, backend: str, transport: str
) -> None:
    ann = visit(f"{tokens}/?transport={transport}", 660, 380)
    bob = visit(f"{tokens}/", 660, 380)
    for page in (ann, bob):
        shows(page, "#state", "connected")
        shows(page, "#writers", "nobody writes")
    ann.fill("#topic", "the harbour")
    ann.click("#write")
    shows(ann, "#outcome", "That is all.")
    whole = text_of(ann)
    assert whole.startswith(("Nobody who has seen the harbour", "There are two kinds", "First, the harbour"))
    assert whole.count(".") == 4
    spans: list[str] = ann.locator("#text span").all_text_contents()
    assert len(spans) > 50
    assert max(map(len, spans)) <= 8, "tokens, and not the whole text at once"

    bob.select_option("#length", "long")
    bob.click("#write")
    bob.wait_for_function("() => document.querySelectorAll('#text span').length > 60")
    shows(ann, "#writers", "one text is being written")
    assert text_of(bob).startswith(whole[: len(text_of(bob))][:50]), "the same about the same"
    ann.click("#write")
    shows(bob, "#writers", "2 texts are being written")
    picture(backend, "tokens", bob)
    bob.click("#cancel")
    shows(bob, "#outcome", "Cancelled.")
    shows(ann, "#outcome", "That is all.")
    for page in (ann, bob):
        shows(page, "#writers", "nobody writes")
    kept = text_of(bob)
    assert text_of(ann) == whole
    ann.evaluate("() => { topic.maxLength = 100; }")
    ann.fill("#topic", "x" * 61)
    ann.click("#write")
    shows(ann, "#outcome", "A topic has 1 to 60 letters.")
    assert text_of(bob) == kept

    bob.click("#write")
    shows(ann, "#writers", "one text is being written")
    bob.goto("about:blank")  # who goes wants no more either
    shows(ann, "#writers", "nobody writes")


def test_the_page_fits_a_phone_and_the_dark(visit: Visit, tokens: str) -> None:
    page = visit(f"{tokens}/")
    shows(page, "#state", "connected")
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="dark")
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != light
    for width in (900, 390, 320):
        page.set_viewport_size({"width": width, "height": 700})
        assert page.evaluate("() => document.documentElement.scrollWidth") <= width


# A bare WebSocket -------------------------------------------------------------------------------


def test_a_bare_websocket_is_a_raw_connection(visit: Visit, raw_sums: str) -> None:
    page = visit(f"{raw_sums}/")
    shows(page, "#log", "sum 40\nsum 41\nsum 51\n")
    visit(f"{raw_sums}/")
    shows(page, "#log", "sum 40\nsum 41\nsum 51\n")  # a record is only what is more


# The tutorial -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def board(backend: str, node_modules: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The folder of the tutorial, built and served as the tutorial says."""
    folder = tmp_path_factory.mktemp("board")
    shutil.copytree(EXAMPLES / "typescript", folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("main.js"))
    (folder / "node_modules").symlink_to(node_modules)
    built = subprocess.run(["npm", "run", "build"], cwd=folder, capture_output=True, text=True, timeout=120)
    assert built.returncode == 0, built.stdout + built.stderr
    command = ("-m", "persistconn", "serve", "board:app", "--port", "0", "--backend", backend, "--no-access-log")
    with running(node_modules, *command, folder=folder) as origin:
        yield origin


def test_the_board_of_the_typescript_tutorial(visit: Visit, board: str) -> None:
    ann, bob = visit(f"{board}/"), visit(f"{board}/")
    for page in (ann, bob):
        shows(page, "#state", "connected")
    ann.fill("[name=text]", "Buy lemons")
    ann.press("[name=text]", "Enter")
    bob.fill("[name=text]", "Water the moss & <b>salt</b>")
    bob.select_option("[name=colour]", "blue")
    bob.click("button")
    for page in (ann, bob):
        lists(page, "#board .yellow", "Buy lemons")
        lists(page, "#board .blue", "Water the moss & <b>salt</b>")
    ann.click("button")
    shows(ann, "#error", "A note has 1 to 80 letters.")
    cara = visit(f"{board}/")
    lists(cara, "#board li", "Buy lemons", "Water the moss & <b>salt</b>")
    cara.click("text=Buy lemons")
    for page in (ann, bob, cara):
        lists(page, "#board li", "Water the moss & <b>salt</b>")


# Scripts of the how-tos -------------------------------------------------------------------------

SAID = {
    "hub_streams": ["3", "2", "1", "total 4", "smooth 1", "smooth 2"],
    "hub_ask": [
        "come in",
        "go away",
        "the bell is broken: Error: no battery",
        "the bell is broken: Client didn't provide a result.",
        "nobody lives there",
    ],
    "hub_stateful": ["1", "2"],
    "access_tokens": ["ann", "true"],
    "hub_messagepack": [
        "{",
        "  taken_at: 2028-02-29T12:00:00.000Z,",
        "  kind: 1,",
        "  pixels: Uint8Array(3) [ 0, 64, 127 ]",
        "}",
        "{",
        "  TakenAt: 2028-02-29T12:00:00.000Z,",
        "  Kind: 'BlackAndWhite',",
        "  Pixels: Uint8Array(3) [ 0, 64, 127 ]",
        "}",
    ],
}


@pytest.mark.parametrize("name", SAID)
def test_a_script_of_a_page(name: str, backend: str, node_modules: Path, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("node is not there: install Debian's package nodejs")
    (tmp_path / "node_modules").symlink_to(node_modules)
    script = shutil.copy(EXAMPLES / f"{name}.mjs", tmp_path)
    command = ("-m", "persistconn", "serve", f"{name}:app", "--port", "0", "--backend", backend, "--no-access-log")
    with running(node_modules, *command) as origin:
        done = subprocess.run(["node", script, origin], capture_output=True, text=True, timeout=WITHIN)
    said = [line for line in done.stdout.splitlines() if " Information: " not in line]
    assert (said, done.stderr) == (SAID[name], "")
