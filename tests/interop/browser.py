"""A page with the unmodified jquery.signalR client, in Chromium, as a test drives it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

__all__ = ["TRANSPORTS", "ChatPage"]

TRANSPORTS = ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")


class ChatPage:
    """One page in a browser context of its own: own cookies, own sockets."""

    def __init__(self, browser: Browser, origin: str, *, transport: str = "webSockets", cookie: str | None = None):
        self.transport = transport
        self.id = ""
        self.context: BrowserContext = browser.new_context()
        if cookie is not None:
            name, _, value = cookie.partition("=")
            self.context.add_cookies([{"name": name, "value": value, "domain": "127.0.0.1", "path": "/"}])
        if transport == "foreverFrame":  # the client takes it only where there is no EventSource
            self.context.add_init_script("delete window.EventSource")
        self.page: Page = self.context.new_page()
        self.page.goto(f"{origin}/")

    def start(self, url: str = "/chat", *, query: str | None = None, **options: Any) -> ChatPage:
        """Start a connection on this page's transport (or what `options` say), until the client calls it connected."""
        options = {"transport": self.transport, **options}
        answer = self.page.evaluate("([url, options, query]) => start(url, options, query)", [url, options, query])
        self.id = answer["id"]
        self.transport = answer["transport"]
        return self

    def send(self, data: Any) -> None:
        self.page.evaluate("data => { connection.send(data); }", data)

    def stop(self) -> None:
        self.page.evaluate("() => { connection.stop(); }")

    def until(self, condition: str, argument: Any = None, *, within: float = 15) -> None:
        """Wait until a JavaScript function (or expression) gives something true."""
        try:
            self.page.wait_for_function(condition, arg=argument, polling=20, timeout=within * 1000)
        except Exception as error:
            raise AssertionError(
                f"{self.transport}: not within {within} s: {condition}\nseen: {self.seen()}"
            ) from error

    def until_received(self, data: Any, *, within: float = 15) -> None:
        """Wait until this very message is among those received."""
        self.until(
            "wanted => seen.received.some(each => JSON.stringify(each) === wanted)",
            json.dumps(data, ensure_ascii=False, separators=(",", ":")),
            within=within,
        )

    def until_state(self, state: str, *, within: float = 15) -> None:
        self.until(
            "state => seen.states.length > 0 && seen.states[seen.states.length - 1] === state", state, within=within
        )

    @property
    def received(self) -> list[Any]:
        """All that came, oldest first."""
        received: list[Any] = self.page.evaluate("() => seen.received")
        return received

    @property
    def states(self) -> list[str]:
        states: list[str] = self.page.evaluate("() => seen.states")
        return states

    def seen(self) -> str:
        return json.dumps(self.page.evaluate("() => seen"))[-2000:]

    def forget(self) -> None:
        """Start the record of what was seen afresh."""
        self.page.evaluate("() => { seen.received = []; seen.states = []; seen.errors = []; seen.slow = 0; }")

    def crash(self) -> None:
        """Kill the page's process: no script of it runs any more, the system closes its sockets."""
        with self.page.expect_event("crash"), contextlib.suppress(Exception):  # nobody is left to answer
            self.page.goto("chrome://crash", wait_until="commit")

    def close(self) -> None:
        self.context.close()
