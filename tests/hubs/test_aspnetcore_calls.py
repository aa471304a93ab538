"""Calls of ASP.NET Core clients: what they say, and what they read, in both formats."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import anyio
import pytest

from persistconn import DisconnectReason
from persistconn.hubs import Hub, HubError, Progress, authorize

from .aspnetcore_line import JSON, MESSAGEPACK, open_house, settle

GATES: dict[str, anyio.Event] = {}
LOG: list[Any] = []


@pytest.fixture(autouse=True)
def from_zero() -> None:
    GATES.clear()
    LOG.clear()


async def gate(name: str) -> None:
    await GATES.setdefault(name, anyio.Event()).wait()


def open_gate(name: str) -> None:
    GATES.setdefault(name, anyio.Event()).set()


@dataclass
class Item:
    obj_id: int
    obj_val: str


class Chat(Hub):
    async def add(self, a: int, b: int = 1) -> int:
        return a + b

    async def nothing(self) -> None: ...

    async def echo(self, value: Any) -> Any:
        return value

    async def echo_item(self, item: Item) -> Item:
        return item

    def plain(self, a: int) -> int:
        return a + 1

    async def fail(self, text: str) -> None:
        raise ValueError(text)

    async def fail_so(self, text: str) -> None:
        raise HubError(text)

    async def shapeless(self) -> Any:
        return object()

    async def half(self) -> None:
        raise HubError("half a pair \ud800")

    @authorize
    async def secret(self) -> None: ...

    async def wait(self, name: str) -> str:
        LOG.append(f"begun {name}")
        try:
            await gate(name)
            return name
        except BaseException:
            LOG.append(f"cancelled {name}")
            raise

    async def work(self, progress: Progress[int]) -> str:
        await progress.report(1)
        return "done"

    async def abort(self) -> None:
        await self.context.abort()

    async def tell(self, *arguments: Any) -> None:
        await self.clients.all.heard_it(*arguments)
        await self.clients.caller.send("exact_Name")

    async def on_disconnected(self, reason: DisconnectReason) -> None:
        LOG.append(f"goodbye {reason.value}")


FAILED = "An unexpected error occurred invoking '{}' on the server."
WRONG = "Failed to invoke '{}' due to an error on the server."


@pytest.mark.parametrize("protocol", [JSON, MESSAGEPACK], ids=["json", "messagepack"])
async def test_a_call_is_answered(protocol: Any) -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client(protocol)
        assert await client.ask("Add", 1, 2) == ("result", 3)
        assert await client.ask("aDD", 1) == ("result", 2)  # ours may have defaults
        assert await client.ask("Nothing") == ("result", None)
        assert await client.ask("EchoItem", {"objId": 1, "ObjVal": "ä"}) == ("result", {"obj_id": 1, "obj_val": "ä"})
        assert await client.ask("echo_item", {"obj_id": 1, "obj_val": ""}) == ("result", {"obj_id": 1, "obj_val": ""})
        assert await client.ask("Echo", [None, 1.5, "x"]) == ("result", [None, 1.5, "x"])
        assert await client.ask("Plain", 1) == ("result", 2)
        assert await client.ask("Work") == ("result", "done")  # nobody hears of the progress
        assert client.opcodes == {1 if protocol is JSON else 2}


async def test_who_wants_no_answer_gets_none(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client()
        client.say(client.call("Add", 1), client.call("Fail", "x"), client.call("Nope"), client.call("Add", "x"))
        assert await client.hear() == []
        assert await client.ask("Add", 1) == ("result", 2)


REFUSED: list[tuple[str, tuple[Any, ...], str, str]] = [
    ("Nope", (), WRONG + " HubException: Method does not exist.", ""),
    ("add", (), WRONG, " InvalidDataException: Invocation provides 0 argument(s) but target expects 1."),
    ("Add", (1, 2, 3), WRONG, " InvalidDataException: Invocation provides 3 argument(s) but target expects 2."),
    (
        "Add",
        ("x", 2),
        WRONG,
        " InvalidDataException: Error binding arguments. Make sure that the types of the provided values match the "
        "types of the hub method being invoked.",
    ),
    ("Fail", ("why",), FAILED, " ValueError: why"),
    ("FailSo", ("why",), FAILED + " HubException: why", ""),
    ("shapeless", (), FAILED, " TypeError: object has no JSON form"),
    ("Secret", (), "Failed to invoke '{}' because user is unauthorized", ""),
]


@pytest.mark.parametrize("detailed", [False, True])
@pytest.mark.parametrize(("target", "arguments", "text", "detail"), REFUSED)
async def test_a_call_that_fails_says_so_in_the_words_that_clients_know(
    target: str, arguments: Any, text: str, detail: str, detailed: bool, caplog: pytest.LogCaptureFixture
) -> None:
    async with open_house(Chat, detailed_errors=detailed) as rooms:
        client = await rooms.client()
        expected = text.format(target) + (detail if detailed else "")
        assert await client.ask(target, *arguments) == ("error", expected)
        assert await client.ask("Add", 1) == ("result", 2)  # the connection goes on


async def test_the_log_says_more_than_the_caller_is_told(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client()
        await client.ask("Add", 1, 2, 3)
        await client.ask("Add", "x")
    assert [record.message for record in caplog.records] == [
        "a call of Add was refused: Invocation provides 3 argument(s) but target expects 2.",
        "a call of Add was refused: a: Expected `int`, got `str`",
    ]


async def test_an_error_that_cannot_be_written_is_told_without_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client()
        with caplog.at_level(logging.CRITICAL + 1, "persistconn.hubs"):
            assert await client.ask("Half") == ("error", FAILED.format("Half"))


async def test_limits_are_told(caplog: pytest.LogCaptureFixture) -> None:
    async with open_house(Chat, max_call_arguments=2, max_argument_size=10) as rooms:
        client = await rooms.client()
        told = await client.ask("Add", 1, 2, 3)
        assert told == ("error", FAILED.format("Add") + " HubException: More than 2 arguments (max_call_arguments).")
        assert "(max_argument_size)" in (await client.ask("Echo", "x" * 20))[1]
        assert rooms.app.statistics().reactions == {"max_call_arguments": 1, "max_argument_size": 1}


# Order ------------------------------------------------------------------------------------------


async def test_calls_take_turns_and_the_client_is_held_back() -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client()
        client.say(client.call("Wait", "a", id="1"), client.call("Wait", "b", id="2"), client.call("Add", 1, id="3"))
        assert await client.hear() == [] and LOG == ["begun a"]
        client.say(client.call("Add", 2, id="4"))
        client.say(client.call("Add", 3, id="5"))
        open_gate("b")
        assert await client.hear() == [] and LOG == ["begun a"]
        open_gate("a")
        assert await client.hear() == [
            ("result", "1", "a"), ("result", "2", "b"), ("result", "3", 2), ("result", "4", 3), ("result", "5", 4),
        ]  # fmt: skip


async def test_calls_may_run_side_by_side() -> None:
    async with open_house(Chat, max_parallel_calls=2) as rooms:
        client = await rooms.client()
        client.say(client.call("Wait", "a", id="1"), client.call("Wait", "b", id="2"), client.call("Add", 1, id="3"))
        assert await client.hear() == [] and LOG == ["begun a", "begun b"]
        open_gate("b")
        assert await client.hear() == [("result", "2", "b"), ("result", "3", 2)]
        client.say(client.call("Add", 2, id="4"))
        assert await client.hear() == [("result", "4", 3)]
        open_gate("a")
        assert await client.hear() == [("result", "1", "a")]


async def test_calls_that_do_not_wait_need_no_task() -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client()
        dispatcher: Any = next(iter(rooms.app._connections.values()))
        (talk,) = dispatcher._members.values()
        started: list[Any] = []
        talk.connection = Watched(talk.connection, started)
        client.say(*[client.call("Add", number, id=str(number)) for number in range(5)])
        assert await client.hear() == [("result", str(number), number + 1) for number in range(5)]
        assert started == []


class Watched:
    """A connection that writes down which tasks are started."""

    def __init__(self, connection: Any, started: list[Any]) -> None:
        self._connection = connection
        self._started = started

    def start_soon(self, *what: Any) -> None:
        self._started.append(what)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


async def test_a_call_that_waits_ends_with_its_connection() -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client()
        client.say(client.call("Wait", "a", id="1"), client.call("Wait", "b", id="2"))
        await settle()
        client.cut()
        await settle()
        assert LOG == ["begun a", "cancelled a", "goodbye closed"]
        other = await rooms.client()
        other.say(other.call("Wait", "c", id="1"))
        await settle()
        assert await other.stop() == [("close",)]
        assert LOG[3:] == ["begun c", "cancelled c", "goodbye closed"]


async def test_abort_is_for_good() -> None:
    async with open_house(Chat) as rooms:
        client = await rooms.client()
        client.say(client.call("Abort", id="1"), client.call("Add", 1, id="2"))
        assert (await client.hear())[0] == ("close",) and client.closed
        assert LOG == ["goodbye aborted"]


# Both dialects ----------------------------------------------------------------------------------


async def test_all_dialects_and_formats_hear_the_same() -> None:
    async with open_house(Chat) as rooms:
        page = await rooms.page("chat")
        clients = [await rooms.client(JSON), await rooms.client(MESSAGEPACK)]
        assert await clients[0].ask("Add", 1) == ("result", 2)
        clients[0].say(clients[0].call("Tell", "hi", 5))
        assert await clients[0].hear() == [("call", "heardIt", "hi", 5), ("call", "exact_Name")]
        assert await clients[1].hear() == [("call", "heardIt", "hi", 5)]
        assert await page.heard() == [{"H": "Chat", "M": "heardIt", "A": ["hi", 5]}]
        await rooms.app.clients(Chat).all.news(1)
        assert [await client.hear() for client in clients] == [[("call", "news", 1)]] * 2


async def test_what_has_no_form_is_the_senders_mistake() -> None:
    async with open_house(Chat) as rooms:
        await rooms.client(MESSAGEPACK)
        with pytest.raises(TypeError):
            await rooms.app.clients(Chat).all.news(2**70)
        with pytest.raises(TypeError):
            await rooms.app.clients(Chat).all.news(object())
