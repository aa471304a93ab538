"""What goes on beside a call that waits, who may answer for whom, and what a polling client's request is."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from persistconn import App
from persistconn.hubs import Hub

from .aspnetcore_line import JSON, open_house
from .page import Line, house, http, settle
from .test_aspnetcore_calls import LOG, gate, open_gate
from .test_aspnetcore_calls import from_zero as from_zero


class Desk(Hub):
    async def wait(self) -> str:
        await gate("wait")
        return "over"

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def forever(self) -> AsyncIterator[int]:
        try:
            yield 0
            await gate("next")
            yield 1
            LOG.append("asked for more")
        finally:
            LOG.append("stopped")

    async def ask(self) -> str:
        return str(await self.clients.caller.invoke("name", returns=str))

    async def wish(self) -> list[Any]:
        request = self.context.request
        return [request.query.get("colour"), request.headers.get("x-wish"), self.context.user, self.context.transport]


async def test_pings_cancellations_and_uploads_pass_a_call_that_waits() -> None:
    async with open_house(Desk) as rooms:
        client = await rooms.client()
        client.say(client.call("Forever", id="1", is_stream=True), client.call("Total", id="3", stream_ids=["2"]))
        client.say(client.call("Wait", id="4"))
        assert await client.hear() == [("item", "1", 0)]
        client.say(*[JSON.stream_item("2", number) for number in range(20)], JSON.ping(), JSON.cancel("1"))
        client.say(JSON.completion("2"), client.call("Wait", id="5"))
        assert sorted(await client.hear()) == [("end", "1"), ("result", "3", sum(range(20)))]
        assert LOG == ["stopped"]
        open_gate("wait")
        assert await client.hear() == [("result", "4", "over"), ("result", "5", "over")]


@pytest.mark.parametrize("first", ["it goes", "the item comes"])
async def test_a_reader_that_goes_while_an_item_comes_is_no_error(first: str, caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Desk) as rooms:
        client = await rooms.client()
        client.say(client.call("Forever", id="1", is_stream=True))
        assert await client.hear() == [("item", "1", 0)]
        if first == "it goes":
            client.cut()
        open_gate("next")
        client.cut()
        await settle()
        assert LOG == ["stopped"]
    assert [record.getMessage() for record in caplog.records if record.name == "persistconn.hubs"] == []


async def test_nobody_answers_for_another() -> None:
    async with open_house(Desk) as rooms:
        ann, eve = await rooms.client(), await rooms.client()
        ann.say(ann.call("Ask", id="1"))
        ((_, id, _),) = await ann.hear()
        eve.say(JSON.completion(id, result="Eve"))
        assert await ann.hear() == [] == await eve.hear()
        ann.say(JSON.completion(id, result="Ann"))
        assert await ann.hear() == [("result", "1", "Ann")]


async def test_a_polling_clients_query_headers_and_user_are_there_in_every_call() -> None:
    async def user(request: Any) -> str | None:
        name: str | None = request.token
        return name

    app = App(secret_keys=["a key for the tests"], authenticate=user)
    app.add_hubs("/hub", Desk)
    headers = ("X-Wish: a pony", "Authorization: Bearer ann")
    async with house(app) as home:

        async def ask(target: str, method: str = "GET", body: bytes = b"") -> bytes:
            line = Line(home.state)
            line.data_received(http(target, *headers, method=method, body=body))
            await settle()
            return line.take().partition(b"\r\n\r\n")[2]

        token = json.loads(await ask("/hub/negotiate?colour=red", "POST"))["connectionId"]
        path = f"/hub?colour=red&id={token}"
        assert await ask(path) == b""
        await ask(path, "POST", b'{"protocol":"json","version":1}\x1e')
        assert await ask(path) == b"{}\x1e"
        for number in ("1", "2"):
            await ask(path, "POST", JSON.invocation("wish", (), number))
            answer = json.loads((await ask(path)).rstrip(b"\x1e"))
            assert answer["result"] == ["red", "a pony", "ann", "longPolling"]
