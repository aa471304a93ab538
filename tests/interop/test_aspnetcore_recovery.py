"""@microsoft/signalr 10 in Node and in Chromium: cuts, restarts, and messages that are too large."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .aspnetcore_clients import Client, Clients, NodeProcess, Way
from .harness import ServerProcess
from .proxy import Proxy

ClientsAt = Callable[[str], Clients]
ProxyTo = Callable[..., Proxy]

MEGABYTE = 1_000_000
AT_ONCE_AND_THEN = [0, *[0.2] * 100]
"""Delays of a client that does not give up before the server is back."""
TRANSPORTS = ("webSockets", "serverSentEvents", "longPolling")


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
def test_a_cut_loses_none_of_a_thousand_messages(
    aspnetcore_server: ServerProcess, clients_at: ClientsAt, proxy_to: ProxyTo, protocol: str
) -> None:
    server = aspnetcore_server
    proxy = proxy_to(server)
    client = Client(clients_at(proxy.url), f"{proxy.url}/signalr", ("webSockets", protocol))
    client.start(stateful=True, reconnect=[0])
    room, gate = f"room of {client.id}", f"gate of {client.id}"
    assert client.call("join", room) == {"value": None}
    client.stream("endless", "beginToCount", f"stream of {client.id}")
    client.until("item", "endless", 2)

    for cut in (1, 2):  # what was acknowledged after the first is not sent again after the second
        client.forget()
        client.begin("pending", "waitFor", f"{gate} {cut}", "late")
        server.wait("waiting", gate=f"{gate} {cut}")
        since = server.mark()
        proxy.hold()
        proxy.cut()
        texts = [f"{cut}: {number}" for number in range(1000)]
        server.order("say", to="group", who=[room], texts=texts)
        client.send_each("note", texts)
        proxy.let_through()
        assert server.wait("reconnected", id=client.id, since=since)["recovered"] is True
        server.order("open", gate=f"{gate} {cut}")  # until then nothing behind that call is read, not even an Ack
        assert client.until_outcome("pending") == {"value": "late"}
        client.until_heard(texts[-1])
        assert client.texts() == texts
    assert client.call("notes") == {"value": [f"{cut}: {number}" for cut in (1, 2) for number in range(1000)]}
    assert client.moments() == [], "the client itself has noticed nothing"
    server.catch_up()
    assert len(server.events("reconnected", id=client.id)) == 2
    assert server.events("disconnected", id=client.id) == server.events("stream over", name=f"stream of {client.id}")
    client.stop()
    server.wait("stream over", name=f"stream of {client.id}")
    server.wait("disconnected", id=client.id, reason="closed", within=5)


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_a_client_comes_back_as_a_new_connection(
    aspnetcore_server: ServerProcess, clients_at: ClientsAt, proxy_to: ProxyTo, transport: str
) -> None:
    server = aspnetcore_server
    proxy = proxy_to(server)
    client = Client(clients_at(proxy.url), f"{proxy.url}/signalr", (transport, "json"))
    client.start(reconnect=AT_ONCE_AND_THEN, token="ann")
    assert client.call("join", "a room") == {"value": None}
    if transport == "longPolling":  # a poll that is cut Chromium repeats by itself, and nothing has happened
        server.order("drop", id=client.id)
    else:
        proxy.cut()
    (_, new) = client.until("reconnected")
    assert new not in (client.id, None)
    assert [event[0] for event in client.moments()] == ["reconnecting", "reconnected"]
    server.wait("disconnected", id=client.id)
    assert client.call("whoAmI") == {"value": [new, "ann", transport, "aspnetcore"]}
    server.order("say", to="group", who=["a room"], texts=["of which it is no member any more"])
    server.order("say", to="user", who=["ann"], texts=["to the same user"])
    client.until_heard("to the same user")
    assert client.texts() == ["to the same user"]
    client.stop()
    server.wait("disconnected", id=new, reason="closed")


def test_clients_survive_restarts_of_the_server(mortal_aspnetcore_server: ServerProcess, clients_at: ClientsAt) -> None:
    server = mortal_aspnetcore_server
    at = clients_at(server.url)
    clients = [Client(at, f"{server.url}/signalr", (transport, "json")) for transport in TRANSPORTS]
    for client in clients:
        client.start(reconnect=AT_ONCE_AND_THEN)
    for end in ("killed", "asked to end"):
        if end == "killed":
            server.kill()
        else:
            server.terminate()
            for client in clients if server.tells else ():
                assert [event["reason"] for event in server.events("disconnected", id=client.id)] == ["shutdown"]
        server.start()
        for client in clients:
            client.id = client.until("reconnected")[1]
            assert [event[0] for event in client.moments()] == ["reconnecting", "reconnected"], (client.way, end)
            assert client.call("whoAmI") == {"value": [client.id, None, client.transport, "aspnetcore"]}
            client.forget()
    for client in clients:
        client.stop()
        server.wait("disconnected", id=client.id, reason="closed")


LARGE: tuple[Way, ...] = (
    ("webSockets", "json"),
    ("webSockets", "messagepack"),
    ("longPolling", "messagepack"),
    ("serverSentEvents", "json"),
)


def test_large_messages(aspnetcore_server: ServerProcess, clients_at: ClientsAt) -> None:
    server = aspnetcore_server
    at = clients_at(server.url)
    for way in LARGE[::2] if isinstance(at, NodeProcess) else LARGE[1::2]:  # it takes long: half of it in each
        client = Client(at, f"{server.url}/signalr", way).start()
        large = "größer 😀 " * (MEGABYTE // 15)
        assert len(large.encode()) > 0.9 * MEGABYTE
        assert client.call("echo", large) == {"value": large}
        server.order("say", to="client", who=[client.call("whoAmI")["value"][0]], texts=[large])
        client.until_heard(large)
        client.stop()


def test_messages_that_are_too_large(mortal_aspnetcore_server: ServerProcess, clients_at: ClientsAt) -> None:
    server = mortal_aspnetcore_server
    at = clients_at(server.url)
    refusal = "The maximum message size of 65536B was exceeded."
    for way in LARGE:
        client = Client(at, f"{server.url}/signalr", way).start()
        assert client.call("length", "x" * 60_000) == {"value": 60_000}
        client.begin("too large", "length", "x" * 70_000)
        (_, error) = client.until("closed")
        assert refusal in error, way
        assert refusal in client.until_outcome("too large")["error"], way
        server.wait("disconnected", id=client.id)
