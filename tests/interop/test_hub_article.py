"""The pages of an article of SignalR's first days, on the unmodified client of today, in Chromium."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .browser import TRANSPORTS, BrowserPage
from .harness import ServerProcess

Visit = Callable[..., BrowserPage]


@pytest.fixture(params=[each for each in TRANSPORTS if each != "foreverFrame"])
def transport(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.hosted_too
def test_in_its_order(hub_server: ServerProcess, visit: Visit, transport: str) -> None:
    # An empty hub: the two scripts of the client, the generated one, and a start.
    empty = visit(f"{hub_server.url}/empty.html", kind=BrowserPage)
    connected = empty.run(
        "transport => $.connection.hub.start(transport).then(() => [$.connection.hub.state, $.connection.hub.id])",
        None if transport == "webSockets" else {"transport": transport},  # which nobody needs to ask for
    )
    assert connected[0] == 1
    assert connected[1] != ""
    assert empty.run("() => $.connection.hub.transport.name") == transport
    assert empty.run("() => Object.keys($.connection.empty.server)") == []
    empty.run("() => { $.connection.hub.stop(); }")

    # Calls of the server, by two pages one after the other; calls of the pages, by methods of the hub.
    since = hub_server.mark()
    pages = []
    for _ in range(2):
        page = visit(f"{hub_server.url}/article.html?{transport}", kind=BrowserPage)
        page.until("() => seen.finished || seen.failed")
        pages.append(page)
    ids = [page.run("() => $.connection.hub.id") for page in pages]
    hub_server.catch_up()
    assert [event["transport"] for event in hub_server.events("connected", hub="MyHub", since=since)] == [transport] * 2
    for page in pages:
        page.until("() => seen.lists.length === 1 && seen.alerts.length > 0")
        assert page.run("() => seen.failed") is None
        assert page.run("() => seen.done") == [
            ["void", True],
            ["increment", 2],
            ["item", {"obj_id": 2, "obj_val": "GRÖSSER"}],
        ]
        assert page.run("() => seen.lists") == [["1=a", "2=b"]]
    assert [(event["n"], event["text"]) for event in hub_server.events("void function", since=since)] == [
        (1, "a string")
    ] * 2
    assert [event["item"] for event in hub_server.events("item", since=since)] == [
        "Item(obj_id=1, obj_val='größer')"
    ] * 2

    # What the class keeps stays, what an instance keeps does not.
    counts = [count for page in pages for count in page.run("() => seen.counts")]
    first = counts[0]["static"]
    assert counts == [{"static": first + number, "instance": 1} for number in range(4)]

    # From outside: another task, a plain thread.
    hub_server.order("alert from a task", text="external test, from a task")
    for page in pages:
        page.until("() => seen.alerts.indexOf('external test, from a task') >= 0")
    hub_server.order("alert from a thread", text="external test")
    external = ["external test, from a task", "external test"]
    for page in pages:
        page.until("() => seen.alerts.indexOf('external test') >= 0")
    assert pages[0].run("() => seen.alerts") == [f"from {ids[0]}", f"from {ids[1]}", *external]
    assert pages[1].run("() => seen.alerts") == [f"from {ids[1]}", *external]
