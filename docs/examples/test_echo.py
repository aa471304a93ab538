"""Tests of echo.py: no server, no port, and every transport."""

import pytest
from echo import app

from persistconn.testing import Client

pytestmark = pytest.mark.anyio  # on asyncio, and on trio where it is installed


@pytest.mark.parametrize("dialect", ["classic", "aspnetcore"])
@pytest.mark.parametrize("transport", ["webSockets", "serverSentEvents", "longPolling"])
async def test_what_is_sent_comes_back(transport, dialect):
    async with Client(app, "/echo", transport=transport, dialect=dialect) as client:
        await client.send("hi")
        assert await client.receive() == "hi"


@pytest.fixture
async def client():
    async with Client(app, "/echo") as client:
        yield client


async def test_nothing_is_lost_while_the_line_is_cut(client):
    await client.send({"number": 1})
    client.cut()
    assert await client.reconnect()  # as the same client, and nothing was lost
    assert await client.receive() == {"number": 1}


def test_the_same_without_an_event_loop():
    with Client(app, "/echo") as client:
        client.send("hi")
        assert client.receive() == "hi"
