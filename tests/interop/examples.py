"""Programs of docs/examples as servers, and their pages in a real browser, as the tests of the examples use them.

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

__all__ = ["EXAMPLES", "Visit", "all_texts", "lists", "picture", "run", "running", "served", "shows", "visit"]


# Servers and pages ------------------------------------------------------------------------------


@contextmanager
def running(node_modules: Path, *command: str, folder: Path | None = None) -> Iterator[str]:
    """A program of docs/examples, started where the scripts from npm are (or in `folder`); it may log no error."""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((str(EXAMPLES), str(ROOT))), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *command],
        cwd=node_modules.parent if folder is None else folder,
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
        wrong = [line for line in logged if " INFO " not in line and "no secret_keys" not in line]
        assert wrong == [], "\n".join(wrong)
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
