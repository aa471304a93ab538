"""Tests of hub_ask.py and hub_streams.py, with the fixture that comes with persistconn."""

import pytest
from hub_ask import app as doors
from hub_streams import app as scales

from persistconn.hubs import HubError

pytestmark = pytest.mark.anyio


async def test_somebody_is_at_the_door(persistconn_client):
    ann = await persistconn_client(doors, "/doors", dialect="aspnetcore")
    bob = await persistconn_client(doors, "/doors", dialect="aspnetcore")
    assert await bob.invoke("ring", ann.id) == "the bell is broken: Client didn't provide a result."
    ann.on("ring", lambda who: who == bob.id)
    assert await bob.invoke("ring", ann.id) == "come in"
    assert await ann.called("ring") == [bob.id]


async def test_the_scales(persistconn_client):
    async def weights():
        for weight in (1.0, 2.0, 6.0):
            yield weight

    client = await persistconn_client(scales, "/scales", dialect="aspnetcore")
    assert [number async for number in client.stream("countDown", 3)] == [3, 2, 1]
    assert await client.invoke("record", "kitchen", weights(), returns=float) == 9.0
    assert [mean async for mean in client.stream("smooth", weights(), 2)] == [1.0, 1.5, 4.0]
    with pytest.raises(HubError, match=r"At most from 100 on\."):
        await anext(client.stream("countDown", 101))
