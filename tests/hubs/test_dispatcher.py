"""Calls of pages: found, run, answered, on every event loop."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.from_thread
import pytest

from persistconn import App, ConfigurationError, Settings
from persistconn.hubs import Hub, HubCall, HubError, Proceed, Progress, hub_name, method_name

from .page import House, house

KEYS = ["a key for the tests"]


@dataclass
class Item:
    obj_id: int
    obj_val: str


class Odd:
    """Equal to nothing, and says so loudly."""

    def __eq__(self, other: object) -> bool:
        raise ValueError("do not compare me")

    __hash__ = None  # type: ignore[assignment]


class Accept(Hub):
    """The hub of the genuine server's recordings, as Python writes it."""

    threads: list[int] = []

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def return_void(self) -> None: ...

    async def echo(self, value: Any = None) -> Any:
        return value

    async def echo_item(self, item: Item) -> Item:
        return item

    @method_name("size")
    async def one(self, a: int) -> int:
        return 1

    @method_name("size")
    async def two(self, a: int, b: int) -> int:
        return 2

    async def fail_with(self, message: str, data: Any = None) -> None:
        raise HubError(message, data)

    async def fail_internal(self, secret: str) -> None:
        raise ValueError(secret)

    async def call_me(self, name: str, arguments: list[Any]) -> None:
        await self.clients.caller.send(name, *arguments)

    async def do_work(self, steps: int, progress: Progress[int]) -> str:
        for step in range(steps):
            await progress.report(step + 1)
        return "done"

    async def bump_state(self) -> int:
        state = self.context.state
        state["counter"] = state.get("counter", 0) + 1
        return int(state["counter"])

    async def touch_state(self, how: str) -> None:
        state = self.context.state
        if how == "nested":
            state["a"]["b"].append(5)
        elif how == "same":
            state["a"] = {"b": [1]}
        elif how == "delete":
            del state["a"]
        elif how == "tell":
            state["a"] = 2
            await self.clients.caller.changed()
        elif how == "fail":
            state["a"] = 3
            raise HubError("after a change")
        elif how == "odd":
            state["a"] = Odd()

    def plain(self, a: int) -> int:
        self.threads.append(threading.get_ident())
        return a + 1

    def plain_fails(self) -> None:
        raise HubError("in a thread")

    async def shapeless(self, what: str) -> Any:
        if what == "state":
            self.context.state["x"] = object()
        elif what == "data":
            raise HubError("with data", data=object())
        elif what == "text":
            raise HubError("half a pair \ud800")
        return object()

    async def stream(self, upto: int) -> AsyncIterator[int]:
        yield upto

    async def total(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def who(self) -> list[Any]:
        context = self.context
        return [context.connection_id, context.user, context.transport, context.request.query["clientProtocol"]]

    async def end(self) -> None:
        await self.context.abort()

    async def remember(self, key: str) -> int:
        items = self.context.items
        items[key] = items.get(key, 0) + 1
        return int(items[key])


def app_of(*hubs: type[Hub], settings: Settings | None = None, **options: Any) -> App:
    app = App(secret_keys=KEYS, settings=settings)
    app.add_hubs("/signalr", *hubs, **options)
    return app


# As the genuine server answers --------------------------------------------------------------------

RECORDED = [
    ('{"H": "accept", "M": "Add", "A": [1, 2], "I": 0}', '{"R":3,"I":"0"}'),
    ('{"H": "ACCEPT", "M": "aDD", "A": [1, 2], "I": 1}', '{"R":3,"I":"1"}'),
    ('{"H": "accept", "M": "ReturnVoid", "A": [], "I": 2}', '{"I":"2"}'),
    ('{"H": "accept", "M": "ReturnVoid", "A": [], "I": "7"}', '{"I":"7"}'),
    ('{"H": "accept", "M": "Echo", "A": [null], "I": 3}', '{"I":"3"}'),
    ('{"H": "accept", "M": "FailWith", "A": ["msg", {"k": 1}], "I": 4}', '{"I":"4","H":true,"E":"msg","D":{"k":1}}'),
    ('{"H": "accept", "M": "BumpState", "A": [], "I": 10, "S": {"counter": 41}}',
     '{"S":{"counter":42},"R":42,"I":"10"}'),
    ('{"H": "accept", "M": "Nope", "A": [], "I": 11}',
     '{"I":"11","E":"There was an error invoking Hub method \'accept.Nope\'."}'),
    ('{"H": "accept", "M": "Add", "A": [1], "I": 12}',
     '{"I":"12","E":"There was an error invoking Hub method \'accept.Add\'."}'),
    ('{"H": "accept", "M": "EchoItem", "A": [{"objId": 1, "ObjVal": "a"}], "I": 13}',
     '{"R":{"obj_id":1,"obj_val":"a"},"I":"13"}'),
    ('{"H": "accept", "M": "SIZE", "A": [1, 2], "I": 14}', '{"R":2,"I":"14"}'),
    ('{"H": "accept", "M": "size", "A": [1], "I": 15}', '{"R":1,"I":"15"}'),
]  # fmt: skip


@pytest.mark.parametrize("transport", ["webSockets", "longPolling"])
async def test_it_answers_as_the_genuine_server_does(transport: str) -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept", transport=transport)
        for said, answered in RECORDED:
            if transport == "webSockets":
                page.say(said)
                await page.listen()
                assert list(page.answers.values())[-1] == json.loads(answered)
            else:
                assert await page.send(said) == (200, answered.encode())


async def test_an_internal_error_is_generic_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        answer = await page.call("accept", "FailInternal", "secret")
    assert answer == {"I": "0", "E": "There was an error invoking Hub method 'accept.FailInternal'."}
    (record,) = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert record.getMessage() == "a call of accept.FailInternal failed" and record.exc_info is not None


async def test_detailed_errors_are_for_developers(caplog: pytest.LogCaptureFixture) -> None:
    async with house(app_of(Accept, settings=Settings(detailed_errors=True))) as home:
        page = await home.page("accept")
        told = [
            await page.call("accept", *call)
            for call in (("FailInternal", "secret"), ("FailInternal", ""), ("Nope",), ("Add", 1), ("Add", 1, "x"))
        ]
    assert [answer["E"] for answer in told] == [
        "secret",
        "There was an error invoking Hub method 'accept.FailInternal'.",
        "'Nope' method could not be resolved. No method found with that name.",
        "'Add' method could not be resolved. Potential candidates are: \nadd(a:int, b:int):int",
        "b: Expected `int`, got `str`",
    ]
    assert not any(answer.get("H") for answer in told)


async def test_what_is_no_call_is_500_by_request_and_silence_on_a_websocket(caplog: pytest.LogCaptureFixture) -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept", transport="longPolling")
        for said in ("", "{}", "null", "not json", '{"H":"nosuch","M":"x","I":0}'):
            status, _ = await page.send(said)
            assert status == 500, said
        assert await page.send('{"H":"accept","M":"ReturnVoid"}') == (200, b"{}")
        assert await page.send('{"H":"accept","M":"Nope"}') == (200, b"{}")
        socket = await home.page("accept")
        for said in ("", "{}", "null", "not json", b"\xff", '{"H":"accept","M":"ReturnVoid"}', '{"H":"x","M":"Nope"}'):
            socket.say(said)
        await socket.listen()
        assert socket.answers == {}
        assert (await socket.call("nosuch", "x"))["E"] == "'nosuch' Hub could not be resolved."
        assert (await socket.call("accept", "add", 1, 2))["R"] == 3
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


async def test_a_refusal_in_the_log_is_short_and_on_one_line(caplog: pytest.LogCaptureFixture) -> None:
    forged = "x\n2026-01-01 CRITICAL all is lost\x1b[31m" + "y" * 20_000
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        polling = await home.page("accept", transport="longPolling")
        for hub, method in (("accept", forged), (forged, "add"), ("accept", "echo_item")):
            await page.call(hub, method, {forged: 1})
            await polling.call(hub, method, forged)
    refusals = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert len(refusals) >= 6
    for text in refusals:
        assert len(text) < 1_000 and "\n" not in text and "\x1b" not in text


async def test_a_result_without_a_json_form_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        generic = "There was an error invoking Hub method 'accept.shapeless'."
        assert await page.call("accept", "shapeless", "result") == {"I": "0", "E": generic}
        assert await page.call("accept", "shapeless", "state") == {"I": "1", "E": generic}
        assert await page.call("accept", "shapeless", "data") == {"I": "2", "H": True, "E": generic}
        with caplog.at_level(logging.CRITICAL + 1, "persistconn.hubs"):  # a report cannot hold half a surrogate pair
            assert await page.call("accept", "shapeless", "text") == {"I": "3", "H": True, "E": generic}
        assert (await page.call("accept", "touchState", "odd", state={"a": 1}))["E"]
        assert (await page.call("accept", "add", 1, 2))["R"] == 3


async def test_a_method_that_gives_a_stream_says_why_it_cannot() -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        answer = await page.call("accept", "stream", 5)
        assert answer["H"] is True and "stream gives a stream" in answer["E"]
        answer = await page.call("accept", "total", [1, 2])
        assert answer["H"] is True and answer["E"] == "total takes a stream, which clients of this wire cannot send."


# Where a method runs, and what it knows -----------------------------------------------------------


async def test_a_plain_method_runs_in_a_thread() -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        assert (await page.answer(page.begin("accept", "plain", 1)))["R"] == 2
        assert Accept.threads.pop() != threading.get_ident()
        answer = await page.answer(page.begin("accept", "plainFails"))
        assert (answer["H"], answer["E"]) == (True, "in a thread")


async def test_a_hub_knows_who_calls() -> None:
    async def authenticate(request: Any) -> str | None:
        return request.headers.get("x-user") or None

    app = App(secret_keys=KEYS, authenticate=authenticate)
    app.add_hubs("/signalr", Accept)
    async with house(app) as home:
        page = await home.page("accept", headers=("X-User: ann",))
        assert (await page.call("accept", "who"))["R"] == [page.id, "ann", "webSockets", "2.1"]
        assert [(await page.call("accept", "remember", "x"))["R"] for _ in range(2)] == [1, 2]
        other = await home.page("accept")
        assert (await other.call("accept", "remember", "x"))["R"] == 1


async def test_a_hub_may_end_the_connection() -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        assert await page.call("accept", "end") is None
        goodbye = page.said[-1]
        assert (goodbye["M"], goodbye["E"]) == ([], "The server closed this connection.")
        assert home.app.statistics().ended == {"aborted": 1}


# State --------------------------------------------------------------------------------------------


async def test_state_goes_back_only_where_it_has_changed() -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        state = {"a": {"b": [1]}, "c": 1}

        async def touched(how: str) -> Any:
            return (await page.call("accept", "touchState", how, state=state)).get("S")

        assert await touched("nested") == {"a": {"b": [1, 5]}}
        assert await touched("same") is None
        assert await touched("delete") is None
        assert await touched("nothing") is None
        assert await touched("tell") == {"a": 2}
        assert await page.heard() == [{"H": "Accept", "M": "changed", "A": [], "S": {"a": 2}}]
        answer = await page.call("accept", "touchState", "fail", state=state)
        assert (answer["E"], answer["S"]) == ("after a change", {"a": 3})


@pytest.mark.parametrize(
    "state", ["5", "[]", '"x"', "true", '{"a":1e999}', '{"a":' * 21 + "1" + "}" * 21, '{"a":' * 600 + "1" + "}" * 600]
)
async def test_state_that_is_no_shallow_object_is_refused_before_the_method_runs(
    state: str, caplog: pytest.LogCaptureFixture
) -> None:
    said = f'{{"H":"accept","M":"bumpState","I":0,"S":{state}}}'
    async with house(app_of(Accept, settings=Settings(detailed_errors=True))) as home:
        page = await home.page("accept")
        page.say(said)
        await page.listen()
        assert page.answers["0"] == {"I": "0", "E": "State must be an object of no more than 20 levels."}
        polling = await home.page("accept", transport="longPolling")
        assert (await polling.send(said))[0] == 500
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]


# Progress -----------------------------------------------------------------------------------------


async def test_progress_comes_before_the_result() -> None:
    async with house(app_of(Accept)) as home:
        page = await home.page("accept")
        page.say('{"H": "accept", "M": "DoWork", "A": [2], "I": 9}')
        heard = await page.heard()
        assert page.said[-1] == page.answers["9"] == {"R": "done", "I": "9"}
        assert heard == [{"I": "P|9", "P": {"I": "9", "D": 1}}, {"I": "P|9", "P": {"I": "9", "D": 2}}]
        page.say('{"H": "accept", "M": "DoWork", "A": [2]}')
        assert await page.heard() == []


async def test_progress_is_refused_after_the_end() -> None:
    reports: list[Progress[int]] = []

    class Late(Hub):
        async def keeps(self, progress: Progress[int]) -> None:
            reports.append(progress)

        async def fails(self, progress: Progress[int]) -> None:
            reports.append(progress)
            raise HubError("no")

        async def reports_what_has_no_form(self, progress: Progress[Any]) -> str:
            with pytest.raises(TypeError):
                await progress.report(object())
            return "told"

    async with house(app_of(Late)) as home:
        page = await home.page("late")
        await page.call("late", "keeps")
        await page.call("late", "fails")
        for progress in reports:
            with pytest.raises(RuntimeError, match="You cannot report progress on a hub method invocation"):
                await progress.report(1)
        assert await page.heard() == []
        assert (await page.call("late", "reportsWhatHasNoForm"))["R"] == "told"


async def test_progress_of_a_plain_method_is_reported_from_its_thread() -> None:
    class Threads(Hub):
        def work(self, progress: Progress[int]) -> str:
            anyio.from_thread.run(progress.report, 50)
            return "done"

    async with house(app_of(Threads)) as home:
        page = await home.page("threads")
        assert (await page.answer(page.begin("threads", "work")))["R"] == "done"
        assert await page.heard() == [{"I": "P|0", "P": {"I": "0", "D": 50}}]


# Factories and filters ----------------------------------------------------------------------------


async def test_who_makes_the_hubs() -> None:
    class Shop(Hub):
        def __init__(self, stock: int = 0) -> None:
            self.stock = stock

        async def count(self) -> int:
            self.stock += 1
            return self.stock

    async def counts(**options: Any) -> list[int]:
        async with house(app_of(Shop, **options)) as home:
            page = await home.page("shop")
            return [(await page.call("shop", "count"))["R"] for _ in range(2)]

    assert await counts() == [1, 1]  # one instance per call
    assert await counts(factory=lambda: Shop(10)) == [11, 11]
    assert await counts(factory=lambda hub: hub(20)) == [21, 21]
    shared = Shop(30)
    assert await counts(factory=lambda: shared) == [31, 32]


async def test_a_hub_that_cannot_be_made_fails_its_calls_only(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Hub):
        def __init__(self) -> None:
            raise ValueError("broken")

        async def on_connected(self) -> None: ...
        async def on_disconnected(self, reason: Any) -> None: ...
        async def hello(self) -> None: ...

    async with house(app_of(Broken, Accept)) as home:
        page = await home.page("broken", "accept")
        assert (await page.call("broken", "hello"))["E"] == "There was an error invoking Hub method 'broken.hello'."
        assert (await page.call("accept", "add", 1, 2))["R"] == 3
        await page.stop()
    assert "a Broken could not be made for on_connected" in caplog.text


async def test_filters_change_suppress_and_raise() -> None:
    log: list[Any] = []

    async def outer(call: HubCall, proceed: Proceed) -> object:
        log.append(("outer", call.method, list(call.arguments), call.context.connection_id))
        try:
            return await proceed(call)
        except ZeroDivisionError:
            return "suppressed"
        except KeyError:
            raise HubError("replaced") from None

    async def inner(call: HubCall, proceed: Proceed) -> object:
        if call.method == "fail_internal":
            raise {"zero": ZeroDivisionError, "key": KeyError}[call.arguments[0]]
        if call.method == "add":
            call.arguments[0] *= 10
            return [await proceed()]
        return "instead" if call.method == "return_void" else await proceed(call)

    async with house(app_of(Accept, filters=[outer, inner])) as home:
        page = await home.page("accept")
        assert (await page.call("accept", "add", 1, 2))["R"] == [12]
        assert (await page.call("accept", "returnVoid"))["R"] == "instead"
        assert (await page.call("accept", "failInternal", "zero"))["R"] == "suppressed"
        answer = await page.call("accept", "failInternal", "key")
        assert (answer["H"], answer["E"]) == (True, "replaced")
        assert (await page.call("accept", "doWork", 1))["R"] == "done"
        assert (await page.answer(page.begin("accept", "plain", 1)))["R"] == 2
    assert log[0] == ("outer", "add", [1, 2], page.id) and len(log) == 6


async def test_a_call_that_is_refused_meets_no_filter(caplog: pytest.LogCaptureFixture) -> None:
    async def never(call: HubCall, proceed: Proceed) -> object:
        raise AssertionError(call.method)

    async with house(app_of(Accept, filters=[never])) as home:
        page = await home.page("accept")
        assert "E" in await page.call("accept", "nope") and "E" in await page.call("accept", "add", "x", 1)
    assert "AssertionError" not in caplog.text


async def test_what_a_page_names_is_checked_when_it_comes() -> None:
    @hub_name("board")
    class Board(Hub): ...

    async def told(home: House, *names: str) -> tuple[int, bytes]:
        return await home.visitor(*names).negotiate()

    async with house(app_of(Accept, Board)) as home:
        assert (await told(home, "nosuch"))[0] == 500
        assert (await told(home, "accept", "ACCEPT")) == (500, b"Duplicate Hub names found.")
        assert (await told(home, "accept.x"))[0] == 500
        assert (await told(home, "BOARD", "accept"))[0] == 200
        assert (await told(home))[0] == 200
        status, _ = await home.visitor().ask("/signalr/negotiate?clientProtocol=2.1&connectionData=%FF[")
        assert status == 500
        page = await home.page()  # names none, and calls
        assert (await page.call("accept", "add", 1, 2))["R"] == 3


async def test_what_strangers_send_does_not_stay_in_memory() -> None:
    app = app_of(Accept)
    (dispatcher,) = app._connections.values()
    async with house(app) as home:
        for count in range(3):
            page = home.visitor()
            page.names = "[{%22name%22:%22accept%22,%22x%22:%22" + "x" * 5_000 + f"{count}%22}}]"
            assert (await page.negotiate())[0] == 200
        assert dispatcher._named.cache_info().currsize == 0  # type: ignore[attr-defined]
        await home.page("accept")
        assert dispatcher._named.cache_info().currsize == 1  # type: ignore[attr-defined]


def test_a_filter_that_could_not_be_awaited_is_refused_at_once() -> None:
    def plain(call: HubCall, proceed: Proceed) -> object:
        return proceed()

    with pytest.raises(ConfigurationError, match=r"plain is a plain function: write it as async def"):
        App(secret_keys=["a key for the tests"]).add_hubs("/signalr", Accept, filters=[plain])  # type: ignore[list-item]
