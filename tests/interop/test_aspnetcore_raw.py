"""Connections without hubs, and the class of @microsoft/signalr 10 on which its hub connections stand."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from .aspnetcore_clients import Client, Clients
from .harness import ServerProcess

ClientsAt = Callable[[str], Clients]

TEXTS = ["Hello World!", '{"JSON": [1, null]}', "Grüße 😀\u2028\n\nand another line", "\u001e", "x" * 20_000]


@pytest.mark.parametrize("transport", ["webSockets", "webSockets at once", "serverSentEvents", "longPolling"])
@pytest.mark.hosted_too
def test_texts_come_back(aspnetcore_server: ServerProcess, clients_at: ClientsAt, transport: str) -> None:
    server = aspnetcore_server
    client = Client(clients_at(server.url), f"{server.url}/echo", (transport, "none"))
    since = server.mark()
    client.start_raw("Text")
    connected = server.wait("connected", since=since)
    assert (connected["dialect"], connected["transport"]) == ("aspnetcore", client.transport)
    assert client.id == (None if client.at_once else connected["id"])
    for text in TEXTS:
        client.send_raw(text)
        client.until("received", text)
    server.order("echo to all", text="to all")
    client.until("received", "to all")
    assert client.seen == [["received", text] for text in (*TEXTS, "to all")]
    client.forget()
    client.stop()
    assert client.seen == [["closed", None]]
    server.wait("disconnected", id=connected["id"], reason="closed")


@pytest.mark.parametrize("transport", ["webSockets", "longPolling"])
def test_bytes_come_back(aspnetcore_server: ServerProcess, clients_at: ClientsAt, transport: str) -> None:
    server = aspnetcore_server
    client = Client(clients_at(server.url), f"{server.url}/echo?format=binary", (transport, "none"))
    client.start_raw("Binary")
    for data in (b"Hello World!", b"\x00\x80\xff", bytes(range(256)) * 100):
        client.send_raw(data)
        client.until("received", data)
    client.stop()
    server.wait("disconnected", id=client.id, reason="closed")
