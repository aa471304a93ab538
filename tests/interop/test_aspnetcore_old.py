"""@aspnet/signalr 1.1, the client of ASP.NET Core 2, in Node: without streams from it, results of it, or reconnects."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from .aspnetcore_clients import WAYS, Client, NodeProcess, Way
from .harness import ServerProcess


@pytest.fixture(params=WAYS, ids=", ".join)
def client(request: pytest.FixtureRequest, aspnetcore_server: ServerProcess, node: NodeProcess) -> Iterator[Client]:
    way: Way = request.param
    before = len(node.errors)
    yield Client(node, f"{aspnetcore_server.url}/signalr", way, package="@aspnet/signalr")
    node.obey("stopAll", {})
    assert node.errors[before:] == []


@pytest.mark.hosted_too
def test_a_conversation(aspnetcore_server: ServerProcess, client: Client) -> None:
    server = aspnetcore_server
    client.start(token="ann", listen=("hear", "welcome"))
    me = client.until("heard", "welcome")[2]
    assert client.call("whoAmI") == {"value": [me, "ann", client.transport, "aspnetcore"]}
    values: list[Any] = ["Grüße 😀", [1, -0.5, True, None], {"key": {"": [{}]}}]
    for value in values:
        assert client.call("echo", value) == {"value": value}
    assert client.call("note", "nothing comes of this") == {"value": None}
    for number in range(20):  # one after the other: its POSTs overtake each other
        client.call("note", str(number))
    assert client.call("notes") == {"value": ["nothing comes of this", *map(str, range(20))]}
    error = "An unexpected error occurred invoking 'fail' on the server. HubException: no such room"
    assert client.call("fail", "no such room") == {"error": error}

    client.forget()
    assert client.call("join", "a room") == {"value": None}
    server.order("say", to="group", who=["a room"], texts=[str(number) for number in range(100)])
    assert client.call("say", "user", ["ann"], "to the user") == {"value": None}
    client.until_heard("to the user")
    assert client.texts() == [*map(str, range(100)), "to the user"]

    client.stream("numbers", "count", 30)
    client.until("complete", "numbers")
    assert client.items("numbers") == list(range(30))
    if client.protocol == "json":  # in MessagePack it cannot write a cancel
        client.stream("endless", "beginToCount", f"stream of {me}")
        client.until("item", "endless", 2)
        client.cancel("endless")
        server.wait("stream over", name=f"stream of {me}")

    client.stop()
    client.until("closed", None)
    server.wait("disconnected", id=me, reason="closed")
