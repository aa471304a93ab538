"""One browser for all, a server process for each backend; what is missing skips (or fails, where it is required)."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import pytest

from .aspnetcore_clients import ClientPage, Clients, NodeProcess
from .browser import TRANSPORTS, BrowserPage, ChatPage, HubPage
from .harness import ASPNETCORE, HUBS, ServerProcess
from .host_run import HostRun
from .hosts import HOSTS, MOUNTS
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
LOOPS = ("asyncio", "trio")
StartServer: TypeAlias = Callable[..., ServerProcess]
NEWER = ("test_aspnetcore", "test_both", "test_signalr")
"""Tests with clients of ASP.NET Core: they run beside those with classic ones, for most of the time clients wait."""


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("persistconn: the suites on other servers")
    group.addoption("--host", choices=HOSTS, help="run on this ASGI server instead of our own")
    group.addoption("--mount", choices=MOUNTS, default="", help="where the app is on it: at the root, or in Starlette")
    group.addoption("--tally", type=Path, help="append what came of the run to this file, as one line of JSON")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("host"):
        config.pluginmanager.register(HostRun(config), "persistconn hosts")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "backend" in metafunc.fixturenames:
        host = metafunc.config.getoption("host")
        one = metafunc.definition.get_closest_marker("one_loop")
        backends = [host + metafunc.config.getoption("mount")] if host else list(one.args if one else LOOPS)
        if not host and metafunc.definition.get_closest_marker("hosted_too"):
            backends.append("uvicorn-httptools/prefix")
        metafunc.parametrize("backend", backends, indirect=True, scope="package")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.interop)
            if isinstance(item, pytest.Function) and hasattr(item, "callspec"):  # `-n 4 --dist loadgroup`: side by side
                family = "newer" if item.path.stem.startswith(NEWER) else "classic"
                item.add_marker(pytest.mark.xdist_group(f"{item.callspec.params.get('backend')} {family}"))


@pytest.fixture(scope="package")
def backend(request: pytest.FixtureRequest) -> str:
    """An event loop of our own server; or an ASGI host and where the app is on it."""
    host = request.param.partition("/")[0]
    if host in HOSTS:
        for package in (host.partition("-")[0], "starlette"):
            pytest.importorskip(package, reason=f"{package} is not installed")
    elif importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed")
    return str(request.param)


@pytest.fixture(scope="package")
def start_server(backend: str) -> Iterator[StartServer]:
    """Starts one; it ends with the fixture."""
    servers: list[ServerProcess] = []

    def start_server(**options: Any) -> ServerProcess:
        servers.append(ServerProcess(backend, **options))
        return servers[-1]

    yield start_server
    for server in servers:
        server.close()


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
def server(start_server: StartServer, node_modules: Path) -> ServerProcess:
    """With default settings."""
    return start_server()


@pytest.fixture(scope="package")
def impatient_server(start_server: StartServer, server: ServerProcess) -> ServerProcess:
    """With the shortest time-outs there may be, JSONP, and open to pages of `server`."""
    settings = {
        "disconnect_timeout": 6,
        "disconnect_threshold": 0,
        "keep_alive": 2,
        "transport_connect_timeout": 1.5,
        "jsonp": True,
    }
    return start_server(settings=settings, allowed_origins=[server.origin])


@pytest.fixture(scope="package")
def hub_server(start_server: StartServer, node_modules: Path) -> ServerProcess:
    """`servers/hubs.py` with default settings."""
    return start_server(application=HUBS)


@pytest.fixture(scope="package")
def mortal_hub_server(start_server: StartServer, node_modules: Path) -> ServerProcess:
    """With detailed errors; a test may end it and start it again."""
    return start_server(application=HUBS, settings={"detailed_errors": True})


@pytest.fixture(scope="package")
def aspnetcore_server(start_server: StartServer, node_modules: Path) -> ServerProcess:
    """`servers/aspnetcore.py`, with raised limits and stateful reconnect."""
    settings = {"allow_stateful_reconnect": True, "max_message_size": 2_000_000, "ring_messages": 20_000}
    return start_server(application=ASPNETCORE, settings=settings)


@pytest.fixture
def prefixed_server(backend: str, node_modules: Path) -> Iterator[ServerProcess]:
    """`servers/aspnetcore.py` behind a proxy that takes `/prefix` off."""
    settings = {"allow_stateful_reconnect": True, "ring_messages": 20_000, "keep_alive": 2}
    server = ServerProcess(backend, application=ASPNETCORE, settings=settings, root_path="/prefix")
    yield server
    server.close()


@pytest.fixture(scope="package")
def mortal_aspnetcore_server(start_server: StartServer, node_modules: Path) -> ServerProcess:
    """With detailed errors and no stateful reconnect; a test may end it and start it again."""
    return start_server(application=ASPNETCORE, settings={"detailed_errors": True})


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
    """Gives a home to clients of the app at an address: Node.js, or a page of that app."""
    if request.param == "node":
        node = request.getfixturevalue("node")
        before = len(node.errors)
        yield lambda url: node
        node.obey("stopAll", {})
        assert node.errors[before:] == []
    else:
        visit = request.getfixturevalue("visit")
        yield lambda url: visit(f"{url}/aspnetcore.html", kind=ClientPage)


@pytest.fixture(autouse=True)
def no_server_errors(request: pytest.FixtureRequest) -> Iterator[None]:
    """What a server logs as an error fails the test during which it did."""
    names = ("server", "impatient_server", "mortal_server", "hub_server", "mortal_hub_server")
    names += ("aspnetcore_server", "mortal_aspnetcore_server", "prefixed_server")
    servers = [request.getfixturevalue(name) for name in names if name in request.fixturenames]
    for each in servers:
        each.revive()
    marks = [each.mark() for each in servers]
    yield
    for each, mark in zip(servers, marks, strict=True):
        assert each.complaints(mark) == []


@pytest.fixture
def mortal_server(start_server: StartServer, node_modules: Path) -> Iterator[ServerProcess]:
    """For a test that ends it and starts it again. A page with a forever frame sees nothing of that but silence."""
    server = start_server(settings={"keep_alive": 2})
    yield server
    server.close()


@pytest.fixture
def open_page(browser: Browser) -> Iterator[Callable[..., ChatPage]]:
    """Opens the page of an app, by where that is; all are closed when the test is over."""
    pages: list[ChatPage] = []

    def open_page(url: str, **options: str) -> ChatPage:
        pages.append(ChatPage(browser, url, **options))
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
    """Puts a misbehaving proxy before a server."""
    proxies: list[Proxy] = []

    def proxy_to(server: ServerProcess, **options: bool) -> Proxy:
        proxies.append(Proxy(server, **options))
        return proxies[-1]

    yield proxy_to
    for proxy in proxies:
        proxy.close()
