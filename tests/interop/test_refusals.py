"""jquery.signalR 2.4.3 in Chromium where something is in the way: proxies, other origins, JSONP."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.error import HTTPError
from urllib.parse import quote
from urllib.request import Request, urlopen

import pytest

from .browser import ChatPage
from .harness import ServerProcess
from .proxy import Proxy

PlaywrightError = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").Error

OpenPage = Callable[..., ChatPage]
ProxyTo = Callable[..., Proxy]
CROSS_ORIGIN_TRANSPORTS = ("webSockets", "serverSentEvents", "longPolling")


def test_falls_back_to_event_streams_where_websockets_are_refused(
    impatient_server: ServerProcess, open_page: OpenPage, proxy_to: ProxyTo
) -> None:
    proxy = proxy_to(impatient_server, refuse_upgrades=True)
    page = open_page(proxy.url).start(transport="auto")
    assert (page.transport, proxy.refused) == ("serverSentEvents", 1)
    page.send("through")
    page.until_received({"echo": "through"})
    impatient_server.catch_up()
    assert len(impatient_server.events("connected", id=page.id)) == 1


def test_falls_back_to_long_polling_where_streams_are_held_back_too(
    impatient_server: ServerProcess, open_page: OpenPage, proxy_to: ProxyTo
) -> None:
    proxy = proxy_to(impatient_server, refuse_upgrades=True, hold_event_streams=True)
    page = open_page(proxy.url).start(transport="auto")
    assert page.transport == "longPolling"
    page.send("through")
    page.until_received({"echo": "through"})
    page.stop()
    impatient_server.wait("disconnected", id=page.id, reason="closed")
    assert page.received == [{"welcome": page.id}, {"echo": "through"}]
    assert len(impatient_server.events("connected", id=page.id)) == 1
    assert impatient_server.events("reconnected", id=page.id) == []


@pytest.mark.parametrize("transport", CROSS_ORIGIN_TRANSPORTS)
def test_a_page_of_an_allowed_origin_connects_with_its_cookies(
    server: ServerProcess, impatient_server: ServerProcess, open_page: OpenPage, transport: str
) -> None:
    page = open_page(server.url, transport=transport, cookie="who=ann")
    page.start(f"{impatient_server.url}/chat")
    assert impatient_server.wait("connected", id=page.id)["cookie"] == "who=ann"
    page.send("from afar")
    page.until_received({"echo": "from afar"})
    impatient_server.order("cut", id=page.id)
    impatient_server.wait("reconnected", id=page.id)
    page.until_state("connected")  # before that the client drops what it is told to send
    page.send("again")
    page.until_received({"echo": "again"})
    page.stop()
    impatient_server.wait("disconnected", id=page.id, reason="closed")


@pytest.mark.parametrize("transport", CROSS_ORIGIN_TRANSPORTS)
def test_a_page_of_a_foreign_origin_is_refused(
    impatient_server: ServerProcess, server: ServerProcess, open_page: OpenPage, transport: str
) -> None:
    page = open_page(impatient_server.url, transport=transport)
    with pytest.raises(PlaywrightError, match="negotiation"):
        page.start(f"{server.url}/chat")


def test_a_foreign_page_that_has_a_token_gets_no_websocket(server: ServerProcess, open_page: OpenPage) -> None:
    with urlopen(f"{server.url}/chat/negotiate?clientProtocol=2.1") as answer:
        token = quote(json.load(answer)["ConnectionToken"])
    query = f"transport=webSockets&clientProtocol=2.1&connectionToken={token}"
    target = f"{server.url.replace('http', 'ws', 1)}/chat/connect?{query}"
    foreign = open_page(server.url.replace("127.0.0.1", "localhost"))
    assert foreign.page.evaluate("tryWebSocket", target) == "refused"
    own = open_page(server.url)
    assert own.page.evaluate("tryWebSocket", target) == "open"


def test_jsonp_is_refused_unless_it_is_switched_on(server: ServerProcess, open_page: OpenPage) -> None:
    with pytest.raises(HTTPError, match="403") as refusal:
        urlopen(Request(f"{server.url}/chat/negotiate?clientProtocol=2.1&callback=take"))
    refusal.value.close()
    page = open_page(server.url)
    with pytest.raises(PlaywrightError, match="negotiation"):
        page.start(transport="longPolling", jsonp=True)


def test_jsonp_works_where_it_is_switched_on(impatient_server: ServerProcess, open_page: OpenPage) -> None:
    page = open_page(impatient_server.url).start(transport="longPolling", jsonp=True)
    page.send("as a script")
    page.until_received({"echo": "as a script"})
    assert page.received == [{"welcome": page.id}, {"echo": "as a script"}]
