"""jquery.signalR 2.4.3 in Chromium: cut, lost and restarted connections come back, and no loss is silent."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .browser import TRANSPORTS, ChatPage
from .harness import ServerProcess
from .proxy import Proxy

OpenPage = Callable[..., ChatPage]
ProxyTo = Callable[..., Proxy]


@pytest.mark.hosted_too
def test_a_cut_loses_none_of_a_thousand_messages(server: ServerProcess, open_page: OpenPage, transport: str) -> None:
    page = open_page(server.url, transport=transport).start()
    page.send({"do": "join", "group": f"of {page.id}"})
    page.until_received({"joined": f"of {page.id}"})
    page.forget()
    server.order("cut", id=page.id)
    texts = [f"message {number}" for number in range(1000)]
    server.order("send to group", group=f"of {page.id}", texts=texts)
    event = server.wait("reconnected", id=page.id)
    assert (event["recovered"], event["missed"], event["transport"]) == (True, 0, transport)
    page.until_received(texts[-1])
    assert page.received == texts
    assert page.states == ["reconnecting", "connected"]
    page.send("still here")
    page.until_received({"echo": "still here"})
    server.order("send to group", group=f"of {page.id}", texts=["still in the group"])
    page.until_received("still in the group")
    assert len(server.events("reconnected", id=page.id)) == 1
    assert server.events("disconnected", id=page.id) == []


def test_messages_to_one_connection_wait_for_it(server: ServerProcess, open_page: OpenPage, transport: str) -> None:
    page = open_page(server.url, transport=transport).start()
    page.until_received({"welcome": page.id})
    page.forget()
    server.order("cut", id=page.id)
    texts = [f"message {number}" for number in range(200)]
    server.order("send every way", id=page.id, group="lobby", texts=texts)
    page.until_received(texts[-1])
    assert page.received == texts


def test_a_line_that_dies_in_silence_is_replaced_without_loss(
    impatient_server: ServerProcess, open_page: OpenPage, proxy_to: ProxyTo
) -> None:
    proxy = proxy_to(impatient_server)
    monitored = [each for each in TRANSPORTS if each != "longPolling"]  # a poll's client waits 120 s before it doubts
    pages = [open_page(proxy.url, transport=each).start() for each in monitored]
    for page in pages:
        page.until_received({"welcome": page.id})
        page.forget()
    proxy.go_dead()
    texts = [f"message {number}" for number in range(100)]
    impatient_server.order("broadcast", texts=texts)
    for page in pages:
        event = impatient_server.wait("reconnected", id=page.id)
        assert (event["recovered"], event["missed"]) == (True, 0), page.transport
    for page in pages:
        page.until_received(texts[-1])
        assert page.received == texts, page.transport
        page.until_state("connected")


@pytest.mark.own_server("ASGI has no WebSocket pings, and without them nothing tells of a dead line")
def test_a_page_that_vanishes_in_silence_is_timed_out(
    impatient_server: ServerProcess, open_page: OpenPage, proxy_to: ProxyTo
) -> None:
    proxy = proxy_to(impatient_server)
    silent = open_page(proxy.url, transport="webSockets").start()
    silent.until_received({"welcome": silent.id})
    proxy.go_dead()  # here nothing tells the server but its pings, which nobody answers
    silent.crash()
    impatient_server.wait("disconnected", id=silent.id, reason="timed_out", within=30)
    assert len(impatient_server.events("disconnected", id=silent.id)) == 1


def test_pages_that_vanish_are_timed_out(impatient_server: ServerProcess, open_page: OpenPage) -> None:
    pages = [open_page(impatient_server.url, transport=each).start() for each in TRANSPORTS]
    for page in pages:
        page.until_received({"welcome": page.id})
    for page in pages:
        page.crash()
    for page in pages:
        impatient_server.wait("disconnected", id=page.id, reason="timed_out", within=30)
        assert len(impatient_server.events("disconnected", id=page.id)) == 1


def _pages_in_a_group(server: ServerProcess, open_page: OpenPage) -> list[ChatPage]:
    pages = [open_page(server.url, transport=each).start() for each in TRANSPORTS]
    for page in pages:
        page.send({"do": "join", "group": "survivors"})
        page.until_received({"joined": "survivors"})
        server.order("send", id=page.id, texts=["before"])
        page.until_received("before")
        page.forget()
    return pages


def _all_are_back(server: ServerProcess, pages: list[ChatPage], since: int) -> None:
    """Everybody came back by itself, was told apart from those who lost nothing, and gets what is sent from now on."""
    for page in pages:
        event = server.wait("reconnected", id=page.id, since=since, within=25)
        assert (event["recovered"], event["missed"]) == (False, None), page.transport
        page.until_state("connected")
    server.order("send to group", group="survivors", texts=["to survivors"])
    server.order("broadcast", texts=["to all"])
    for page in pages:
        server.order("send", id=page.id, texts=["to one"])
        page.send("from the page")
        page.until_received({"echo": "from the page"})
        assert page.received == ["to survivors", "to all", "to one", {"echo": "from the page"}], page.transport
        page.until_state("connected")
        assert page.states[0] == "reconnecting", page.transport
        if page.transport != "foreverFrame":  # each beat of its client that finds the line silent loads the frame anew
            assert len(server.events("reconnected", id=page.id, since=since)) == 1, page.transport
        assert server.events("connected", id=page.id, since=since) == [], page.transport
        page.stop()
        server.wait("disconnected", id=page.id, reason="closed", since=since)


def test_pages_survive_a_killed_server(mortal_server: ServerProcess, open_page: OpenPage) -> None:
    pages = _pages_in_a_group(mortal_server, open_page)
    mortal_server.kill()
    since = mortal_server.mark()
    mortal_server.start()
    _all_are_back(mortal_server, pages, since)


def test_pages_move_over_when_the_server_is_asked_to_end(mortal_server: ServerProcess, open_page: OpenPage) -> None:
    pages = _pages_in_a_group(mortal_server, open_page)
    mortal_server.terminate()
    for page in pages if mortal_server.tells else ():
        reasons = [event["reason"] for event in mortal_server.events("disconnected", id=page.id)]
        assert reasons == ["shutdown"], page.transport
    since = mortal_server.mark()
    mortal_server.start()
    _all_are_back(mortal_server, pages, since)
