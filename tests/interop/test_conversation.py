"""jquery.signalR 2.4.3 in Chromium, on each transport: start, talk both ways, groups, order, stop."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .browser import ChatPage
from .harness import ServerProcess

OpenPage = Callable[..., ChatPage]


def test_starts_on_the_transport_it_is_told_and_is_welcomed(
    server: ServerProcess, open_page: OpenPage, transport: str
) -> None:
    page = open_page(server.url, transport=transport, cookie="who=ann").start(query="name=caf%C3%A9+noir")
    event = server.wait("connected", id=page.id)
    assert (event["transport"], event["cookie"], event["name"]) == (transport, "who=ann", "café noir")
    page.until_received({"welcome": page.id})
    assert page.received == [{"welcome": page.id}]
    assert page.states == ["connecting", "connected"]


VALUES = {
    "a word": "hello",
    "nothing but space": " ",
    "what forms and frames quote": "a+b & c=d%20 \"e\" 'f' \\ <script>alert(1)</script> \n\t\x00 |",
    "a number": 42,
    "a fraction": -0.125,
    "the largest safe integer": 2**53 - 1,
    "true": True,
    "a list": [1, "two", [3.5, None, False], {}],
    "an object": {"name": "ann", "nested": {"list": [1, 2, 3], "null": None}, "": "empty key"},
    "Unicode": "Grüße, Ελλάδα, 日本語, \u2028\u2029, שלום",
    "beyond the basic plane": "😀 𝒳 👩‍👩‍👧 \U0010ffff",
    "an object in Unicode": {"ключ": "значение 😀"},
    "60 KB": "0123456789abcde\n" * 3840,
    "60 KB that forms must escape": '<é&+"%😀>-' * 4726,
}


def test_each_value_comes_back_as_it_went(server: ServerProcess, open_page: OpenPage, transport: str) -> None:
    page = open_page(server.url, transport=transport).start()
    page.until_received({"welcome": page.id})  # a frame's script may run after the answer to its start
    for name, value in VALUES.items():
        page.forget()
        page.send(value)
        page.until("() => seen.received.length > 0")
        assert page.received == [{"echo": value}], name


def test_a_large_message_arrives_whole(server: ServerProcess, open_page: OpenPage, transport: str) -> None:
    page = open_page(server.url, transport=transport).start()
    text = "a longer text 😀 " * 20_000
    server.order("send", id=page.id, texts=[text])
    page.until("size => seen.received.some(each => each.length === size)", len(text.encode("utf-16-le")) // 2)
    assert page.received[-1] == text


def test_a_broadcast_reaches_all_but_the_excluded(server: ServerProcess, open_page: OpenPage, transport: str) -> None:
    page = open_page(server.url, transport=transport).start()
    other = open_page(server.url, transport="webSockets").start()
    server.order("broadcast", texts=["not for you"], exclude=[page.id])
    server.order("broadcast", texts=["for both"])
    for each in (page, other):
        each.until_received("for both")
    assert page.received == [{"welcome": page.id}, "for both"]
    assert other.received == [{"welcome": other.id}, "not for you", "for both"]


def test_two_pages_chat(server: ServerProcess, open_page: OpenPage, transport: str) -> None:
    ann = open_page(server.url, transport=transport).start()
    bob = open_page(server.url, transport=transport).start()
    ann.send({"do": "say to others", "text": "I am Ann"})
    bob.until_received("I am Ann")
    bob.send({"do": "say to others", "text": "and I am Bob"})
    ann.until_received("and I am Bob")
    ann.send({"do": "say to group", "group": "lobby", "text": "hello all"})
    ann.until_received("hello all")
    bob.until_received("hello all")
    assert ann.received == [{"welcome": ann.id}, "and I am Bob", "hello all"]
    assert bob.received == [{"welcome": bob.id}, "I am Ann", "hello all"]


@pytest.mark.parametrize("group", ["plain", "rosé & rock/+ [1], $?@:;= \"'\\|\U0001f600"])
def test_group_messages_come_between_join_and_leave_only(
    server: ServerProcess, open_page: OpenPage, transport: str, group: str
) -> None:
    page = open_page(server.url, transport=transport).start()
    page.until_received({"welcome": page.id})
    server.order("send to group", group=group, texts=["too early"])
    page.send({"do": "join", "group": group})
    page.until_received({"joined": group})
    page.send({"do": "join", "group": group})
    page.until("() => seen.received.length === 3")
    server.order("send to group", group=group, texts=["for members"])
    page.until_received("for members")
    page.send({"do": "leave", "group": group})
    page.until_received({"left": group})
    server.order("send to group", group=group, texts=["too late"])
    server.order("join", id=page.id, group=group)
    server.order("send to group", group=group, texts=["member again"])
    page.until_received("member again")
    assert page.received == [
        {"welcome": page.id},
        {"joined": group},
        {"joined": group},
        "for members",
        {"left": group},
        "member again",
    ]


def test_messages_sent_every_way_arrive_in_the_order_of_sending(
    server: ServerProcess, open_page: OpenPage, transport: str
) -> None:
    page = open_page(server.url, transport=transport).start()
    texts = [f"message {number}" for number in range(600)]
    server.order("send every way", id=page.id, group="lobby", texts=texts)
    page.until_received(texts[-1])
    assert page.received == [{"welcome": page.id}, *texts]


def test_what_a_page_sends_is_received_and_answered_once(
    server: ServerProcess, open_page: OpenPage, transport: str
) -> None:
    page = open_page(server.url, transport=transport).start()
    page.until_received({"welcome": page.id})
    page.page.evaluate("() => { for (var i = 0; i < 60; i++) connection.send('text ' + i); }")
    page.until("() => seen.received.length > 60")
    texts = [f"text {number}" for number in range(60)]
    server.catch_up()
    received = [event["data"] for event in server.events("received", id=page.id)]
    echoes = [each["echo"] for each in page.received[1:]]
    assert echoes == received
    if transport == "webSockets":
        assert received == texts
    else:  # this client posts side by side, so the order on the way is the browser's
        assert sorted(received) == sorted(texts)


def test_stop_is_told_as_closed(server: ServerProcess, open_page: OpenPage, transport: str) -> None:
    page = open_page(server.url, transport=transport).start()
    page.until_received({"welcome": page.id})
    page.stop()
    server.wait("disconnected", id=page.id, reason="closed", within=5)
    assert page.states[-1] == "disconnected"
    page.forget()
    first = page.id
    page.start()
    page.until_received({"welcome": page.id})
    assert page.id != first
    assert [event["reason"] for event in server.events("disconnected", id=first)] == ["closed"]
    assert len(server.events("connected", id=first)) == 1


def test_a_connection_the_server_closes_for_good_stays_closed(
    server: ServerProcess, open_page: OpenPage, transport: str
) -> None:
    page = open_page(server.url, transport=transport).start()
    page.until_received({"welcome": page.id})
    server.order("close", id=page.id)
    server.wait("disconnected", id=page.id, reason="aborted")
    page.until_state("disconnected")
    assert page.states == ["connecting", "connected", "disconnected"]
