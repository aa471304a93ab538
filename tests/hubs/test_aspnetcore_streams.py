"""Streams both ways, and results of clients: what ASP.NET Core clients say, and what they read."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator
from typing import Any

import anyio
import pytest

from persistconn import ConnectionClosed, PersistconnError
from persistconn.hubs import Hub, HubError

from .aspnetcore_line import JSON, MESSAGEPACK, Client, open_house, settle
from .test_aspnetcore_calls import FAILED, LOG, WRONG, Item, gate, open_gate
from .test_aspnetcore_calls import from_zero as from_zero

BOTH = pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=["json", "messagepack"])


class Flow(Hub):
    async def count(self, upto: int) -> AsyncIterator[int]:
        for number in range(upto):
            yield number

    async def made(self, upto: int) -> AsyncIterator[int]:
        return self.count(upto)

    def made_in_a_thread(self, upto: int) -> AsyncIterator[int]:
        return self.count(upto)

    async def no_stream(self) -> AsyncIterator[int]:
        return None  # type: ignore[return-value]

    async def forever(self) -> AsyncIterator[int]:
        try:
            for number in range(1_000_000):
                yield number
                await gate(f"after {number}")
        finally:
            LOG.append("stopped")

    async def breaks(self, at: int, how: str) -> AsyncIterator[Any]:
        for number in range(at):
            yield number
        if how == "so":
            raise HubError("out of paper")
        if how == "form":
            yield object()
        raise ValueError("secret")

    async def plain(self) -> int:
        return 1

    async def concat(self, parts: AsyncIterator[str], end: str = "") -> str:
        return "".join([part async for part in parts]) + end

    async def two(self, a: AsyncIterable[int], by: int, b: AsyncIterable[int]) -> list[int]:
        return [number * by async for number in a] + [number async for number in b]

    async def items(self, items: AsyncIterator[Item]) -> list[int]:
        return [item.obj_id async for item in items]

    async def first(self, parts: AsyncIterator[str]) -> str:
        return await anext(parts)

    async def slow(self, parts: AsyncIterator[int]) -> int:
        await gate("slow")
        return sum([part async for part in parts])

    async def doubled(self, numbers: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in numbers:
            yield 2 * number

    async def until_lost(self, parts: AsyncIterator[int]) -> None:
        try:
            async for _ in parts:
                pass
        except BaseException as error:
            LOG.append(type(error).__name__)
            raise


# To the client ----------------------------------------------------------------------------------


@BOTH
async def test_a_stream_is_its_items_and_an_end(protocol: Any) -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client(protocol)
        for target in ("Count", "Made", "MadeInAThread"):
            client.say(client.call(target, 3, id="1", is_stream=True))
            assert await client.hear(4) == [("item", "1", 0), ("item", "1", 1), ("item", "1", 2), ("end", "1")]
        client.say(client.call("Count", 0, id="1", is_stream=True))
        assert await client.hear() == [("end", "1")]


async def test_how_it_is_called_has_to_fit(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        assert await client.ask("Count", 3) == (
            "error",
            "The client attempted to invoke the streaming 'Count' method with a non-streaming invocation.",
        )
        assert await client.ask("Plain", is_stream=True) == (
            "error",
            "The client attempted to invoke the non-streaming 'Plain' method with a streaming invocation.",
        )
        assert await client.ask("NoStream", is_stream=True) == (
            "error",
            "The value returned by the streaming method 'NoStream' is not a ChannelReader<> or IAsyncEnumerable<>.",
        )
        assert await client.ask("Count", "x", is_stream=True) == ("error", WRONG.format("Count"))


BROKEN = "An error occurred on the server while streaming results."


@pytest.mark.parametrize(
    ("how", "first", "later"),
    [
        ("so", FAILED.format("Breaks") + " HubException: out of paper", BROKEN + " HubException: out of paper"),
        ("", FAILED.format("Breaks"), BROKEN),
        ("form", BROKEN, BROKEN),
    ],
)
async def test_a_stream_that_breaks(how: str, first: str, later: str, caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        client.say(client.call("Breaks", 0, how, id="1", is_stream=True))
        assert await client.hear() == [("error", "1", first)]
        client.say(client.call("Breaks", 1, how, id="1", is_stream=True))
        assert await client.hear() == [("item", "1", 0), ("error", "1", later)]


async def test_a_stream_is_cancelled() -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        call = client.call("Forever", id="1", is_stream=True)
        client.say(call, client.call("Plain", id="2"))
        assert await client.hear() == [("result", "2", 1), ("item", "1", 0)]
        client.say(client.call("Plain", id="3"), call)
        in_use = "Invocation ID '1' is already in use."
        assert await client.hear() == [("result", "3", 1), ("error", "1", in_use)]
        client.say(JSON.cancel("1"), JSON.cancel("9"))
        assert await client.hear() == [("end", "1")] and LOG == ["stopped"]
        client.say(JSON.cancel("1"), call, JSON.cancel("1"))  # before it has begun
        assert await client.hear() == [("end", "1")]
        client.say(call)
        await settle()
        client.cut()
        await settle()
        assert LOG == ["stopped", "stopped"]


# From the client --------------------------------------------------------------------------------


@BOTH
async def test_an_upload(protocol: Any) -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client(protocol)
        parts = [client.protocol.stream_item("1", part) for part in ("Hello ", "world", "!")]
        client.say(client.call("Concat", id="2", stream_ids=["1"]), *parts, client.protocol.completion("1"))
        assert await client.hear() == [("result", "2", "Hello world!")]
        client.say(client.call("Concat", "?", id="4", stream_ids=["3"]))
        client.say(client.protocol.stream_item("3", "x"))
        client.say(client.protocol.completion("3", result=5))
        assert await client.hear() == [("result", "4", "x?")]


async def test_two_uploads_come_in_the_order_of_the_parameters() -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        client.say(
            client.call("Two", 10, id="3", stream_ids=["1", "2"]), JSON.stream_item("2", 5), JSON.completion("2")
        )
        client.say(JSON.stream_item("1", 1), JSON.stream_item("1", 2), JSON.completion("1"))
        assert await client.hear() == [("result", "3", [10, 20, 5])]


async def test_an_upload_that_fails_over_there(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        client.say(client.call("Concat", id="2", stream_ids=["1"]), JSON.completion("1", error="Something bad"))
        assert await client.hear() == [("error", "2", FAILED.format("Concat") + " HubException: Something bad")]


async def test_an_item_that_does_not_fit_ends_its_stream_alone() -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        client.say(
            client.call("Items", id="2", stream_ids=["1"]),
            JSON.stream_item("1", {"objId": 1, "objVal": ""}),
            JSON.stream_item("1", "x"),
            JSON.stream_item("1", {"objId": 2, "objVal": ""}),
        )
        text = FAILED.format("Items") + " HubException: Failed to bind Stream message."
        assert await client.hear() == [("error", "2", text)]
        assert await client.ask("Plain") == ("result", 1)


@pytest.mark.parametrize(("target", "given", "wanted"), [("Plain", 1, 0), ("Concat", 0, 1), ("Two", 1, 2)])
async def test_uploads_are_counted(target: str, given: int, wanted: int, caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        arguments = [1] if target == "Two" else []
        answer = await client.ask(target, *arguments, stream_ids=[f"s{number}" for number in range(given)])
        text = f"HubException: Client sent {given} stream(s), Hub method expects {wanted}."
        assert answer == ("error", f"{FAILED.format(target)} {text}")


async def test_what_comes_after_the_method_has_ended_is_dropped() -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        client.say(client.call("First", id="2", stream_ids=["1"]), *[JSON.stream_item("1", "x")] * 40)
        assert await client.hear() == [("result", "2", "x")]
        client.say(*[JSON.stream_item("1", "y")] * 40, JSON.completion("1"), client.call("Plain", id="3"))
        assert await client.hear() == [("result", "3", 1)]


async def test_a_client_that_uploads_faster_than_the_method_reads_is_held_back() -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        items = [JSON.stream_item("1", 1)] * 30
        client.say(
            client.call("Slow", id="2", stream_ids=["1"]), *items, JSON.completion("1"), client.call("Plain", id="3")
        )
        assert await client.hear() == []
        open_gate("slow")
        assert sorted(await client.hear()) == [("result", "2", 30), ("result", "3", 1)]


async def test_streams_both_ways_in_one_call() -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        client.say(client.call("Doubled", id="2", stream_ids=["1"], is_stream=True), JSON.stream_item("1", 4))
        assert await client.hear() == [("item", "2", 8)]
        client.say(JSON.stream_item("1", 5), JSON.completion("1"))
        assert await client.hear() == [("item", "2", 10), ("end", "2")]


async def test_an_upload_ends_with_its_connection() -> None:
    async with open_house(Flow) as rooms:
        client = await rooms.client()
        client.say(client.call("UntilLost", id="2", stream_ids=["1"]))
        await settle()
        client.cut()
        await settle()
        assert len(LOG) == 1


# Results of clients -----------------------------------------------------------------------------


class Asks(Hub):
    async def ask(self, name: str, *arguments: Any) -> Any:
        return await self.clients.caller.invoke(name, *arguments, returns=int)

    async def ask_item(self) -> Item:
        return await self.clients.caller.invoke("item", returns=Item)

    async def ask_in_vain(self) -> str:
        try:
            await self.clients.caller.invoke("name", timeout=0.01)
        except TimeoutError:
            return "timeout"
        return ""

    async def ask_many(self) -> Any:
        return await self.clients.all.invoke("name")

    async def plain(self) -> int:
        return 1


@BOTH
async def test_a_method_asks_its_caller(protocol: Any) -> None:
    async with open_house(Asks) as rooms:
        client = await rooms.client(protocol)
        client.say(client.call("Ask", "name", 5, id="1"))
        assert await client.hear() == [("call", "s1", "name", 5)]
        # the answer is behind the next call, which may begin although there is one place only
        client.say(client.call("Plain", id="2"), client.protocol.completion("s1", result=42))
        assert sorted(await client.hear()) == [("result", "1", 42), ("result", "2", 1)]
        client.say(client.call("AskItem", id="3"))
        assert await client.hear() == [("call", "s2", "item")]
        client.say(client.protocol.completion("s2", result={"objId": 1, "ObjVal": "x"}))
        assert await client.hear() == [("result", "3", {"obj_id": 1, "obj_val": "x"})]


async def test_calls_still_take_turns_after_one_has_asked() -> None:
    async with open_house(Asks, Flow) as rooms:
        client = await rooms.client(path="/hub/asks")
        client.say(client.call("Ask", "a", id="1"), client.call("Ask", "b", id="2"), client.call("Ask", "c", id="3"))
        assert [call[1:] for call in await client.hear()] == [("s1", "a"), ("s2", "b"), ("s3", "c")]
        client.say(*[JSON.completion(f"s{number}", result=number) for number in (3, 1, 2)])
        assert sorted(await client.hear()) == [("result", "1", 1), ("result", "2", 2), ("result", "3", 3)]
        dispatcher: Any = next(iter(rooms.app._connections.values()))
        (talk,) = dispatcher._members.values()
        assert (talk.free, talk.awaited) == (1, {})


async def test_what_a_client_can_get_wrong() -> None:
    async with open_house(Asks) as rooms:
        client = await rooms.client()
        told = FAILED.format("Ask") + " HubException: "

        async def answered(frame: bytes) -> Any:
            client.say(client.call("Ask", "name", id="1"))
            await client.hear()
            client.say(frame)
            return await client.hear()

        assert await answered(JSON.completion("s1", error="no")) == [("error", "1", told + "no")]
        (wrong,) = await answered(JSON.completion("s2", result="x"))
        assert wrong[2].startswith(told + "Error trying to deserialize result to int. ")
        client.say(JSON.completion("s2", result=1), JSON.completion("s9", result=1))  # late, and never asked
        assert await client.hear() == []
        client.say(client.call("AskInVain", id="3"))
        assert await client.hear(2) == [("call", "s3", "name"), ("result", "3", "timeout")]


async def other_asks(client: Client, rooms: Any, **more: Any) -> Any:
    dispatcher: Any = next(iter(rooms.app._connections.values()))
    (id,) = dispatcher._members
    return await rooms.app.clients(Asks).client(id).invoke("name", **more)


async def test_asked_from_outside() -> None:
    async with open_house(Asks) as rooms:
        client = await rooms.client()
        results: list[Any] = []

        async def ask(**more: Any) -> None:
            try:
                results.append(await other_asks(client, rooms, **more))
            except Exception as error:
                results.append(error)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            assert await client.hear() == [("call", "s1", "name")]
            client.say(JSON.completion("s1", result=[1]))
            await settle()
            assert results == [[1]]
            await ask(timeout=0)
            assert isinstance(results[1], TimeoutError)
            tasks.start_soon(ask)
            await settle()
            client.cut()
            await settle()
        assert isinstance(results[2], ConnectionClosed) and "disconnected." in str(results[2])
        with pytest.raises(ConnectionClosed, match=r"Connection 'x' does not exist\."):
            await rooms.app.clients(Asks).client("x").invoke("name")


async def test_who_cannot_be_asked(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Asks, detailed_errors=True) as rooms:
        client = await rooms.client()
        (_, text) = await client.ask("AskMany")
        assert "only one client can be asked" in text
        page = await rooms.page("asks")
        with pytest.raises(PersistconnError, match="clients of the classic wire cannot return any"):
            await rooms.app.clients(Asks).client(page.id).invoke("name")
