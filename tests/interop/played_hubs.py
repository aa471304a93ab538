"""Hubs that are played by a script, pages that talk to them, and both as a test drives them."""

from __future__ import annotations

import json
import queue
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio

from persistconn import App, Connection, PersistentConnection, serve
from persistconn.hubs.names import HubShape, MethodShape
from persistconn.hubs.proxies import script

if TYPE_CHECKING:
    from playwright.sync_api import BrowserContext, Page

__all__ = ["HubPage", "Server"]

HUBS = [
    HubShape(
        "MyHub",
        "myHub",
        (
            MethodShape("increment", "increment", ("value",)),
            MethodShape("Exact Name</script>", "Exact Name</script>"),
            *(MethodShape(name, name) for name in ("on", "toString", "both")),
        ),
    ),
    HubShape("Other", "other", (MethodShape("ping", "ping"),)),
]
LIBRARIES = '<script src="/jquery.js"></script><script src="/jquery.signalR.js"></script>'
PAGES = {
    "/": LIBRARIES + '<script src="/hubs.js"></script>',
    "/plain": LIBRARIES + '<script src="/plain-hubs.js"></script>',
    "/inside": f"{LIBRARIES}<script>{script('/signalr/', HUBS)}</script>",
    "/twice": LIBRARIES + 2 * '<script src="/hubs.js"></script>',
    "/no-library": '<script src="/jquery.js"></script><script src="/hubs.js"></script>',
    "/no-jquery": '<script src="/hubs.js"></script>',
}


class PlayedHubs(PersistentConnection):
    """Says what it was sent; answers `increment` as a hub does, and everything else with what a test prepared."""

    raw_text = True

    def __init__(self) -> None:
        self.connected: queue.Queue[tuple[str, list[str]]] = queue.Queue()
        self.heard: queue.Queue[Any] = queue.Queue()
        self.answers: list[dict[str, Any]] = []

    async def on_connected(self, connection: Connection) -> None:
        named = json.loads(connection.request.query.get("connectionData") or "[]")
        self.connected.put((connection.id, [each["name"] for each in named]))

    async def on_received(self, connection: Connection, data: str) -> None:
        call = json.loads(data)
        self.heard.put(call)
        prepared = self.answers.pop(0) if self.answers else {}
        result = {"R": call["A"][0] + 1} if call["M"] == "increment" else {}
        await connection.send({"I": str(call["I"]), **result, **prepared})


class Server:
    """The played hubs and the pages, in a thread of their own."""

    def __init__(self, modules: Path) -> None:
        self.app = App(secret_keys=[b"a key that is long enough"])
        self.hubs = PlayedHubs()
        self.app.add_connection("/signalr", self.hubs)
        for path, text in PAGES.items():
            html = f'<!doctype html><meta charset="utf-8"><link rel="icon" href="data:,">{text}'
            self.app.add_page(path, html.encode(), "text/html; charset=utf-8")
        scripts = {
            "/jquery.js": (modules / "jquery/dist/jquery.js").read_bytes(),
            "/jquery.signalR.js": (modules / "signalr/jquery.signalR.js").read_bytes(),
            "/hubs.js": script("/signalr", HUBS).encode(),
            "/plain-hubs.js": script("/signalr", HUBS, article_style=False).encode(),
        }
        for path, body in scripts.items():
            self.app.add_page(path, body, "text/javascript; charset=utf-8")
        self._listening: queue.Queue[Any] = queue.Queue()
        self._thread = threading.Thread(target=anyio.run, args=(self._run,), daemon=True)
        self._thread.start()
        self._server = self._listening.get(timeout=15)
        self.origin = f"http://127.0.0.1:{self._server.port}"

    async def _run(self) -> None:
        async with anyio.create_task_group() as tasks:
            self._listening.put(await tasks.start(partial(serve, self.app, port=0, handle_signals=False)))

    def call(self, id: str, method: str, *args: Any, hub: str = "MyHub", **more: Any) -> None:
        """Call a function of the page, as a hub does; then another, so that `until_told` knows the end."""
        for message in ({"H": hub, "M": method, "A": args, **more}, {"H": hub, "M": "told", "A": []}):
            self.app.from_thread.run(self.hubs.send, id, message)

    def next_call(self) -> dict[str, Any]:
        call: dict[str, Any] = self.hubs.heard.get(timeout=15)
        return call

    def close(self) -> None:
        async def shut_down() -> None:
            self._server.shutdown()

        self.app.from_thread.run(shut_down)
        self._thread.join(15)


class HubPage:
    """A page with the script; `said` is what its callbacks noted down with `say`."""

    def __init__(self, context: BrowserContext, server: Server, path: str) -> None:
        self.server = server
        self.errors: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.add_init_script("said = []; told = 0; say = (...words) => said.push(words.join(' '))")
        self.page.goto(server.origin + path)

    def run(self, body: str) -> Any:
        return self.page.evaluate(f"async () => {{ const c = $.connection.myHub; {body} }}")

    def start(self) -> list[str]:
        """Start; the hubs that the client said to listen to."""
        self.run("await $.connection.hub.start({ transport: 'webSockets' })")
        self.id, named = self.server.hubs.connected.get(timeout=15)
        return named

    def stop(self) -> None:
        self.run("$.connection.hub.stop()")

    def call(self, method: str, *args: Any, **more: Any) -> list[str]:
        """Have the server call a function of the page; what the page said to that."""
        self.run("said = []; told = 0; c.off('told').on('told', function () { told = 1; })")
        self.server.call(self.id, method, *args, **more)
        self.page.wait_for_function("told", timeout=5_000)
        assert self.errors == []
        said: list[str] = self.page.evaluate("said")
        return said
