"""One browser for all, a server process for each backend; what is missing skips (or fails, where it is required)."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from .aspnetcore_clients import ClientPage, Clients, NodeProcess
from .browser import TRANSPORTS, BrowserPage, ChatPage, HubPage
from .harness import ASPNETCORE, HUBS, ServerProcess
from .proxy import Proxy

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
HERE = Path(__file__).parent
NEWER = ("test_aspnetcore", "test_both", "test_signalr")
"""Tests with clients of ASP.NET Core: they run beside those with classic ones, for most of the time clients wait."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            if isinstance(item, pytest.Function) and hasattr(item, "callspec"):  # `-n 4 --dist loadgroup`: side by side
                family = "newer" if item.path.stem.startswith(NEWER) else "classic"
                item.add_marker(pytest.mark.xdist_group(f"{item.callspec.params.get('backend')} {family}"))


@pytest.fixture(scope="package", params=("asyncio", "trio"))
def backend(request: pytest.FixtureRequest) -> str:
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture(params=TRANSPORTS)
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="package")
def node_modules() -> Path:
    modules = HERE / "node_modules"
    if not all((modules / name).is_dir() for name in ("signalr", "@microsoft/signalr")):
        pytest.skip("no node_modules: run `npm ci` in tests/interop")
    return modules


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not there: install Debian's package chromium")
    sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="package")
def server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """With default settings."""
    server = ServerProcess(backend)
    yield server
    server.close()


@pytest.fixture(scope="package")
def impatient_server(backend: str, server: ServerProcess) -> Iterator[ServerProcess]:
    """With the shortest time-outs there may be, JSONP, and open to pages of `server`."""
    impatient = ServerProcess(
        backend,
        settings={
            "disconnect_timeout": 6,
            "disconnect_threshold": 0,
            "keep_alive": 2,
            "transport_connect_timeout": 1.5,
            "jsonp": True,
        },
        allowed_origins=[server.origin],
    )
    yield impatient
    impatient.close()


@pytest.fixture(scope="package")
def hub_server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """`servers/hubs.py` with default settings."""
    server = ServerProcess(backend, application=HUBS)
    yield server
    server.close()


@pytest.fixture(scope="package")
def mortal_hub_server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """With detailed errors; a test may end it and start it again."""
    server = ServerProcess(backend, application=HUBS, settings={"detailed_errors": True})
    yield server
    server.close()


@pytest.fixture(scope="package")
def aspnetcore_server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """`servers/aspnetcore.py`, with raised limits and stateful reconnect."""
    settings = {"allow_stateful_reconnect": True, "max_message_size": 2_000_000, "ring_messages": 20_000}
    server = ServerProcess(backend, application=ASPNETCORE, settings=settings)
    yield server
    server.close()


@pytest.fixture
def prefixed_server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """`servers/aspnetcore.py` behind a proxy that takes `/prefix` off."""
    settings = {"allow_stateful_reconnect": True, "ring_messages": 20_000, "keep_alive": 2}
    server = ServerProcess(backend, application=ASPNETCORE, settings=settings, root_path="/prefix")
    yield server
    server.close()


@pytest.fixture(scope="package")
def mortal_aspnetcore_server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """With detailed errors and no stateful reconnect; a test may end it and start it again."""
    server = ServerProcess(backend, application=ASPNETCORE, settings={"detailed_errors": True})
    yield server
    server.close()


@pytest.fixture(scope="package")
def node(node_modules: Path) -> Iterator[NodeProcess]:
    """One Node.js for all."""
    if shutil.which("node") is None:
        pytest.skip("node is not there: install Debian's package nodejs")
    node = NodeProcess()
    yield node
    node.close()


@pytest.fixture(params=("node", "chromium"))
def clients_at(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Clients]]:
    """Gives a home to clients of the server at an origin: Node.js, or a page of that origin."""
    if request.param == "node":
        node = request.getfixturevalue("node")
        yield lambda origin: node
        node.obey("stopAll", {})
        assert node.errors == []
    else:
        visit = request.getfixturevalue("visit")
        yield lambda origin: visit(f"{origin}/aspnetcore.html", kind=ClientPage)


@pytest.fixture(autouse=True)
def no_server_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a server logs as an error fails the test during which it did."""
    names = ("server", "impatient_server", "mortal_server", "hub_server", "mortal_hub_server")
    names += ("aspnetcore_server", "mortal_aspnetcore_server", "prefixed_server")
    servers = [request.getfixturevalue(name) for name in names if name in request.fixturenames]
    marks = [each.mark() for each in servers]
    yield
    for each, mark in zip(servers, marks, strict=True):
        assert each.events("error", since=mark) == []


@pytest.fixture
def mortal_server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """For a test that ends it and starts it again. A page with a forever frame sees nothing of that but silence."""
    server = ServerProcess(backend, settings={"keep_alive": 2})
    yield server
    server.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., ChatPage]]:
    """Opens a page of an origin; all are closed when the test is over."""
    pages: list[ChatPage] = []

    def open_page(origin: str, **options: str) -> ChatPage:
        pages.append(ChatPage(browser, origin, **options))
        return pages[-1]

    yield open_page
    for page in pages:
        page.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., BrowserPage]]:
    """Opens a page by its address, as a `HubPage` or what `kind` says; no script of it may fail unseen."""
    pages: list[BrowserPage] = []

    def visit(url: str, *, kind: type[BrowserPage] = HubPage, **options: str) -> BrowserPage:
        pages.append(kind(browser, url, **options))
        return pages[-1]

    yield visit
    errors = [error for page in pages for error in page.errors]
    for page in pages:
        page.close()
    assert errors == []


@pytest.fixture
def proxy_to() -> Iterator[Callable[..., Proxy]]:
    """Puts a misbehaving proxy before a port."""
    proxies: list[Proxy] = []

    def proxy_to(port: int, **options: bool) -> Proxy:
        proxies.append(Proxy(port, **options))
        return proxies[-1]

    yield proxy_to
    for proxy in proxies:
        proxy.close()
