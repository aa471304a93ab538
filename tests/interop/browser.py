"""A page with the unmodified jquery.signalR client, in Chromium, as a test drives it."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Page

__all__ = ["TRANSPORTS", "BrowserPage", "ChatPage", "HubPage"]

TRANSPORTS = ("webSockets", "serverSentEvents", "longPolling", "foreverFrame")


class BrowserPage:
    """One page in a browser context of its own: own cookies, own sockets. What it saw is in its variable `seen`."""

    def __init__(
        self, browser: Browser, url: str, *, transport: str = "webSockets", cookie: str | None = None, script: str = ""
    ):
        self.transport = transport
        self.id = ""
        self.errors: list[str] = []
        """What its scripts threw and nobody caught."""
        self.context: BrowserContext = browser.new_context()
        if cookie is not None:
            name, _, value = cookie.partition("=")
            self.context.add_cookies([{"name": name, "value": value, "domain": "127.0.0.1", "path": "/"}])
        if transport == "foreverFrame":  # the client takes it only where there is no EventSource
            self.context.add_init_script("delete window.EventSource")
        if script:
            self.context.add_init_script(script)
        self.page: Page = self.context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)

    def run(self, script: str, argument: Any = None) -> Any:
        """Call a JavaScript function; a promise it gives is awaited."""
        return self.page.evaluate(script, argument)

    def until(self, condition: str, argument: Any = None, *, within: float = 15) -> None:
        """Wait until a JavaScript function (or expression) gives something true."""
        try:
            self.page.wait_for_function(condition, arg=argument, polling=20, timeout=within * 1000)
        except Exception as error:
            raise AssertionError(
                f"{self.transport}: not within {within} s: {condition}\nseen: {self.seen()}\nthrown: {self.errors}"
            ) from error

    def until_state(self, state: str, *, within: float = 15) -> None:
        self.until(
            "state => seen.states.length > 0 && seen.states[seen.states.length - 1] === state", state, within=within
        )

    @property
    def states(self) -> list[str]:
        states: list[str] = self.page.evaluate("() => seen.states")
        return states

    def seen(self) -> str:
        return json.dumps(self.page.evaluate("() => seen"))[-2000:]

    def crash(self) -> None:
        """Kill the page's process: no script of it runs any more, the system closes its sockets."""
        with self.page.expect_event("crash"), contextlib.suppress(Exception):  # nobody is left to answer
            self.page.goto("chrome://crash", wait_until="commit")

    def close(self) -> None:
        self.context.close()


class ChatPage(BrowserPage):
    """A page with a connection, `connection`, to the chat."""

    def __init__(self, browser: Browser, mount: str, **options: str):
        super().__init__(browser, f"{mount}/", **options)

    def start(self, url: str = "chat", *, query: str | None = None, **options: Any) -> ChatPage:
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

    def until_received(self, data: Any, *, within: float = 15) -> None:
        """Wait until this very message is among those received."""
        self.until(
            "wanted => seen.received.some(each => JSON.stringify(each) === wanted)",
            json.dumps(data, ensure_ascii=False, separators=(",", ":")),
            within=within,
        )

    @property
    def received(self) -> list[Any]:
        """All that came, oldest first."""
        received: list[Any] = self.page.evaluate("() => seen.received")
        return received

    def forget(self) -> None:
        """Start the record of what was seen afresh."""
        self.page.evaluate("() => { seen.received = []; seen.states = []; seen.errors = []; seen.slow = 0; }")


class HubPage(BrowserPage):
    """A page with hubs, on `servers/hubs.js`; `seen.calls` is what the server called."""

    def start(self, hubs: dict[str, list[str]], *, style: str = "client") -> HubPage:
        """Start `$.connection.hub`, with functions of those names for the server to call.

        `style` says where they are: on `proxy.client`, as SignalR 2 has it, or on the `proxy` itself.
        """
        answer = self.run("([hubs, style, transport]) => start(hubs, style, transport)", [hubs, style, self.transport])
        self.id = answer["id"]
        assert answer["transport"] == self.transport
        return self

    def call(self, hub: str, method: str, *arguments: Any) -> Any:
        """What became of `$.connection.<hub>.server.<method>(...)`: `{"value"}` or `{"error", "source", "data"}`."""
        return self.run(
            "([hub, method, args]) => outcome($.connection[hub].server[method](...args))", [hub, method, arguments]
        )

    def until_called(self, *call: Any, within: float = 15) -> None:
        """Wait until the server has called `hub`, `function`, with these arguments."""
        self.until(
            "wanted => seen.calls.some(each => JSON.stringify(each) === wanted)",
            json.dumps(call, ensure_ascii=False, separators=(",", ":")),
            within=within,
        )

    @property
    def calls(self) -> list[list[Any]]:
        """All calls of the server, oldest first, each as hub, function, arguments."""
        calls: list[list[Any]] = self.run("() => seen.calls")
        return calls

    def forget(self) -> None:
        """Start the record of what was seen afresh."""
        self.run("() => { seen.calls = []; seen.states = []; seen.messages = []; }")

    def stop(self) -> None:
        self.run("() => { $.connection.hub.stop(); }")
